"""Web, names, TLS, QUIC and detection against peers: what is left of difference is what docs/truth explains."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from tests.oracle.checks import detection, names, secure, web
from tests.oracle.score import Check, rows_of
from tests.support.corpus import expected, needs_corpus

pytestmark = needs_corpus
ALL = {**detection.CHECKS, **names.CHECKS, **secure.CHECKS, **web.CHECKS}
#: Check -> rows that agree at least, rows that differ at most (fuzzed captures apart). See docs/truth.
HELD = {
    "ndpi_flows": (1015, 10), "zeek_conn": (21, 2), "tshark_dns": (3378, 6), "zeek_dns": (3, 0),
    "tshark_tls_client_hello": (926, 4), "tshark_tls_server_hello": (817, 3), "tshark_quic": (200, 1), "ja4": (929, 4),
    "zeek_x509": (13, 3), "tshark_http": (981, 29), "tshark_http2": (4, 1), "zeek_http": (92, 16),
}  # fmt: skip


@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", HELD)
def test_rows_agree_with_the_peer_or_the_difference_is_explained(name: str) -> None:
    kind, compare = ALL[name]
    check = Check()
    for row in expected("zeek_logs" if name.startswith("zeek_") else name):
        if row["check"] == kind:
            compare(check, row["capture"], row, rows_of(row["capture"]))
    differ = Counter({each: count for each, count in check.different.items() if "fuzzed" not in each})
    equal, different = HELD[name]
    assert check.equal >= equal
    assert differ.total() <= different, json.dumps(check.examples, indent=1)


def test_every_check_is_held() -> None:
    assert set(HELD) == set(ALL)


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
