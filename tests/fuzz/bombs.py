"""Inputs made to cost more than they weigh: loops of pointers, tables that refer to themselves, depth, names of 64 KiB.

Each is (application, IP protocol, turns of (direction, data)); tests/unit/fuzz/test_hostile_input.py holds them against
the bounds of docs/fuzzing.md.
"""

from __future__ import annotations

import struct

from packhound.net.detect import App

K64 = 65_535
Turns = list[tuple[int, bytes]]


def _dns(body: bytes, *, questions: int = 0, answers: int = 0) -> bytes:
    return struct.pack(">HHHHHH", 1, 0x8180, questions, answers, 0, 0) + body


def _dns_bombs() -> dict[str, bytes]:
    names = b"".join(b"\x01a" for _ in range(126)) + b"\0"  # 126 labels
    tail = b"\0\1\0\1"
    record = b"\0\0\2\0\1\0\0\0\0\0\4\1b\xc0\x0c"  # NS: one label, then a pointer to the 126
    step = b"".join(b"\x01a" + struct.pack(">H", 0xC000 | max(12, at - 4)) for at in range(12, 12 + 4 * 4000, 4))
    return {
        "pointer to itself": _dns(b"\xc0\x0c" + tail, questions=1),
        "pointers to each other": _dns(b"\xc0\x0e\xc0\x0c" + tail, questions=2),
        "pointer forward": _dns(b"\xc0\x20" + tail + bytes(40), questions=1),
        "a ladder of pointers": _dns(step + b"\xc0\x0c" + tail, questions=256),
        "a long name in every record": _dns(names + tail + record * 4000, questions=1, answers=4000),
        "labels without end": _dns(b"\x3f" + b"x" * 63 + (b"\x3f" + b"x" * 63) * 1000, questions=1),
        "4096 questions": _dns((b"\x01a\0" + tail) * 4096, questions=4096),
        "counts of 65535": _dns(b"", questions=K64, answers=K64),
        "text of 64 KiB": _dns(b"\0" + tail + b"\0\0\x10\0\1\0\0\0\0\xff\x00" + (b"\xff" + b"y" * 255) * 255, questions=1, answers=1),
    }  # fmt: skip


def _nested(depth: int, tag: bytes = b"\x30", inner: bytes = b"") -> bytes:
    """Definite lengths of four octets, one element in the other."""
    out = inner
    for _ in range(depth):
        out = tag + b"\x84" + len(out).to_bytes(4, "big") + out
    return out


def _ber(body: bytes, tag: bytes = b"\x30") -> bytes:
    return tag + b"\x84" + len(body).to_bytes(4, "big") + body


def _ldap_search(filter_: bytes) -> bytes:
    return _ber(b"\x02\x01\x02" + _ber(b"\x04\x05dc=ab\x0a\x01\x02\x0a\x01\0\x02\x01\0\x02\x01\0\x01\x01\0" + filter_ + b"0\0", b"\x63"))


def _asn1_bombs() -> dict[str, tuple[int, int, Turns]]:
    deep = 9000
    snmp = _ber(b"\x02\x01\x01\x04\x06public" + _ber(b"\x02\x01\x01\x02\x01\0\x02\x01\0" + _nested(deep), b"\xa0"))
    arcs = b"\x06\x82\xff\xf0" + b"\xff" * 0xFFF0
    oids = _ber(b"\x02\x01\x01\x04\x06public" + _ber(b"\x02\x01\x01\x02\x01\0\x02\x01\0" + _ber(_ber(arcs[:1] + b"\x83\0\xff\xf0" + arcs[4:])), b"\xa0"))
    variables = b"0\x0e\x06\x08+\x06\x01\x02\x01\x01\x01\0\x05\0\x05\0"
    many = _ber(b"\x02\x01\x01\x04\x06public" + _ber(b"\x02\x01\x01\x02\x01\0\x02\x01\0" + _ber(variables * 4000), b"\xa0"))
    return {
        "SNMP nested 9000 deep": (App.SNMP, 17, [(0, snmp)]),
        "SNMP identifier of 64 KiB": (App.SNMP, 17, [(0, oids)]),
        "SNMP with 4000 variables": (App.SNMP, 17, [(0, many)]),
        "SNMP community of 60 KB": (App.SNMP, 17, [(0, _ber(b"\x02\x01\x01" + _ber(b"c" * 60_000, b"\x04") + b"\xa0\0"))]),
        "LDAP filter of not, 9000 deep": (App.LDAP, 6, [(0, _ldap_search(_nested(deep, b"\xa2", b"\x87\x01a")))]),
        "LDAP filter of and, 9000 wide": (App.LDAP, 6, [(0, _ldap_search(_ber(b"\x87\x01a" * 9000, b"\xa0")))]),
        "LDAP name of 60 KB": (App.LDAP, 6, [(0, _ber(b"\x02\x01\x01" + _ber(b"\x02\x01\x03" + _ber(b"n" * 60_000, b"\x04") + b"\x80\0", b"\x60")))]),
        "Kerberos nested 9000 deep": (App.KERBEROS, 17, [(0, b"\x6a" + _nested(deep)[1:])]),
        "certificate nested 9000 deep": (App.TLS, 6, [(1, _certificate(_nested(deep)))]),
        "certificate of 9000 names": (App.TLS, 6, [(1, _certificate(_ber(_ber(_ber(b"1\x0b0\x09\x06\x03U\x04\x03\x0c\x02ab" * 4500)))))]),
    }  # fmt: skip


