"""Certificates against what Zeek and Arkime say of them."""

from __future__ import annotations

import pytest

from tests.oracle.score import rows_of
from tests.support.corpus import expected, needs_corpus

pytestmark = needs_corpus


@pytest.mark.timeout(60)
def test_zeek_says_the_same_of_certificates_behind_starttls() -> None:
    rows = rows_of("captures/zeek/xmpp-starttls.pcap")
    (certificate,) = (row for row in rows if row["kind"] == "tls.certificate")
    for log in expected("zeek_logs"):
        if log["capture"].endswith("xmpp-starttls.pcap") and log["check"] == "zeek_ssl":
            chain = log["expected"][0]["cert_chain_fps"]
            assert [certificate["tls.cert.sha256"], *certificate["tls.cert.chain"]] == chain


@pytest.mark.timeout(60)
def test_arkime_says_the_same_of_a_certificate() -> None:
    (row,) = (each for each in expected("arkime_sessions") if each["capture"].endswith("badcurveball.pcap"))
    theirs = row["expected"][0]["cert"][0]
    (ours,) = (each for each in rows_of(row["capture"]) if each["kind"] == "tls.certificate")
    assert ours["tls.cert.sha1"] == theirs["hash"].replace(":", "")
    assert ours["tls.cert.serial"] == theirs["serial"]
    assert (ours["tls.cert.not_before"], ours["tls.cert.not_after"]) == (
        theirs["notBefore"] // 1000, theirs["notAfter"] // 1000,
    )  # fmt: skip
    assert [each.lower() for each in ours["tls.cert.names"]] == theirs["alt"]
