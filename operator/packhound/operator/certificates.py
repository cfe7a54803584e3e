"""An authority of our own and a certificate of it, for the webhook: what is in the Secret, when it is made anew.

Promise: pure but for randomness; `now` is given. A certificate is replaced at two thirds of its life; when the
authority is, the old one stays in the bundle while it is valid, so that no handshake fails in between.
"""

from __future__ import annotations

import base64
import binascii
import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

AUTHORITY_LIFE = dt.timedelta(days=730)
LIFE = dt.timedelta(days=90)
EARLIER = dt.timedelta(hours=1)  # clocks differ
CA, CA_KEY, CERT, KEY = "ca.crt", "ca.key", "tls.crt", "tls.key"


@dataclass(frozen=True, slots=True)
class Bundle:
    """PEM: `ca` the authorities to trust, newest first; `ca_key` of the newest; `cert` and `key` to serve with."""

    ca: bytes
    ca_key: bytes
    cert: bytes
    key: bytes

    def as_data(self) -> dict[str, str]:
        """The `data` of a Secret."""
        rows = ((CA, self.ca), (CA_KEY, self.ca_key), (CERT, self.cert), (KEY, self.key))
        return {name: base64.b64encode(value).decode() for name, value in rows}

    @classmethod
    def of_data(cls, data: Mapping[str, str]) -> Bundle | None:
        """Read the `data` of a Secret; None when it is not all there or not PEM."""
        try:
            made = cls(*(base64.b64decode(data[name], validate=True) for name in (CA, CA_KEY, CERT, KEY)))
            x509.load_pem_x509_certificates(made.ca), x509.load_pem_x509_certificate(made.cert)
            serialization.load_pem_private_key(made.ca_key, None), serialization.load_pem_private_key(made.key, None)
        except (KeyError, ValueError, TypeError, binascii.Error):
            return None
        return made


def renewed(had: Bundle | None, names: Sequence[str], *, now: dt.datetime) -> Bundle | None:
    """What to serve `names` with from now on; None when what we had is still good."""
    if had is None or _worn(x509.load_pem_x509_certificates(had.ca)[0], now):
        key = ec.generate_private_key(ec.SECP256R1())
        subject = _name("packhound operator")
        fresh = _sign(subject, key.public_key(), subject, key, now=now, life=AUTHORITY_LIFE, authority=True)
        old = x509.load_pem_x509_certificates(had.ca)[:1] if had is not None else []
        chain = [fresh, *(each for each in old if each.not_valid_after_utc > now)]
        return _with_leaf(b"".join(map(_pem, chain)), key, fresh, names, now)
    leaf, authority = x509.load_pem_x509_certificate(had.cert), x509.load_pem_x509_certificates(had.ca)[0]
    if not _worn(leaf, now) and _names(leaf) == sorted(names) and leaf.issuer == authority.subject:
        return None
    key = serialization.load_pem_private_key(had.ca_key, None)  # type: ignore[assignment]
    return _with_leaf(had.ca, key, authority, names, now)


def _with_leaf(
    ca: bytes, ca_key: ec.EllipticCurvePrivateKey, authority: x509.Certificate, names: Sequence[str], now: dt.datetime
) -> Bundle:
    key = ec.generate_private_key(ec.SECP256R1())
    leaf = _sign(_name(names[0][:64]), key.public_key(), authority.subject, ca_key, now=now, life=LIFE, names=names)
    return Bundle(ca, _private(ca_key), _pem(leaf), _private(key))


def _worn(cert: x509.Certificate, now: dt.datetime) -> bool:
    life = cert.not_valid_after_utc - cert.not_valid_before_utc
    return now >= cert.not_valid_before_utc + life * 2 / 3


def _names(cert: x509.Certificate) -> list[str]:
    try:
        found = cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return sorted(found.get_values_for_type(x509.DNSName))


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _sign(
    subject: x509.Name, public: ec.EllipticCurvePublicKey, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, *,
    now: dt.datetime, life: dt.timedelta, authority: bool = False, names: Sequence[str] = (),
) -> x509.Certificate:  # fmt: skip
    usage = x509.KeyUsage(
        digital_signature=not authority, key_cert_sign=authority, crl_sign=authority, content_commitment=False,
        key_encipherment=False, data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    builder = (
        x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(public)
        .serial_number(x509.random_serial_number()).not_valid_before(now - EARLIER).not_valid_after(now + life)
        .add_extension(x509.BasicConstraints(ca=authority, path_length=0 if authority else None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
    )  # fmt: skip
    if names:
        alternatives = x509.SubjectAlternativeName([x509.DNSName(each) for each in names])
        builder = builder.add_extension(alternatives, critical=False).add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False
        )
    return builder.sign(key, hashes.SHA256())


def _pem(cert: x509.Certificate) -> bytes:
    return cert.public_bytes(serialization.Encoding.PEM)


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