def _certificate(der: bytes) -> bytes:
    """Handshake records with a Certificate message behind a ServerHello."""
    der = der[:60_000]
    chain = len(der).to_bytes(3, "big") + der
    message = b"\x0b" + (len(chain) + 3).to_bytes(3, "big") + len(chain).to_bytes(3, "big") + chain
    hello = b"\x02\0\0\x26\x03\x03" + bytes(32) + b"\0\x13\x01\0"
    out = b"\x16\x03\x03" + len(hello).to_bytes(2, "big") + hello
    for at in range(0, len(message), 16_000):
        part = message[at : at + 16_000]
        out += b"\x16\x03\x03" + len(part).to_bytes(2, "big") + part
    return out


def _hello(extensions: bytes, ciphers: bytes = b"\x13\x01") -> bytes:
    body = b"\x03\x03" + bytes(32) + b"\0" + len(ciphers).to_bytes(2, "big") + ciphers + b"\x01\0"
    body += len(extensions).to_bytes(2, "big") + extensions
    message = b"\x01" + len(body).to_bytes(3, "big") + body
    parts = [message[at : at + 16_000] for at in range(0, len(message), 16_000)]
    return b"".join(b"\x16\x03\x01" + len(part).to_bytes(2, "big") + part for part in parts)


def _extension(number: int, content: bytes) -> bytes:
    return number.to_bytes(2, "big") + len(content).to_bytes(2, "big") + content


def _vector(content: bytes) -> bytes:
    return len(content).to_bytes(2, "big") + content


def _tls_bombs() -> dict[str, tuple[int, int, Turns]]:
    name = b"n" * 60_000
    return {
        "host name of 60 KB": (App.TLS, 6, [(0, _hello(_extension(0, _vector(b"\0" + _vector(name)))))]),
        "30000 ciphers": (App.TLS, 6, [(0, _hello(b"", bytes(range(256)) * 234))]),
        "15000 extensions": (App.TLS, 6, [(0, _hello(b"".join(_extension(n, b"") for n in range(15_000))))]),
        "30000 empty ALPN names": (App.TLS, 6, [(0, _hello(_extension(16, _vector(bytes(60_000)))))]),
        "records of one byte": (App.TLS, 6, [(0, b"".join(b"\x16\x03\x01\0\x01" + bytes((each,)) for each in _hello(b"")[5:] * 80))]),
        "empty records": (App.TLS, 6, [(0, b"\x16\x03\x01\0\0" * 13_000)]),
        "handshake messages without body": (App.TLS, 6, [(0, b"\x16\x03\x01\x40\0" + bytes(16_384) + b"\x16\x03\x01\x40\0" + bytes(16_384))]),
    }  # fmt: skip


