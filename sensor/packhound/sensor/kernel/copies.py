"""Copies: the same packet seen on several interfaces of one node counts once. The specification of `_copies.pxi`.

A packet of a pod passes the host's end of its veth, a bridge, an uplink. A copy has the same addresses, protocol, IP
id, VLAN, tenant and bytes from the transport header on, but for its checksum (a card may still have to write it),
within `window` ns on another interface; the link header, TTL and DSCP may differ. Per interface the packets are
counted: what passes one of them twice is two packets, whatever the order in which the interfaces are read. What is
rewritten on its way (NAT) or put into a tunnel is another packet. Promise: pure; at most `KEPT` packets are remembered.
"""

from __future__ import annotations

from packhound.net.frame import Frame

KEPT = 65_536
PORTS = 11  #: interfaces of one packet that are counted apart; on others it is a copy
MOST = 0xFFFF
WINDOW = 100_000_000  #: a queue before the uplink delays this much at most; SIP's first repetition comes after 500 ms

_CHECKSUMS = {6: (16, 2), 17: (6, 2), 132: (8, 4)}


def identity(f: Frame, packet: memoryview) -> tuple[object, ...] | None:
    """What stays the same of a packet on its way through a node; None: it is not looked at."""
    if not f.l3:
        return None
    number, end = 0, len(packet)
    if f.ip_version == 4:
        number = int.from_bytes(packet[f.l3 + 4 : f.l3 + 6], "big")
    if f.l4:
        start = f.l4
        if f.payload >= f.l4:
            end = f.payload + f.payload_len
    elif f.ip_version:
        at, header = (2, 20) if f.ip_version == 4 else (4, 40)
        start = f.l3 + header
        size = int.from_bytes(packet[f.l3 + at : f.l3 + at + 2], "big")
        if size:
            end = min(end, size + (f.l3 if f.ip_version == 4 else start))
    else:
        start = f.l3
    data = bytes(packet[min(start, end) : end])
    cut, skip = _CHECKSUMS.get(f.proto, (0, 0)) if f.l4 else (0, 0)
    if skip and len(data) >= cut + skip:
        data = data[:cut] + bytes(skip) + data[cut + skip :]
    return (
        f.ip_version, f.proto, f.frag_more, f.vlan, f.tenant, number, f.frag_id, f.frag_offset, f.src, f.dst, data,
    )  # fmt: skip


class Copies:
    """What was seen lately; off while `window` (ns) is 0."""

    def __init__(self) -> None:
        self.window = 0
        self._seen: dict[tuple[object, ...], tuple[int, dict[int, int]]] = {}

    def set(self, window: int) -> None:
        """Look for copies within `window` ns; 0: do not, and forget."""
        self.window = window
        if not window:
            self._seen.clear()

    def seen(self, f: Frame, packet: memoryview, *, ts: int, iface: int) -> bool:
        """Note a packet; tell whether it is a copy of one that was seen on another interface."""
        key = identity(f, packet)
        if key is None:
            return False
        last, counts = self._seen.get(key, (ts, {}))
        if not counts or abs(ts - last) > self.window or counts.get(iface) == MOST:
            self._seen.pop(key, None)
            self._seen[key] = ts, {iface: 1}
            while len(self._seen) > KEPT:
                del self._seen[next(iter(self._seen))]
            return False
        most = max(counts.values())
        self._seen[key] = max(ts, last), counts
        if iface in counts:
            counts[iface] += 1
            return counts[iface] <= most
        if len(counts) < PORTS:
            counts[iface] = 1
        return True
