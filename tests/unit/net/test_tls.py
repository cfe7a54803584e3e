"""TLS: hellos and certificates over any cut of segments and records, until encryption starts."""

from __future__ import annotations

import datetime as dt
import hashlib
from ipaddress import ip_address

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from packhound.net import encrypted_dns
from packhound.net import x509 as certificates
from packhound.net.facts import Fact, Malformed
from packhound.net.sessions.tls import DtlsDatagrams, TlsStream
from packhound.net.tls_messages import parse_certificates, parse_client_hello, parse_server_hello
from tests.support.hellos import alpn, client_hello, extension, handshake, record, server_hello, sni, u16, vector
from tests.support.mutations import chunks, damaged, is_linear

HELLO = client_hello((0x1301, 0xC02F), sni("www.example.com") + alpn(b"h2") + extension(43, vector(1, u16(0x0304))))
SERVER = server_hello(0xC02F, alpn(b"h2"))


def _certificate() -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([
        x509.NameAttribute(NameOID.COUNTRY_NAME, "SE"), x509.NameAttribute(NameOID.ORGANIZATION_NAME, "A, Inc"),
        x509.NameAttribute(NameOID.COMMON_NAME, "www.example.com"),
    ])  # fmt: skip
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test CA")])
    start = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
    names = x509.SubjectAlternativeName([
        x509.DNSName("example.com"), x509.DNSName("*.example.com"), x509.IPAddress(ip_address("192.0.2.1")),
        x509.IPAddress(ip_address("2001:db8::1")),
    ])  # fmt: skip
    built = x509.CertificateBuilder(
        issuer_name=issuer,
        subject_name=subject,
        public_key=key.public_key(),
        serial_number=0xF234,
        not_valid_before=start,
        not_valid_after=dt.datetime(2050, 1, 1, tzinfo=dt.UTC),  # written as GeneralizedTime
    ).add_extension(names, critical=True)
    return built.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


DER = _certificate()
CERTIFICATE = vector(3, vector(3, DER) + vector(3, b"another"))
FLIGHT = record(22, handshake(2, SERVER) + handshake(11, CERTIFICATE) + handshake(14, b""))
ENCRYPTED = record(20, b"\1") + record(22, bytes(range(40)))


def kinds(facts: list[Fact | Malformed]) -> list[str]:
    return [fact.kind if isinstance(fact, Fact) else fact.reason for fact in facts]


def run(session: TlsStream, direction: int, data: bytes, sizes: list[int] | None = None) -> list[Fact | Malformed]:
    return [fact for piece in chunks(data, sizes or []) for fact in session.feed(direction, piece, now=0)]


def test_a_client_hello() -> None:
    (fact,) = run(TlsStream(max_bytes=65536), 0, record(22, handshake(1, HELLO)))
    assert isinstance(fact, Fact)
    assert (fact.fields["tls.sni"], fact.fields["tls.alpn"], fact.fields["tls.version"]) == (
        "www.example.com",
        ("h2",),
        "1.3",
    )
    assert fact.fields["tls.quic"] is False
    assert (fact.fields["tls.offered.ciphers"], fact.fields["tls.offered.versions"]) == ((0x1301, 0xC02F), ("1.3",))
    assert fact.fields["tls.ech"] is False


def test_what_else_a_client_offers() -> None:
    grease = extension(0x0A0A, b"") + extension(10, vector(2, u16(0x1A1A, 29, 4588)))
    body = client_hello((0x2A2A, 0x1301), grease + extension(43, vector(1, u16(0x3A3A, 0x0304))) + extension(0xFE0D, b"x"))
    (fact,) = run(TlsStream(max_bytes=65536), 0, record(22, handshake(1, body)))
    assert isinstance(fact, Fact)
    assert {name: fact.fields[name] for name in fact.fields if "offered" in name or name == "tls.ech"} == {
        "tls.offered.ciphers": (0x1301,), "tls.offered.groups": (29, 4588), "tls.offered.versions": ("1.3",),
        "tls.ech": True,
    }  # fmt: skip