def _text_bombs() -> dict[str, tuple[int, int, Turns]]:
    long = b"x" * 64_000
    many = b"".join(b"H%d: v\r\n" % n for n in range(6000))
    sip = b"INVITE sip:b@x SIP/2.0\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\n"
    mail = [(1, b"220 x\r\n"), (0, b"EHLO a\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n"), (1, b"250 a\r\n250 a\r\n250 a\r\n354 a\r\n")]
    return {
        "HTTP host of 64 KB": (App.HTTP, 6, [(0, b"GET / HTTP/1.1\r\nHost: " + long + b"\r\n\r\n")]),
        "HTTP with 6000 headers": (App.HTTP, 6, [(0, b"GET / HTTP/1.1\r\n" + many + b"\r\n")]),
        "HTTP path of 64 KB": (App.HTTP, 6, [(0, b"GET /" + long + b" HTTP/1.1\r\n\r\n")]),
        "HTTP in 3000 requests of one segment": (App.HTTP, 6, [(0, b"GET / HTTP/1.1\r\n\r\n" * 3000)]),
        "HTTP chunks of one byte": (App.HTTP, 6, [(0, b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 9000)]),
        "HTTP trailers without end": (App.HTTP, 6, [(0, b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + b"a:b\r\n" * 12_000)]),
        "SIP with 6000 headers": (App.SIP, 17, [(0, sip + many + b"\r\n")]),
        "SIP with 6000 Via": (App.SIP, 17, [(0, sip + b"Via: SIP/2.0/UDP h;branch=z9hG4bK1\r\n" * 1600 + b"\r\n")]),
        "SIP with folded lines": (App.SIP, 17, [(0, sip + b"Subject: a\r\n" + b" b\r\n" * 15_000 + b"\r\n")]),
        "SIP with a body of codecs": (App.SIP, 17, [(0, sip + b"Content-Type: application/sdp\r\n\r\nv=0\r\n" + b"m=audio 1 RTP/AVP 0\r\na=rtpmap:0 x/1\r\n" * 1700)]),
        "SIP quotes without end": (App.SIP, 17, [(0, sip + b"From: \"" + b"\\\"" * 30_000 + b"\r\n\r\n")]),
        "SIP brackets": (App.SIP, 17, [(0, sip + b"To: " + b"<" * 30_000 + b">" * 30_000 + b"\r\n\r\n")]),
        "mail with 6000 headers": (App.SMTP, 6, [*mail, (0, many + b"\r\nx\r\n.\r\n")]),
        "mail of encoded words": (App.SMTP, 6, [*mail, (0, b"Subject: " + b"=?utf-8?q?=41?= " * 4000 + b"\r\n\r\nx\r\n.\r\n")]),
        "mail of half encoded words": (App.SMTP, 6, [*mail, (0, b"Subject: " + b"=?utf-8?q?" * 6000 + b"\r\n\r\nx\r\n.\r\n")]),
        "mail of folded lines": (App.SMTP, 6, [*mail, (0, b"Subject: a\r\n" + b" b\r\n" * 15_000 + b"\r\nx\r\n.\r\n")]),
        "mail in 8000 parts": (App.SMTP, 6, [*mail, (0, b"Content-Type: multipart/mixed; boundary=x\r\n\r\n" + b"--x\r\n\r\n" * 8000 + b"\r\n.\r\n")]),
        "mail of boundary parameters": (App.SMTP, 6, [*mail, (0, b"Content-Type: multipart/mixed" + b"; boundary=x" * 5000 + b"\r\n\r\n--x\r\n\r\n.\r\n")]),
        "SMTP of 12000 commands": (App.SMTP, 6, [mail[0], (0, b"NOOP\r\n" * 12_000)]),
        "SMTP reply of 8000 lines": (App.SMTP, 6, [(1, b"220-x\r\n" * 8000)]),
        "IMAP literals": (App.IMAP, 6, [(1, b"* OK\r\n"), (0, b"a LOGIN " + b"{1}\r\nx " * 7000 + b"\r\n")]),
        "IMAP brackets": (App.IMAP, 6, [(1, b"* OK\r\n* LIST " + b"(" * 30_000 + b")" * 30_000 + b"\r\n")]),
        "IMAP quotes": (App.IMAP, 6, [(1, b"* OK\r\n"), (0, b"a LOGIN \"" + b"\\\"" * 30_000 + b"\r\n")]),
        "POP3 of 9000 commands": (App.POP3, 6, [(1, b"+OK\r\n"), (0, b"NOOP\r\n" * 9000), (1, b"+OK\r\n" * 9000)]),
        "FTP reply of 8000 lines": (App.FTP, 6, [(1, b"220-x\r\n" * 8000 + b"220 y\r\n")]),
        "SSH preamble without end": (App.SSH, 6, [(0, b"a\r\n" * 20_000)]),
        "SSH algorithms of 60 KB": (App.SSH, 6, [(0, b"SSH-2.0-x\r\n" + struct.pack(">IBB", 60_100, 4, 20) + bytes(16) + _names(6000) * 1 + bytes(60_000))]),
    }  # fmt: skip


