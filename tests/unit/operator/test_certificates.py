"""A certificate of our own is good for its names, is replaced in time, and an authority never goes before its heir."""

from __future__ import annotations

import datetime as dt
import ssl

import pytest
from cryptography import x509

from packhound.operator.certificates import AUTHORITY_LIFE, LIFE, Bundle, renewed

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
NAMES = ["packhound-operator.packhound.svc", "packhound-operator.packhound.svc.cluster.local"]


def leaf(bundle):
    return x509.load_pem_x509_certificate(bundle.cert)


def test_made_once_and_kept_while_it_is_good():
    made = renewed(None, NAMES, now=NOW)
    assert renewed(made, NAMES, now=NOW + LIFE * 0.6) is None
    assert Bundle.of_data(made.as_data()) == made
    context = ssl.create_default_context(cadata=made.ca.decode())
    assert context.cert_store_stats()["x509_ca"] == 1
    leaf(made).verify_directly_issued_by(x509.load_pem_x509_certificates(made.ca)[0])


def test_replaced_at_two_thirds_of_its_life_by_the_same_authority():
    made = renewed(None, NAMES, now=NOW)
    fresh = renewed(made, NAMES, now=NOW + LIFE * 0.7)
    assert fresh.ca == made.ca
    assert leaf(fresh).not_valid_after_utc > leaf(made).not_valid_after_utc


def test_another_name_makes_another_certificate():
    made = renewed(None, NAMES, now=NOW)
    assert renewed(made, ["other.packhound.svc"], now=NOW).ca == made.ca


def test_an_old_authority_stays_trusted_beside_the_new_one():
    made, later = renewed(None, NAMES, now=NOW), NOW + AUTHORITY_LIFE * 0.7
    fresh = renewed(made, NAMES, now=later)
    chain = x509.load_pem_x509_certificates(fresh.ca)
    assert len(chain) == 2
    leaf(fresh).verify_directly_issued_by(chain[0])
    leaf(made).verify_directly_issued_by(chain[1])
    assert renewed(fresh, NAMES, now=later) is None
    last = renewed(fresh, NAMES, now=later + AUTHORITY_LIFE)
    assert len(x509.load_pem_x509_certificates(last.ca)) == 1  # the others are no longer valid


@pytest.mark.parametrize("data", [{}, {"ca.crt": "!"}, {"ca.crt": "", "ca.key": "", "tls.crt": "", "tls.key": ""}])
def test_a_secret_that_is_not_whole_is_none(data):
    assert Bundle.of_data(data) is None
