"""POP3: commands, responses and the mails between them, whatever the cuts, losses and start; never a password."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from packhound.net.facts import Fact, Malformed
from packhound.net.session import FIELDS_FILLED
from packhound.net.sessions.mail import pop3_stream
from packhound.net.sessions.mail_lines import StartTls
from tests.support.hellos import client_hello, handshake, record, sni
from tests.support.mutations import chunks, damaged, is_linear

CLIENT, SERVER = 0, 1
MAIL = b"From: a@x.org\r\nSubject: one\r\n\r\n+OK is text here\r\n-ERR too\r\n..dot\r\n.\r\n"
Turn = tuple[int, bytes]
SESSION: list[Turn] = [
    (SERVER, b"+OK POP3 ready\r\n"), (CLIENT, b"CAPA\r\n"), (SERVER, b"+OK list\r\nTOP\r\nUSER\r\n.\r\n"),
    (CLIENT, b"USER alice\r\n"), (SERVER, b"+OK\r\n"), (CLIENT, b"PASS s3cr3t\r\n"), (SERVER, b"+OK in\r\n"),
    (CLIENT, b"STAT\r\nLIST\r\nLIST 1\r\nUIDL\r\nRETR 1\r\nDELE 1\r\n"),
    (SERVER, b"+OK 1 100\r\n+OK 1\r\n1 100\r\n.\r\n+OK 1 100\r\n+OK\r\n1 abc\r\n.\r\n+OK 100\r\n" + MAIL + b"-ERR no\r\n"),
    (CLIENT, b"QUIT\r\n"), (SERVER, b"+OK bye\r\n"),
]  # fmt: skip
EXPECTED = [
    "+OK", "CAPA", "+OK", "USER", "+OK", "PASS", "+OK", "STAT", "LIST", "LIST", "UIDL", "RETR", "DELE", "+OK", "+OK", "+OK",
    "+OK", "+OK", "one", "-ERR", "QUIT", "+OK",
]  # fmt: skip


def run(turns: list[Turn], sizes: list[int] | None = None, session: StartTls | None = None) -> list[Fact | Malformed]:
    session = session or pop3_stream(65536)
    return [
        fact for direction, data in turns for piece in chunks(data, sizes or [])
        for fact in session.feed(direction, piece, now=0)
    ]  # fmt: skip


def said(facts: list[Fact | Malformed]) -> list[str]:
    out = []
    for fact in facts:
        fields = fact.fields if isinstance(fact, Fact) else {}
        names = ("email.command", "pop3.status", "email.subject", "email.user")
        out.append(str(next((fields[name] for name in names if name in fields), "malformed")))
    return out


@pytest.mark.parametrize("sizes", [[], [1], [3, 50], [9]])
def test_a_session_in_any_cut(sizes: list[int]) -> None:
    assert said(run(SESSION, sizes)) == EXPECTED


def test_what_the_messages_say() -> None:
    facts = [fact for fact in run(SESSION) if isinstance(fact, Fact)]
    assert facts[0] == Fact("pop3.response", {"pop3.status": "+OK", "pop3.text": "POP3 ready"})
    assert facts[3] == Fact("pop3.command", {
        "email.command": "USER", "email.argument": "alice", "email.user": "alice", "email.mailbox": "alice",
    })  # fmt: skip
    assert facts[5] == Fact("pop3.command", {"email.command": "PASS"})
    assert facts[11].fields == {"email.command": "RETR", "email.argument": "1"}
    assert facts[18].fields == {"email.from": ("a@x.org",), "email.subject": "one"}


def test_one_side_alone_is_read() -> None:
    assert said(run([turn for turn in SESSION if turn[0] == CLIENT])) == [word for word in EXPECTED if word.isalpha() and word != "one"]
    found = said(run([(SERVER, b"+OK 100\r\n" + MAIL), (SERVER, b"+OK bye\r\n")]))
    assert found == ["+OK", "one", "+OK"]


def test_a_capture_that_begins_between_commands_or_inside_a_mail() -> None:
    assert said(run([(CLIENT, b"RETR 1\r\n"), (SERVER, b"+OK\r\n" + MAIL), *SESSION[-2:]])) == ["RETR", "+OK", "one", "QUIT", "+OK"]
    assert said(run([(SERVER, b"end of a body\r\n.\r\n"), *SESSION[-2:]])) == ["QUIT", "+OK"]


def test_a_gap_in_a_mail_and_one_that_hides_its_end() -> None:
    session = pop3_stream(65536)
    found = run([(CLIENT, b"RETR 1\r\n"), (SERVER, b"+OK\r\nSubject: kept\r\nTo: x")], session=session)
    session.gap(SERVER, 100)
    found += run([(SERVER, b"y\r\n.\r\n"), (CLIENT, b"STAT\r\n"), (SERVER, b"+OK 1 1\r\n")], session=session)
    assert said(found) == ["RETR", "+OK", "kept", "STAT", "+OK"]
    session = pop3_stream(65536)
    run([(CLIENT, b"RETR 1\r\n"), (SERVER, b"+OK\r\nSubject: kept\r\n\r\nbody")], session=session)
    session.gap(SERVER, 100)
    assert said(run([(CLIENT, b"QUIT\r\n"), (SERVER, b"+OK bye\r\n")], session=session)) == ["QUIT", "+OK"]


SECRET = b"s3cr3t-passphrase"


@pytest.mark.parametrize("sizes", [[], [1], [4, 9]])
@pytest.mark.parametrize(
    ("turns", "user"),
    [
        ([(CLIENT, b"USER alice\r\n"), (SERVER, b"+OK\r\n"), (CLIENT, b"PASS " + SECRET + b"\r\n")], "alice"),
        ([(CLIENT, b"USER alice\r\nPASS two words " + SECRET + b"\r\n"), (SERVER, b"+OK\r\n")], "alice"),
        ([(CLIENT, b"APOP alice c4c9334bac560ecc979e58001b3e22fb\r\n")], "alice"),
        ([(CLIENT, b"AUTH PLAIN " + base64.b64encode(b"\0alice\0" + SECRET) + b"\r\n")], "alice"),
        ([(CLIENT, b"AUTH LOGIN\r\n"), (SERVER, b"+ VXNlcm5hbWU6\r\n"), (CLIENT, base64.b64encode(b"alice") + b"\r\n"),
          (SERVER, b"+ UGFzc3dvcmQ6\r\n"), (CLIENT, base64.b64encode(SECRET) + b"\r\n")], "alice"),
        ([(CLIENT, base64.b64encode(SECRET) + b"\r\n")], None),
    ],
)  # fmt: skip
def test_users_are_reported_and_passwords_never(turns: list[Turn], user: str | None, sizes: list[int]) -> None:
    found = run([*turns, (SERVER, b"+OK in\r\n"), (CLIENT, b"STAT\r\n")], sizes)
    assert [fact.fields["email.user"] for fact in found if isinstance(fact, Fact) and "email.user" in fact.fields] == [user] * bool(user)
    for secret in (SECRET, base64.b64encode(SECRET), base64.b64encode(b"\0alice\0" + SECRET), b"c4c9334b"):
        assert secret.decode() not in repr(found)
    assert said(found)[-2:] == ["+OK", "STAT"]


def test_behind_stls_the_hellos_are_read() -> None:
    hello = record(22, handshake(1, client_hello((0x1301,), sni("pop.example.org"))))
    turns = [SESSION[0], (CLIENT, b"STLS\r\n"), (SERVER, b"+OK go\r\n"), (CLIENT, hello)]
    (fact,) = [f for f in run(turns, [13]) if isinstance(f, Fact) and f.kind == "tls.client_hello"]
    assert fact.fields["tls.sni"] == "pop.example.org"
    assert said(run([*turns[:2], (SERVER, b"-ERR no\r\n"), (CLIENT, b"QUIT\r\n")])) == ["+OK", "STLS", "-ERR", "QUIT"]


SAMPLES = [data for _, data in SESSION]


@given(st.lists(st.tuples(st.integers(0, 1), damaged(SAMPLES), st.integers(0, 60)), max_size=12))
def test_damage_never_raises(turns: list[tuple[int, bytes, int]]) -> None:
    session = pop3_stream(512)
    for direction, data, lost in turns:
        for fact in session.feed(direction, data, now=0):
            assert isinstance(fact, Malformed) or set(fact.fields) <= FIELDS_FILLED[fact.kind]
        if lost > 50:
            session.gap(direction, lost)


@pytest.mark.parametrize("make", [lambda n: b"+OK\r\n" * (n // 5), lambda n: b"+OK\r\nA: b\r\n" + b"\r\n." * (n // 3)])
def test_time_is_linear(make: object) -> None:
    assert callable(make)
    assert is_linear(lambda data: run([(SERVER, data)], [1000]), make, size=10_000)