def _names(count: int) -> bytes:
    text = b",".join(b"a%d" % n for n in range(count))
    return len(text).to_bytes(4, "big") + text


def _binary_bombs() -> dict[str, tuple[int, int, Turns]]:
    marker = b"\xff" * 16
    update = marker + b"\x10\0\x02\0\0\x0f\xe9" + b"\x40\x01\x01\0" * 1018 + b"\0"
    prefixes = marker + b"\x10\0\x02\0\0\0\0" + b"\x08\x0a" * 2036 + b"\0"
    return {
        "BGP markers": (App.BGP, 6, [(0, b"\xff" * 60_000)]),
        "BGP with 1000 attributes": (App.BGP, 6, [(0, update)]),
        "BGP with 2000 prefixes": (App.BGP, 6, [(0, prefixes)]),
        "BGP keepalives": (App.BGP, 6, [(0, (marker + b"\0\x13\x04") * 3000)]),
        "Diameter attributes of eight bytes": (App.DIAMETER, 6, [(0, b"\x01\0\xff\xf4\x80\0\x01\x01" + bytes(12) + b"\0\0\x01\x08\x40\0\0\x08" * 8188)]),
        "Diameter grouped 5000 deep": (App.DIAMETER, 6, [(0, _grouped(5000))]),
        "SCTP chunks of four bytes": (App.SCTP, 132, [(0, b"\x0e\0\0\x04" * 16_000)]),
        "DHCP options": (App.DHCP, 17, [(0, b"\x01\x01\x06\0abcd" + bytes(228) + b"c\x82Sc" + b"\x0c\x01a" * 20_000)]),
        "DHCPv6 options in options": (App.DHCPV6, 17, [(0, b"\x01abc" + _relays(3000))]),
        "RADIUS attributes": (App.RADIUS, 17, [(0, b"\x01\x01\x10\0" + bytes(16) + b"\x01\x03a" * 1358 + b"\0\0")]),
        "STUN attributes": (App.STUN, 17, [(0, b"\0\x01\xff\xf8!\x12\xa4B" + bytes(12) + b"\x80\x22\0\0" * 16_382)]),
        "MQTT topics": (App.MQTT, 6, [(0, b"\x10\x0e\0\x04MQTT\x04\x02\0\x3c\0\x02id"), (0, b"\x82\x82\xf4\x03\0\x01" + b"\0\x01a\0" * 16_000)]),
        "MQTT topic of 60 KB": (App.MQTT, 6, [(0, b"\x10\x0e\0\x04MQTT\x04\x02\0\x3c\0\x02id"), (0, b"\x30\xe2\xd4\x03\xea\x60" + b"t" * 60_000)]),
        "NetBIOS scope labels": (App.NBNS, 17, [(0, b"\0\x01\x01\x10\0\x01\0\0\0\0\0\0 " + b"CA" * 16 + b"\x01a" * 30_000)]),
        "NetBIOS pointer to itself": (App.NBNS, 17, [(0, b"\0\x01\x01\x10\0\x01\0\0\0\0\0\0\xc0\x0c\0\x20\0\x01")]),
        "SMB of 64 KB without end": (App.SMB, 6, [(0, b"\0\xff\xff\xff\xfeSMB\x40\0" + bytes(200_000))]),
        "RTCP packets": (App.RTCP, 17, [(0, b"\x80\xc9\0\x01abcd" * 8000)]),
        "RTCP of 31 sources": (App.RTCP, 17, [(0, b"\x9f\xca\x3f\xff" + b"abcd\x01\xff" + bytes(65_000))]),
        "DTLS sizes": (App.DTLS, 17, [(0, b"\x16\xfe\xfd" + bytes(8) + b"\0\x0d\x01\0\xff\xff" + n.to_bytes(2, "big") + bytes(3) + b"\0\0\x01a") for n in range(2000)]),
        "RIP routes": (App.RIP, 17, [(0, b"\x02\x02\0\0" + b"\0\x02\0\0\x0a\0\0\0\xff\0\0\0\0\0\0\0\0\0\0\x01" * 3200)]),
        "OSPF advertisements": (App.OSPF, 89, [(0, b"\x02\x04\xff\xf0" + bytes(20) + b"\0\0\xff\xff" + (bytes(18) + b"\0\x14") * 3200)]),
        "EIGRP TLVs": (App.EIGRP, 88, [(0, b"\x02\x01\0\0" + bytes(16) + b"\0\x01\0\x04" * 16_000)]),
        "ICMPv6 options": (App.ICMPV6, 58, [(0, b"\x86\0\0\0" + bytes(12) + b"\x01\x01\0\0\0\0\0\x01" * 8000)]),
        "QUIC packets": (App.QUIC, 17, [(0, b"\xc0\0\0\0\x01\0\0\0\x01\0" * 6000)]),
    }  # fmt: skip


