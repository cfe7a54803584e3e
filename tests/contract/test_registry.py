"""The registry and the dissectors say the same: no field without a source, no source without a field."""

from __future__ import annotations

import re

import pytest

from packhound.fields import FIELDS, FLOW, HEADER, OPERATORS, POD
from packhound.net.detect import BY_NAME
from packhound.net.session import FIELDS_FILLED

SPECIFIED = """
ip.addr ip.src ip.dst ip.proto port port.src port.dst vlan.id app.protocol flow.bytes
sip.user sip.uri sip.from sip.to sip.method sip.status sip.call_id phone.number rtp.codec rtp.ssrc sip.imsi sip.imei
dns.qname dns.qtype dns.rcode dns.answer dns.tunnel_score
tls.sni tls.alpn tls.version tls.ja3 tls.ja3s tls.ja4 tls.cert.subject quic.sni
http.host http.url http.path http.method http.status http.user_agent
email.from email.to email.subject email.mailbox email.command
ssh.software ldap.operation k8s.namespace k8s.pod.name k8s.pod.label process.name container.id
"""


def test_every_specified_field_is_a_row():
    assert set(SPECIFIED.split()) <= set(FIELDS)


@pytest.mark.parametrize("kind", sorted(FIELDS_FILLED))
def test_what_a_dissector_fills_is_a_row_that_names_it(kind):
    assert {name for name in FIELDS_FILLED[kind] if kind not in FIELDS[name].filled_by} == set()


@pytest.mark.parametrize("row", list(FIELDS.values()), ids=lambda row: row.name)
def test_a_row_is_filled_as_it_says(row):
    for kind in row.filled_by:
        assert kind in (HEADER, FLOW, POD) or row.name in FIELDS_FILLED[kind]
    assert row.protocols == () or set(row.protocols) <= set(BY_NAME)
    assert re.fullmatch(r"[a-z][a-z0-9_]*(\.[a-z0-9_]+)*", row.name)
    assert row.doc
    assert not row.doc.endswith(".")
    assert row.operators == (OPERATORS[row.type] if row.matchable else ())
