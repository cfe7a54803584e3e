"""TLS and QUIC against tshark, Zeek and the authors of JA4: hellos by their sender, certificates by their fingerprint."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from packhound.net.quic import TYPES
from packhound.net.tls_messages import VERSION_TEXT
from tests.oracle.checks.names import plain, texts
from tests.oracle.checks.web import our_ends, peers_ends

if TYPE_CHECKING:
    from tests.oracle.score import Check

Row = dict[str, Any]
Key = tuple[Any, ...]
_V2 = ("0x6b3343cf", "0x709a50c4")  # the peer does not say the types of their packets
_QUIC_VERSIONS = {"0x00000001": "1", "0x6b3343cf": "2"}


def client_hellos(check: Check, capture: str, peer: Row, rows: list[Row]) -> None:
    """Every hello of a client: sender, SNI, ALPN, JA3."""
    from tests.oracle.score import compare  # it imports this module

    theirs = {
        (*peers_ends(r)[:2], plain(r.get("sni") or ""), tuple(map(plain, r.get("alpn") or ())), r["ja3"])
        for r in peer["expected"] if r.get("ja3")
    }  # fmt: skip
    ours = {
        (*our_ends(r)[:2], plain(r.get("tls.sni", "")), tuple(map(plain, texts(r.get("tls.alpn")))), r["tls.ja3"])
        for r in rows if r["kind"] == "tls.client_hello"
    }  # fmt: skip
    # a hello sent again is one message for us and a frame each for the peer
    compare(check, capture, Counter(theirs), Counter(ours))


def ja4(check: Check, capture: str, peer: Row, rows: list[Row]) -> None:
    """JA4 of every client hello that is not disputed."""
    ours = {(*our_ends(r)[:2], r.get("tls.ja4")) for r in rows if r["kind"] == "tls.client_hello"}
    for row in peer["expected"]:
        if row.get("confidence") in ("disputed", "third_party_only") or "frame" not in row:
            continue
        if (*peers_ends(row)[:2], row["ja4"]) in ours:
            check.equal += 1
        else:
            check.note(capture, "JA4 not found", (row.get("frame"), row["ja4"], row.get("confidence")))


def server_hellos(check: Check, capture: str, peer: Row, rows: list[Row]) -> None:
    """Every hello of a server: ends, JA3S, cipher, version, ALPN."""
    from tests.oracle.score import compare

    theirs = Counter(
        (*peers_ends(r), r["ja3s"], int(r["cipher"], 16), VERSION_TEXT.get(int(r["version"], 16), r["version"]),
         plain(r.get("alpn", "") if r["l4"] == "tcp" else ""))  # inside QUIC it is encrypted: the peer had keys
        for r in peer["expected"]
    )  # fmt: skip
    ours = Counter(
        (*our_ends(r), r["tls.ja3s"], r["tls.cipher"], r["tls.version"], plain("".join(texts(r.get("tls.alpn")))))
        for r in rows if r["kind"] == "tls.server_hello"
    )  # fmt: skip
    compare(check, capture, Counter(set(theirs)), Counter(set(ours)))


def _version(text: str) -> str:
    number = int(text, 16)
    if text in _QUIC_VERSIONS:
        return _QUIC_VERSIONS[text]
    if number >> 8 == 0xFF0000:
        return f"draft-{number & 0xFF}"
    name = number.to_bytes(4, "big")
    return name.decode() if name[:1] in (b"Q", b"T") else text


def is_version(number: int) -> bool:
    """Tell versions that somebody uses: negotiation, version 2's drafts, Facebook's."""
    return number in (0, 0x709A50C4) or number >> 8 == 0xFACEB0


def quic(check: Check, capture: str, peer: Row, rows: list[Row]) -> None:
    """Kinds of packets of every side of every connection by version, and the names asked for.

    We tell each kind of packet once a side, so sets are compared.
    """
    from tests.oracle.score import compare

    theirs: set[Key] = set()
    for row in peer["expected"]:
        version = _version(row["version"])
        if version.startswith("0x") and not is_version(int(version, 16)):
            continue  # what is not QUIC in a flow that began as QUIC: bytes of anything as a version
        if version[:1] == "Q" and version != "Q050":  # the long header has types of its own
            types: tuple[str, ...] = ()
        else:
            types = ("negotiation",) if int(row["version"], 16) == 0 else tuple(
                TYPES[int(each)] for each in row.get("long_types", ())
            )  # fmt: skip
        for each in types if row["version"] not in _V2 else ("",):
            theirs.add((*peers_ends(row), "" if each == "negotiation" else version, each))
        theirs |= {(*peers_ends(row), "sni", plain(name)) for name in texts(row.get("sni"))}
    ours: set[Key] = set()
    for row in rows:
        if row["kind"] == "quic":
            version = row.get("quic.version", "")
            for each in row.get("quic.type", ()):
                ours.add((*our_ends(row), version, "" if version in ("2", _V2[1]) else each))
        if "quic.sni" in row:
            ours.add((*our_ends(row), "sni", plain(row["quic.sni"])))
    compare(check, capture, Counter(theirs), Counter(ours))


def zeek_x509(check: Check, capture: str, peer: Row, rows: list[Row]) -> None:
    """Certificates by SHA-256, and of those that are a sender's own serial and DNS names too."""
    if not any(row["kind"] == "tls.client_hello" for row in rows):
        return  # certificates of another protocol than TLS (RDP's own security layer)
    own = {r["tls.cert.sha256"]: r for r in rows if r["kind"] == "tls.certificate"}
    chained = {each for r in own.values() for each in r.get("tls.cert.chain", ())}
    for row in peer["expected"]:
        if "fingerprint" not in row:
            continue
        found = own.get(row["fingerprint"])
        said = found and (found["tls.cert.serial"].upper(), {n for n in found.get("tls.cert.names", ()) if ":" not in n})
        if said == (row["certificate.serial"], set(row.get("san.dns", ()))) or (
            found is None and row["fingerprint"] in chained
        ):
            check.equal += 1
        else:
            check.note(capture, "certificate differs" if found else "only the peer", (row["fingerprint"], said))


def foxio(check: Check, capture: str, peer: Row, rows: list[Row]) -> None:
    """JA4 of the first two hellos of every stream as the authors' own program has them."""
    ours = {(*our_ends(r), r.get("tls.ja4")) for r in rows if r["kind"] == "tls.client_hello"}
    for row in peer["expected"]:
        ends = row["src"], int(row["srcport"]), row["dst"], int(row["dstport"])
        for name in ("JA4.1", "JA4.2"):
            if name in row and (*ends, row[name]) in ours:
                check.equal += 1
            elif name in row:
                check.note(capture, "JA4 not found", (ends, row[name]))


CHECKS = {
    "tshark_tls_client_hello": ("tls_client_hello", client_hellos),
    "tshark_tls_server_hello": ("tls_server_hello", server_hellos),
    "tshark_quic": ("quic", quic),
    "ja4": ("ja4", ja4),
    "ja4_foxio": ("ja4_foxio", foxio),
    "zeek_x509": ("zeek_x509", zeek_x509),
}