def _grouped(depth: int) -> bytes:
    """Diameter AVPs (Failed-AVP, 279) one in the other."""
    out = b""
    for _ in range(depth):
        out = b"\0\0\x01\x17\x40" + (len(out) + 8).to_bytes(3, "big") + out
    return b"\x01" + (len(out) + 20).to_bytes(3, "big") + b"\x80\0\x01\x01" + bytes(12) + out


def _relays(depth: int) -> bytes:
    """DHCPv6 vendor options one in the other."""
    out = b""
    for _ in range(depth):
        out = b"\0\x11" + (len(out) + 4).to_bytes(2, "big") + bytes(4) + out if len(out) < 65_000 else out
    return out


def _http2_bombs() -> dict[str, tuple[int, int, Turns]]:
    app = getattr(App, "HTTP2", None)
    if app is None:
        return {}
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\x04\0\0\0\0\0"

    def headers(stream: int, block: bytes) -> bytes:
        return len(block).to_bytes(3, "big") + b"\x01\x05" + stream.to_bytes(4, "big") + block

    entry = b"\x3f\xe1\x1f" + b"\x44\x7f\xa1\x1e" + b"/" + b"p" * 3999  # table of 4096; :path of 4000, kept in the table
    bomb = headers(1, b"\x82\x86" + entry) + b"".join(headers(3 + 2 * n, b"\x82\x86\xbe") for n in range(4000))
    wide = headers(1, b"\x82\x86" + entry + b"\xbe" * 12_000)
    tables = headers(1, b"\x82\x86\x84" + b"\x20\x3f\xe1\x1f" * 3000)
    big = headers(1, b"\x82\x86\x3f\xe1\xff\x03\x44\x7f\x80\xf9\x01/" + b"q" * 31_998) + b"".join(
        headers(3 + 2 * n, b"\x82\x86\xbe") for n in range(4000)
    )
    called = b"\x3f\xe1\xff\x03\x5f\x10application/grpc\x44\x7f\x80\xf9\x01/" + b"q" * 31_996 + b"/m"
    calls = headers(1, b"\x83\x86" + called) + b"".join(headers(3 + 2 * n, b"\x83\x86\xbe\xbf") for n in range(2000))
    return {
        "HPACK: 2000 calls of one long name": (app, 6, [(0, preface), (0, calls)]),
        "HPACK: one entry in every list": (app, 6, [(0, preface), (0, bomb)]),
        "HPACK: one entry many times in a list": (app, 6, [(0, preface), (0, wide)]),
        "HPACK: an entry of 32 KB in every list": (app, 6, [(0, preface), (0, big)]),
        "HPACK: sizes of the table": (app, 6, [(0, preface), (0, tables)]),
        "HTTP/2: continuations without end": (app, 6, [(0, preface), (0, b"\0\0\x01\x01\0\0\0\0\x01\x82" + b"\0\0\0\x09\0\0\0\0\x01" * 7000)]),
        "HTTP/2: 7000 streams": (app, 6, [(0, preface), (0, b"".join(headers(1 + 2 * n, b"\x82\x86\x84\x81") for n in range(5000)))]),
        "HTTP/2: settings": (app, 6, [(0, preface), (0, b"\0\0\0\x04\0\0\0\0\0" * 7000)]),
    }  # fmt: skip


def bombs() -> dict[str, tuple[int, int, Turns]]:
    """All of them by name."""
    found: dict[str, tuple[int, int, Turns]] = {
        f"DNS: {name}": (App.DNS, 17, [(1, data[:K64])]) for name, data in _dns_bombs().items()
    }
    found |= {f"DNS over TCP: {name}": (App.DNS, 6, [(1, min(len(d), K64).to_bytes(2, "big") + d[:K64])]) for name, d in _dns_bombs().items()}
    return found | _asn1_bombs() | _tls_bombs() | _text_bombs() | _binary_bombs() | _http2_bombs()
