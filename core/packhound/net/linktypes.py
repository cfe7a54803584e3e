"""Link types of capture files: their names, which ones are read, and how each packet of one begins.

Promise: `supported` and `name` answer for any number; `begin` puts a `Cursor` behind the link header. Numbers are
those of the file format (LINKTYPE_, tcpdump.org/linktypes.html), the low 16 bits of a pcap header's `network` field.
"""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType
from typing import Final

from packhound.net import encapsulation, wlan
from packhound.net.decoded import Cursor, Layer, Status

NAMES: Final = MappingProxyType(
    {
        0: "NULL",
        1: "ETHERNET",
        6: "IEEE802_5",
        8: "SLIP",
        9: "PPP",
        12: "RAW",
        14: "RAW",
        50: "PPP_HDLC",
        51: "PPP_ETHER",
        99: "SYMANTEC_FIREWALL",
        100: "ATM_RFC1483",
        101: "RAW",
        104: "C_HDLC",
        105: "IEEE802_11",
        107: "FRELAY",
        108: "LOOP",
        109: "ENC",
        113: "LINUX_SLL",
        117: "PFLOG",
        119: "IEEE802_11_PRISM",
        122: "IP_OVER_FC",
        123: "SUNATM",
        127: "IEEE802_11_RADIOTAP",
        129: "ARCNET_LINUX",
        138: "APPLE_IP_OVER_IEEE1394",
        143: "DOCSIS",
        149: "USER2 (PKTAP on old Apple systems)",
        163: "IEEE802_11_AVS",
        182: "MFR",
        187: "BLUETOOTH_HCI_H4",
        189: "USB_LINUX",
        192: "PPI",
        195: "IEEE802_15_4_WITHFCS",
        201: "BLUETOOTH_HCI_H4_WITH_PHDR",
        204: "PPP_WITH_DIR",
        206: "FRELAY_WITH_DIR",
        220: "USB_LINUX_MMAPPED",
        224: "FC_2",
        226: "IPNET",
        227: "CAN_SOCKETCAN",
        228: "IPV4",
        229: "IPV6",
        239: "NFLOG",
        247: "INFINIBAND",
        248: "SCTP",
        249: "USBPCAP",
        251: "BLUETOOTH_LE_LL",
        253: "NETLINK",
        258: "PKTAP",
        274: "ETHERNET_MPACKET",
        276: "LINUX_SLL2",
    }
)

AF_INET: Final = 2
AF_INET6: Final = frozenset({10, 23, 24, 28, 30})
"""AF_INET6 of Linux, Windows, NetBSD, FreeBSD and macOS."""

SLL_NETLINK: Final = 824
SLL_LLC: Final = 4
SLIP_HEADER: Final = 16
PREAMBLE: Final = 8
EXPRESS_FRAME: Final = 0xD5
SUNATM_LANE, SUNATM_LLC = 1, 2


def name(linktype: int) -> str:
    """Return the name of a link type for people; an unlisted one is called by its number."""
    return NAMES.get(linktype, f"LINKTYPE {linktype}")


def supported(linktype: int) -> bool:
    """Tell whether packets of this link type are read."""
    return linktype in _READERS


def begin(c: Cursor, linktype: int) -> None:
    """Read the link header of `linktype`; stops with UNSUPPORTED for one that is not read."""
    reader = _READERS.get(linktype)
    if reader is None:
        c.stop(Status.UNSUPPORTED)
    else:
        reader(c)


def _ethernet(c: Cursor) -> None:
    c.layer = Layer.ETHERNET


def _raw(c: Cursor) -> None:
    c.layer = Layer.IP


def _ppp_serial(c: Cursor) -> None:
    cisco = c.end > 0 and c.data[0] in (0x0F, 0x8F)
    c.layer = Layer.CISCO_HDLC if cisco else Layer.PPP


