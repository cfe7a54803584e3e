"""Sessions: opened by application and transport, silent about what they do not know, bounded and unbreakable."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from packhound.fields import FIELDS
from packhound.net.detect import PROTOCOLS, App
from packhound.net.facts import Fact
from packhound.net.session import FIELDS_FILLED, TCP, UDP, open_session

OPENED = [(row.app, proto) for row in PROTOCOLS for proto in (TCP, UDP) if open_session(row.app, proto=proto)]


def test_every_protocol_of_the_first_version_has_a_session() -> None:
    wanted = {(App.SIP, TCP), (App.SIP, UDP), (App.RTP, UDP), (App.DNS, TCP), (App.DNS, UDP), (App.TLS, TCP),
              (App.QUIC, UDP), (App.HTTP, TCP), (App.SSH, TCP), (App.MDNS, UDP), (App.LLMNR, UDP)}  # fmt: skip
    assert wanted <= set(OPENED)


def test_unknown_applications_have_none() -> None:
    assert open_session(App.UNKNOWN, proto=TCP) is None
    assert open_session(250, proto=TCP) is None
    assert open_session(App.TLS, proto=132) is None


def test_declared_fields_and_the_registry_say_the_same() -> None:
    declared = {(kind, name) for kind, names in FIELDS_FILLED.items() for name in names}
    registered = {(kind, row.name) for row in FIELDS.values() for kind in row.filled_by if kind in FIELDS_FILLED}
    assert declared == registered


@pytest.mark.parametrize(("app", "proto"), OPENED)
@given(data=st.lists(st.tuples(st.integers(0, 1), st.binary(max_size=120), st.integers(0, 50)), max_size=12))
def test_no_bytes_and_no_gaps_raise(app: App, proto: int, data: list[tuple[int, bytes, int]]) -> None:
    session = open_session(app, proto=proto, max_bytes=256)
    assert session
    for now, (direction, chunk, lost) in enumerate(data):
        for fact in session.feed(direction, chunk, now=now):
            if isinstance(fact, Fact):
                assert set(fact.fields) <= FIELDS_FILLED[fact.kind]
        if lost > 40:
            session.gap(direction, lost)