def test_the_group_that_a_server_chooses() -> None:
    (fact,) = run(
        TlsStream(max_bytes=65536), 1, record(22, handshake(2, server_hello(0x1301, extension(51, u16(29, 0)))))
    )
    assert isinstance(fact, Fact)
    assert fact.fields["tls.group"] == 29


@pytest.mark.parametrize(
    ("names", "host", "transport", "said"),
    [
        (("dot",), "", "t", "dot"), (("doq",), "x.example", "q", "doq"), (("doq-i02",), "", "q", "doq"),
        (("h2",), "Dns.Google", "t", "doh"), (("h3",), "abc.dns.nextdns.io", "q", "doh"), ((), "dns.google", "t", "dot"),
        (("h2",), "www.google", "t", ""), ((), "", "t", ""), (("smtp",), "dns.google", "t", ""), ((), "dns.google", "q", ""),
    ],
)  # fmt: skip
def test_dns_inside_tls_is_told_by_alpn_or_the_name_of_a_resolver(
    names: tuple[str, ...], host: str, transport: str, said: str
) -> None:
    assert encrypted_dns.of_hello(names, host, transport=transport) == said


def test_tls_behind_the_words_of_another_protocol() -> None:
    session = TlsStream(max_bytes=65536, preface=8)
    assert run(session, 0, b"<stream:stream>") == []
    assert run(session, 1, b"S") == []
    assert kinds(run(session, 0, record(22, handshake(1, HELLO)))) == ["tls.client_hello"]
    assert kinds(run(session, 1, FLIGHT)) == ["tls.server_hello", "tls.certificate"]
    silent = TlsStream(max_bytes=65536, preface=8)
    for _ in range(10):
        assert [*run(silent, 0, b"select 1"), *run(silent, 1, b"a row")] == []
    assert silent.done


@pytest.mark.parametrize(
    ("tag", "text", "at"),
    [
        (0x17, b"240101000000Z", 1704067200), (0x17, b"2401010000Z", 1704067200), (0x17, b"500101000000Z", -631152000),
        (0x17, b"240101013000+0130", 1704067200), (0x18, b"20240101000000Z", 1704067200), (0x17, b"241301000000Z", None),
        (0x18, b"99991231235959Z", 253402300799), (0x17, b"20240101000000Z", None), (0x04, b"240101000000Z", None),
        (0x17, b"", None),
    ],
)  # fmt: skip
def test_times_of_certificates(tag: int, text: bytes, at: int | None) -> None:
    assert certificates.time_of(tag, text) == at


@given(st.lists(st.integers(1, 60), max_size=6), st.integers(1, 80))
def test_a_hello_over_any_segments_and_records(sizes: list[int], cut: int) -> None:
    message = handshake(1, HELLO)
    stream = b"".join(record(22, message[at : at + cut]) for at in range(0, len(message), cut))
    assert kinds(run(TlsStream(max_bytes=65536), 0, stream, sizes)) == ["tls.client_hello"]


def test_server_hello_and_certificate_then_silence() -> None:
    session = TlsStream(max_bytes=65536)
    server, certificate = run(session, 1, FLIGHT + ENCRYPTED)
    assert isinstance(server, Fact)
    assert isinstance(certificate, Fact)
    assert (server.fields["tls.cipher"], server.fields["tls.version"], server.fields["tls.alpn"]) == (
        0xC02F,
        "1.2",
        ("h2",),
    )
    assert certificate.fields == {
        "tls.cert.subject": "C=SE, O=A\\, Inc, CN=www.example.com",
        "tls.cert.issuer": "CN=Test CA",
        "tls.cert.names": ("example.com", "*.example.com", "192.0.2.1", "2001:db8::1"),
        "tls.cert.serial": "f234",
        "tls.cert.not_before": 1704067200,
        "tls.cert.not_after": 2524608000,
        "tls.cert.sha256": hashlib.sha256(DER).hexdigest(),
        "tls.cert.sha1": hashlib.sha1(DER, usedforsecurity=False).hexdigest(),
        "tls.cert.chain": (hashlib.sha256(b"another").hexdigest(),),
        "tls.cert.self_issued": False,
    }
    assert not session.done
    run(session, 0, record(22, handshake(1, HELLO)) + record(23, b"secret"))
    assert session.done