def _ppp_with_direction(c: Cursor) -> None:
    if c.need(1):
        c.go(Layer.PPP, off=1)


def _pppoe(c: Cursor) -> None:
    c.go(Layer.ETHERTYPE, off=0, number=encapsulation.PPPOE)


def _cisco_hdlc(c: Cursor) -> None:
    c.layer = Layer.CISCO_HDLC


def _null(c: Cursor) -> None:
    """Address family of the machine that wrote the file, in its byte order or (LOOP) in network order."""
    if not c.need(4):
        return
    families = (c.u32(0), int.from_bytes(c.data[:4], "little"))
    if AF_INET in families or not AF_INET6.isdisjoint(families):
        c.go(Layer.IP, off=4)
    else:
        c.stop(Status.NOT_IP)


def _slip(c: Cursor) -> None:
    if c.need(SLIP_HEADER):
        c.go(Layer.IP, off=SLIP_HEADER)


def _frame_relay(c: Cursor) -> None:
    """Q.922 address of two to four bytes, then RFC 2427 (control 0x03) or Cisco's ethertype."""
    for size in (2, 3, 4):
        if not c.need(size):
            return
        if c.data[size - 1] & 1:
            break
    else:
        c.stop(Status.MALFORMED)
        return
    c.off = size
    if not c.need(2):
        return
    if c.data[size] == 0x03:
        c.go(Layer.NLPID, off=size + 1)
    else:
        c.go(Layer.ETHERTYPE, off=size + 2, number=c.u16(size))


def _atm(c: Cursor) -> None:
    """RFC 2684: LLC, whose bridged frames are padded by two bytes."""
    if c.off + 3 <= c.end and bytes(c.data[c.off : c.off + 3]) == b"\xaa\xaa\x03":
        encapsulation.snap(c, c.off + 3, pad=2)
    else:
        c.layer = Layer.LLC


def _sunatm(c: Cursor) -> None:
    if not c.need(4):
        return
    kind, c.off = c.data[0] & 0x0F, 4
    if kind == SUNATM_LLC:
        _atm(c)
    elif kind == SUNATM_LANE:
        c.go(Layer.ETHERNET, off=6)
    else:
        c.stop(Status.NOT_IP)


def _sll(c: Cursor) -> None:
    if c.need(16):
        _cooked(c, hardware=c.u16(2), number=c.u16(14), off=16)


def _sll2(c: Cursor) -> None:
    if c.need(20):
        _cooked(c, hardware=c.u16(8), number=c.u16(0), off=20)


def _cooked(c: Cursor, *, hardware: int, number: int, off: int) -> None:
    if hardware == SLL_NETLINK:
        c.stop(Status.NOT_IP)
    elif number == SLL_LLC:
        c.go(Layer.LLC, off=off)
    else:
        c.go(Layer.ETHERTYPE, off=off, number=number)


def _wlan(c: Cursor) -> None:
    c.layer = Layer.WLAN


def _mpacket(c: Cursor) -> None:
    """IEEE 802.3br: preamble and start delimiter; only express (whole) frames are read."""
    if not c.need(PREAMBLE):
        return
    if c.data[PREAMBLE - 1] == EXPRESS_FRAME:
        c.go(Layer.ETHERNET, off=PREAMBLE)
    else:
        c.stop(Status.NOT_IP)


_READERS: Final[dict[int, Callable[[Cursor], None]]] = {
    0: _null,
    1: _ethernet,
    8: _slip,
    9: _ppp_serial,
    12: _raw,
    14: _raw,
    50: _ppp_serial,
    51: _pppoe,
    100: _atm,
    101: _raw,
    104: _cisco_hdlc,
    105: _wlan,
    107: _frame_relay,
    108: _null,
    113: _sll,
    123: _sunatm,
    127: wlan.radiotap,
    204: _ppp_with_direction,
    228: _raw,
    229: _raw,
    274: _mpacket,
    276: _sll2,
}
