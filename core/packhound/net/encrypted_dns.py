"""DNS inside TLS, QUIC or HTTPS, as far as a hello tells it (RFC 7858, RFC 9250, RFC 8484); never by port.

Promise: pure, never raises. A hint, not a proof: a resolver's name is also that of its web pages.
"""

from __future__ import annotations

#: Names that public resolvers serve DNS under; names below them count too.
RESOLVERS = frozenset({
    "dns.google", "cloudflare-dns.com", "one.one.one.one", "dns.quad9.net", "dns9.quad9.net", "dns10.quad9.net",
    "dns11.quad9.net", "dns12.quad9.net", "doh.opendns.com", "dns.opendns.com", "doh.familyshield.opendns.com",
    "doh.umbrella.com", "dns.umbrella.com", "dns.sse.cisco.com", "dns.adguard.com", "dns-family.adguard.com",
    "dns-unfiltered.adguard.com", "adguard-dns.com", "dns.nextdns.io", "doh.cleanbrowsing.org",
    "dns.cleanbrowsing.org", "freedns.controld.com", "dns.controld.com", "doh.dns.sb", "dot.sb", "dns.mullvad.net",
    "doh.mullvad.net", "doh.pub", "dot.pub", "dns.alidns.com", "doh.360.cn", "dot.360.cn", "doh.xfinity.com",
    "dot.xfinity.com", "dns.digitale-gesellschaft.ch", "dns.switch.ch", "odvr.nic.cz", "doh.li", "doh.libredns.gr",
    "dot.libredns.gr", "dns.njal.la", "ordns.he.net", "doh.ffmuc.net", "dot.ffmuc.net", "dns0.eu", "dns.twnic.tw",
    "public.dns.iij.jp", "doh.applied-privacy.net", "dot1.applied-privacy.net", "doh.dns.apple.com",
})  # fmt: skip
_WEB = ("h2", "http/1.1", "h3")


def of_hello(names: tuple[str, ...], sni: str, *, transport: str) -> str:
    """Return `dot`, `doh` or `doq` for a ClientHello by the ALPN `names` it offers and its SNI; empty: none of them.

    `transport` as in JA4: t, q or d.
    """
    if "dot" in names:
        return "dot"
    if any(name == "doq" or name.startswith("doq-i") for name in names):
        return "doq"
    if not _is_resolver(sni):
        return ""
    if any(name in _WEB or name.startswith("h3-") for name in names):
        return "doh"
    return "dot" if transport == "t" and not names else ""


def _is_resolver(name: str) -> bool:
    labels = name.lower().rstrip(".").split(".")
    return any(".".join(labels[at:]) in RESOLVERS for at in range(min(len(labels), 8)))