def test_a_second_hello_after_a_retry_request_is_seen() -> None:
    session = TlsStream(max_bytes=65536)
    hello = record(22, handshake(1, HELLO))
    assert kinds(run(session, 0, hello + record(20, b"\1") + hello + record(23, b"x"))) == ["tls.client_hello"] * 2


def test_an_ssl2_compatible_hello_does_not_hide_the_server() -> None:
    session = TlsStream(max_bytes=65536)
    assert run(session, 0, b"\x80\x2e\x01\x03\x01" + bytes(43) + record(22, handshake(16, b"k"))) == []
    assert kinds(run(session, 1, FLIGHT)) == ["tls.server_hello", "tls.certificate"]


def test_noise_is_named_once_and_given_up_in_the_end() -> None:
    session = TlsStream(max_bytes=65536)
    session.gap(0, 5)
    assert kinds(run(session, 1, b"220 smtp ready\r\n")) == ["not a TLS record"]
    for direction in (0, 1):
        assert run(session, direction, b"noise" * 20, [10]) == []
    assert session.done


def test_a_hello_behind_stray_bytes_or_a_loss_is_read() -> None:
    session = TlsStream(max_bytes=65536)
    assert kinds(run(session, 0, b"\0")) == []
    assert kinds(run(session, 0, record(22, handshake(1, HELLO)))) == ["tls.client_hello"]
    session.gap(1, 100)
    assert kinds(run(session, 1, FLIGHT)) == ["tls.server_hello", "tls.certificate"]


def test_a_handshake_larger_than_the_cap_is_given_up() -> None:
    session = TlsStream(max_bytes=4096)
    endless = record(22, b"\x01\xff\xff\xff" + bytes(1000)) * 10
    assert kinds(run(session, 0, endless)) == ["TLS handshake is larger than its cap"]


def test_dtls_hellos_in_fragments() -> None:
    body = client_hello((0xC02B,), sni("d.example"), version=0xFEFD, dtls=True)

    def piece(start: int, stop: int) -> bytes:
        message = (
            b"\1" + len(body).to_bytes(3, "big") + b"\0\0" + start.to_bytes(3, "big") + vector(3, body[start:stop])
        )
        return b"\x16\xfe\xfd" + bytes(8) + vector(2, message)

    session = DtlsDatagrams(max_bytes=65536)
    assert session.feed(0, piece(0, 30), now=0) == []
    (fact,) = session.feed(0, piece(30, len(body)), now=0)
    assert isinstance(fact, Fact)
    assert (fact.fields["tls.sni"], fact.fields["tls.version"]) == ("d.example", "DTLS 1.2")
    assert str(fact.fields["tls.ja4"]).startswith("dd2d01")


@given(damaged([record(22, handshake(1, HELLO)), FLIGHT, ENCRYPTED]), st.lists(st.integers(1, 99), max_size=4))
def test_no_bytes_raise(data: bytes, sizes: list[int]) -> None:
    session = TlsStream(max_bytes=2048)
    run(session, 0, data, sizes)
    run(session, 1, data)
    DtlsDatagrams(max_bytes=2048).feed(0, data, now=0)


@given(damaged([HELLO, SERVER, CERTIFICATE]))
def test_no_message_raises(body: bytes) -> None:
    parse_client_hello(body)
    parse_client_hello(body, dtls=True)
    parse_server_hello(body)
    parse_certificates(body)


@given(damaged([DER]))
def test_no_certificate_raises(der: bytes) -> None:
    certificates.parse(der)


def test_hostile_streams_stay_linear() -> None:
    def one_byte_records(data: bytes) -> None:
        run(TlsStream(max_bytes=1 << 20), 0, data)

    def dribble(data: bytes) -> None:
        run(TlsStream(max_bytes=1 << 20), 0, data, [1])

    assert is_linear(one_byte_records, lambda n: record(22, b"\1\x0f\xff\xff") + record(22, b"x") * n, size=4000)
    assert is_linear(one_byte_records, lambda n: record(22, b"") * n, size=4000)
    assert is_linear(dribble, lambda n: record(22, b"\1\x0f\xff\xff" + bytes(min(n, 16000))), size=4000)
