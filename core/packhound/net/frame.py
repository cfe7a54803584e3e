"""One captured packet in, one `Frame` out: the specification that the sensor's compiled decoder is tested against.

Promise: any bytes give a `Frame`; no read passes the captured bytes, no header chain is followed without bound. The
innermost IP packet counts: what a tunnel carries is reported, and the tunnel's own packet where nothing inside can be
read. Packets quoted in ICMP errors are payload.
"""

from __future__ import annotations

from packhound.net import encapsulation, ip, linktypes, transport, tunnels, wlan
from packhound.net.decoded import VLAN_TENANT, Cursor, DecodeConfig, Frame, Status

__all__ = ["VLAN_TENANT", "DecodeConfig", "Frame", "Status", "decode"]

_READERS = (
    None,
    encapsulation.ethernet,
    encapsulation.ethertype,
    encapsulation.llc,
    encapsulation.nlpid,
    encapsulation.ppp,
    encapsulation.cisco_hdlc,
    encapsulation.mpls,
    ip.ip,
    transport.transport,
    tunnels.gre,
    wlan.wlan,
)
"""By `Layer`."""

DEFAULT = DecodeConfig()


def decode(data: bytes | memoryview, *, linktype: int, config: DecodeConfig = DEFAULT) -> Frame:
    """Decode the captured bytes of one packet of `linktype` (see `linktypes`); never raises."""
    c = Cursor(data=data, end=len(data), config=config, frame=Frame())
    linktypes.begin(c, linktype)
    while (reader := _READERS[c.layer]) is not None:
        reader(c)
    frame = c.frame
    if c.outer is not None:
        status = Status.UNSUPPORTED if frame.status is Status.UNSUPPORTED else Status.OK
        frame = c.outer
        frame.status = status
    if config.vlan_is_tenant and frame.vlan and not frame.tenant:
        frame.tenant = VLAN_TENANT | frame.vlan
    return frame
