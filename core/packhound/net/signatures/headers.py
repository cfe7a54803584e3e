"""Signatures of protocols that run straight over IP: the protocol number says it, a look at the header confirms."""

from __future__ import annotations

from packhound.net.signatures.apps import EIGRP_P, ESP_P, ICMP_P, ICMPV6_P, IGMP_P, OSPF_P, PIM_P, SCTP_P, VRRP_P, App
from packhound.net.signatures.look import Found, u16

_PLAIN = {ICMP_P: App.ICMP, ICMPV6_P: App.ICMPV6, IGMP_P: App.IGMP, ESP_P: App.ESP, SCTP_P: App.SCTP}


def by_number(proto: int, p: bytes) -> Found | None:
    """RFC 792, 4443, 3376, 4303, 9260; OSPF (RFC 2328, 5340), EIGRP (RFC 7868), PIM (RFC 7761) and VRRP (RFC 9568) by
    version and type too."""
    app = _PLAIN.get(proto)
    if app is not None:
        return Found(app, 95)
    if proto == OSPF_P and len(p) >= 16 and p[0] in {2, 3} and 1 <= p[1] <= 5 and u16(p, 2) >= 16:
        return Found(App.OSPF, 95)
    if proto == EIGRP_P and len(p) >= 20 and p[0] == 2 and 1 <= p[1] <= 12:
        return Found(App.EIGRP, 95)
    if proto == PIM_P and len(p) >= 4 and p[0] >> 4 in {1, 2}:
        return Found(App.PIM, 95)
    if proto == VRRP_P and len(p) >= 8 and p[0] in {0x21, 0x31}:
        return Found(App.VRRP, 95)
    return None
