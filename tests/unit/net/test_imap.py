"""IMAP: commands, status responses, mails and mailboxes, whatever the cuts and literals; never a password."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from packhound.net import imap, mail
from packhound.net.facts import Fact, Malformed
from packhound.net.session import FIELDS_FILLED
from packhound.net.sessions.mail import imap_stream
from packhound.net.sessions.mail_lines import StartTls
from tests.support.hellos import client_hello, handshake, record, sni
from tests.support.mutations import chunks, damaged, is_linear

CLIENT, SERVER = 0, 1
HEAD = b"From: a@x.org\r\nSubject: one\r\n\r\n"
ENVELOPE = (
    b'* 2 FETCH (UID 7 ENVELOPE ("Mon, 1 Jan 2024 00:00:00 +0000" "=?utf-8?Q?=C3=A9t=C3=A9?=" (("A \\"B\\"" NIL "a" "x.org"))'
    b' NIL NIL ((NIL NIL "b" "y.org")(NIL NIL "c" "z.org")) NIL NIL "<0@x>" "<1@x>") FLAGS (\\Seen))\r\n'
)
Turn = tuple[int, bytes]
SESSION: list[Turn] = [
    (SERVER, b"* OK IMAP4rev1 ready\r\n"), (CLIENT, b"a1 LOGIN alice s3cr3t\r\n"), (SERVER, b"a1 OK in\r\n"),
    (CLIENT, b"a2 SELECT INBOX\r\n"), (SERVER, b"* 1 EXISTS\r\n* OK [UIDVALIDITY 1] ok\r\na2 OK [READ-WRITE] done\r\n"),
    (CLIENT, b"a3 UID FETCH 1 (BODY.PEEK[HEADER])\r\n"),
    (SERVER, b"* 1 FETCH (UID 1 BODY[HEADER] {%d}\r\n%s)\r\na3 OK done\r\n" % (len(HEAD), HEAD)),
    (CLIENT, b"a4 UID MOVE 1 Archiv&AOQ-\r\n"), (SERVER, b"a4 NO gone\r\n"),
    (CLIENT, b"a5 LOGOUT\r\n"), (SERVER, b"* BYE\r\na5 OK\r\n"),
]  # fmt: skip
EXPECTED = [
    "OK", "LOGIN", "a1 OK", "SELECT", "OK", "a2 OK", "FETCH", "one", "a3 OK", "MOVE", "a4 NO", "LOGOUT", "BYE", "a5 OK",
]  # fmt: skip


def run(turns: list[Turn], sizes: list[int] | None = None, session: StartTls | None = None) -> list[Fact | Malformed]:
    session = session or imap_stream(65536)
    return [
        fact for direction, data in turns for piece in chunks(data, sizes or [])
        for fact in session.feed(direction, piece, now=0)
    ]  # fmt: skip


def said(facts: list[Fact | Malformed]) -> list[str]:
    out = []
    for fact in facts:
        fields = fact.fields if isinstance(fact, Fact) else {}
        if "imap.status" in fields:
            out.append(f"{fields.get('imap.tag', '')} {fields['imap.status']}".strip())
        else:
            out.append(str(fields.get("email.command") or fields.get("email.subject") or fields.get("email.user") or "malformed"))
    return out


@pytest.mark.parametrize("sizes", [[], [1], [3, 50], [9]])
def test_a_session_in_any_cut(sizes: list[int]) -> None:
    assert said(run(SESSION, sizes)) == EXPECTED


def test_what_the_messages_say() -> None:
    facts = [fact for fact in run(SESSION) if isinstance(fact, Fact)]
    assert facts[1] == Fact("imap.command", {
        "imap.tag": "a1", "email.command": "LOGIN", "email.user": "alice", "email.argument": "alice", "email.mailbox": ("alice",),
    })  # fmt: skip
    assert facts[3].fields["email.mailbox"] == ("INBOX",)
    assert facts[5] == Fact("imap.response", {"imap.tag": "a2", "imap.status": "OK", "imap.text": "[READ-WRITE] done"})
    assert facts[6].fields["email.argument"] == "1 (BODY.PEEK[HEADER])"
    assert facts[9].fields["email.mailbox"] == ("Archivä",)


def test_an_envelope_is_a_mail_too() -> None:
    (fact,) = run([(SERVER, ENVELOPE)])
    assert fact == Fact("email", {
        "email.from": ("a@x.org",), "email.from.name": ('A "B"',), "email.to": ("b@y.org", "c@z.org"), "email.subject": "été",
        "email.date": "Mon, 1 Jan 2024 00:00:00 +0000", "email.message_id": "1@x", "email.in_reply_to": "0@x",
    })  # fmt: skip


def test_an_envelope_that_holds_literals() -> None:
    line = ENVELOPE.replace(b'"=?utf-8?Q?=C3=A9t=C3=A9?="', b'{5}\r\nplain')
    for sizes in ([], [1], [7]):
        (fact,) = run([(SERVER, line)], sizes)
        assert isinstance(fact, Fact)
        assert fact.fields["email.subject"] == "plain"


@pytest.mark.parametrize("section", [b"BODY[]", b"RFC822", b"RFC822.HEADER", b"BODY[HEADER.FIELDS (FROM SUBJECT)]", b"BODY[]<0>", b"BINARY[]"])
def test_every_way_to_fetch_a_head(section: bytes) -> None:
    assert said(run([(SERVER, b"* 1 FETCH (%s {%d}\r\n%s)\r\n" % (section, len(HEAD), HEAD))])) == ["one"]


@pytest.mark.parametrize("section", [b"BODY[TEXT]", b"BODY[1]", b"BODY[2.HEADER]", b"RFC822.TEXT", b"BODY[]<100>"])
def test_what_does_not_start_with_a_head_is_no_mail(section: bytes) -> None:
    assert run([(SERVER, b"* 1 FETCH (%s {%d}\r\n%s)\r\n" % (section, len(HEAD), HEAD))]) == []


def test_a_mail_that_is_appended() -> None:
    turns = [
        (CLIENT, b"a1 APPEND Sent (\\Seen) {%d}\r\n" % len(HEAD)), (SERVER, b"+ go on\r\n"), (CLIENT, HEAD + b"\r\n"),
        (SERVER, b"a1 OK\r\n"), (CLIENT, b"a2 NOOP\r\n"),
    ]  # fmt: skip
    for sizes in ([], [1], [10]):
        facts = run(turns, sizes)
        assert sorted(said(facts)) == sorted(["one", "APPEND", "a1 OK", "NOOP"])
        (append,) = [f for f in facts if isinstance(f, Fact) and f.fields.get("email.command") == "APPEND"]
        assert append.fields["email.mailbox"] == ("Sent",)


def test_one_side_alone_is_read() -> None:
    for side in (CLIENT, SERVER):
        facts = run([turn for turn in SESSION if turn[0] == side])
        wanted = [word for word in EXPECTED if (" " in word or word in ("OK", "BYE", "one")) == (side == SERVER)]
        assert said(facts) == wanted


def test_a_mail_is_not_read_as_lines_where_the_capture_begins_inside_it() -> None:
    turns = [(SERVER, b"a2 OK inside\r\n* 1 FETCH {5}\r\nhello)\r\n")]
    assert said(run(turns))[0] == "a2 OK"


def test_gaps_in_a_literal_and_outside() -> None:
    session = imap_stream(65536)
    run([(SERVER, b"* 1 FETCH (BODY[] {1000}\r\nSubject: kept\r\nTo: x")], session=session)
    session.gap(SERVER, 900)
    assert said(run([(SERVER, b"z" * (1000 - 900 - 21) + b")\r\na1 OK done\r\n")], session=session)) == ["kept", "a1 OK"]
    session.gap(SERVER, 10)
    assert said(run([(SERVER, b"of a line\r\na2 OK done\r\n")], session=session)) == ["a2 OK"]


SECRET = b"s3cr3t-passphrase"


@pytest.mark.parametrize("sizes", [[], [1], [4, 9]])
@pytest.mark.parametrize(
    "turns",
    [
        [(CLIENT, b"a1 LOGIN alice " + SECRET + b"\r\n")],
        [(CLIENT, b'a1 LOGIN "alice" "' + SECRET + b'"\r\n')],
        [(CLIENT, b"a1 LOGIN {5}\r\n"), (SERVER, b"+ \r\n"), (CLIENT, b"alice {17}\r\n"), (SERVER, b"+ \r\n"), (CLIENT, SECRET + b"\r\n")],
        [(CLIENT, b"a1 LOGIN {5+}\r\nalice {17+}\r\n" + SECRET + b"\r\n")],
        [(CLIENT, b"a1 AUTHENTICATE PLAIN " + base64.b64encode(b"\0alice\0" + SECRET) + b"\r\n")],
        [(CLIENT, b"a1 AUTHENTICATE PLAIN\r\n"), (SERVER, b"+ \r\n"), (CLIENT, base64.b64encode(b"\0alice\0" + SECRET) + b"\r\n")],
        [(CLIENT, b"a1 AUTHENTICATE LOGIN\r\n"), (SERVER, b"+ VXNlcm5hbWU6\r\n"), (CLIENT, base64.b64encode(b"alice") + b"\r\n"),
         (SERVER, b"+ UGFzc3dvcmQ6\r\n"), (CLIENT, base64.b64encode(SECRET) + b"\r\n")],
    ],
)  # fmt: skip
def test_users_are_reported_and_passwords_never(turns: list[Turn], sizes: list[int]) -> None:
    found = run([(SERVER, b"* OK IMAP\r\n"), *turns, (SERVER, b"a1 OK in\r\n"), (CLIENT, b"a2 NOOP\r\n")], sizes)
    assert [fact.fields["email.user"] for fact in found if isinstance(fact, Fact) and "email.user" in fact.fields] == ["alice"]
    for secret in (SECRET, base64.b64encode(SECRET), base64.b64encode(b"\0alice\0" + SECRET)):
        assert secret.decode() not in repr(found)
    assert said(found)[-2:] == ["a1 OK", "NOOP"]


def test_behind_starttls_and_compress() -> None:
    hello = record(22, handshake(1, client_hello((0x1301,), sni("mail.example.org"))))
    turns = [(CLIENT, b"a1 STARTTLS\r\n"), (SERVER, b"a1 OK go\r\n"), (CLIENT, hello)]
    (fact,) = [f for f in run(turns, [11]) if isinstance(f, Fact) and f.kind == "tls.client_hello"]
    assert fact.fields["tls.sni"] == "mail.example.org"
    session = imap_stream(65536)
    run([(CLIENT, b"a1 COMPRESS DEFLATE\r\n"), (SERVER, b"a1 OK go\r\n")], session=session)
    assert session.done
    assert said(run([(CLIENT, b"a1 STARTTLS\r\n"), (SERVER, b"a1 NO\r\n"), (CLIENT, b"a2 NOOP\r\n")])) == ["STARTTLS", "a1 NO", "NOOP"]


@pytest.mark.parametrize(
    ("raw", "name"),
    [("inbox", "INBOX"), ("Entw&APw-rfe", "Entwürfe"), ("&ZeVnLIqe-", "日本語"), ("a&-b", "a&b"), ("&!-", "&!-"), ("&", "&"), ("&2D0-", "�")],
)  # fmt: skip
def test_mailbox_names(raw: str, name: str) -> None:
    assert imap.mailbox_name(raw) == name


def test_an_envelope_that_is_too_deep_or_cut_is_none() -> None:
    assert imap.envelope_of(b"* 1 FETCH (ENVELOPE " + b"(" * 5000) is None
    assert imap.envelope_of(b"* 1 FETCH (ENVELOPE (" + b"NIL " * 5000) is None
    for end in range(len(ENVELOPE) - 30):
        found = imap.envelope_of(ENVELOPE[:end])
        assert found is None or isinstance(found, mail.Head)


SAMPLES = [data for _, data in SESSION] + [ENVELOPE, b"a1 APPEND x {20}\r\n", b"a1 LOGIN {5}\r\nalice {3}\r\n"]


@given(st.lists(st.tuples(st.integers(0, 1), damaged(SAMPLES), st.integers(0, 60)), max_size=12))
def test_damage_never_raises(turns: list[tuple[int, bytes, int]]) -> None:
    session = imap_stream(512)
    for direction, data, lost in turns:
        for fact in session.feed(direction, data, now=0):
            assert isinstance(fact, Malformed) or set(fact.fields) <= FIELDS_FILLED[fact.kind]
        if lost > 50:
            session.gap(direction, lost)


@pytest.mark.parametrize("make", [
    lambda n: b"a1 NOOP\r\n" * (n // 9), lambda n: b"a1 LOGIN {0+}\r\n" + b" {0+}\r\n" * (n // 7), lambda n: b"(" * n,
    lambda n: b"a1 SELECT \"" + b"\\" * n + b"\r\n",
])  # fmt: skip
def test_time_is_linear(make: object) -> None:
    assert callable(make)
    assert is_linear(lambda data: run([(CLIENT, data)], [1000]), make, size=10_000)
