"""SMTP: every command, reply and mail of a connection, whatever its cuts, losses and start; never a password."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from packhound.net import smtp
from packhound.net.detect import App, detect
from packhound.net.facts import Fact, Malformed
from packhound.net.session import FIELDS_FILLED
from packhound.net.sessions.mail import smtp_stream
from packhound.net.sessions.mail_lines import StartTls
from tests.oracle.score import rows_of
from tests.support.corpus import needs_corpus
from tests.support.hellos import client_hello, handshake, record, sni
from tests.support.mutations import chunks, damaged, is_linear

CLIENT, SERVER = 0, 1
MAIL = b"From: a@x.org\r\nTo: b@y.org\r\nSubject: hi\r\n\r\nbody\r\n..dot\r\n.\r\n"
Turn = tuple[int, bytes]
SESSION: list[Turn] = [
    (SERVER, b"220 mx.example.org ESMTP\r\n"), (CLIENT, b"EHLO client.example.org\r\n"),
    (SERVER, b"250-mx\r\n250-PIPELINING\r\n250 HELP\r\n"),
    (CLIENT, b"MAIL FROM:<a@x.org> SIZE=10\r\nRCPT TO:<b@y.org>\r\nDATA\r\n"),
    (SERVER, b"250 ok\r\n250 ok\r\n354 go\r\n"), (CLIENT, MAIL), (SERVER, b"250 queued\r\n"), (CLIENT, b"QUIT\r\n"),
    (SERVER, b"221 bye\r\n"),
]  # fmt: skip


def run(turns: list[Turn], sizes: list[int] | None = None, session: StartTls | None = None) -> list[Fact | Malformed]:
    session = session or smtp_stream(65536)
    return [
        fact for direction, data in turns for piece in chunks(data, sizes or [])
        for fact in session.feed(direction, piece, now=0)
    ]  # fmt: skip


def said(facts: list[Fact | Malformed]) -> list[str]:
    """Commands, statuses and subjects, in order."""
    out = []
    for fact in facts:
        if isinstance(fact, Malformed):
            out.append("malformed")
            continue
        fields = fact.fields
        word = fields.get("email.command") or fields.get("smtp.status") or fields.get("email.user") or "mail"
        out.append(str(word))
    return out


EXPECTED = ["220", "EHLO", "250", "MAIL", "RCPT", "DATA", "250", "250", "354", "mail", "250", "QUIT", "221"]


@pytest.mark.parametrize("sizes", [[], [1], [3, 50], [9]])
def test_a_session_in_any_cut(sizes: list[int]) -> None:
    assert said(run(SESSION, sizes)) == EXPECTED


def test_what_the_messages_say() -> None:
    facts = [fact for fact in run(SESSION) if isinstance(fact, Fact)]
    assert facts[1] == Fact("smtp.command", {
        "email.command": "EHLO", "email.argument": "client.example.org", "smtp.helo": "client.example.org",
    })  # fmt: skip
    assert facts[2] == Fact("smtp.reply", {"smtp.status": 250, "smtp.text": "mx\nPIPELINING\nHELP"})
    assert facts[3] == Fact("smtp.command", {
        "email.command": "MAIL", "email.argument": "FROM:<a@x.org> SIZE=10", "email.from": "a@x.org",
    })  # fmt: skip
    assert facts[4].fields["email.to"] == "b@y.org"
    assert facts[9].kind == "email"
    assert facts[9].fields["email.subject"] == "hi"


@pytest.mark.parametrize(
    ("argument", "path"),
    [
        ("FROM:<a@b>", "a@b"), ("from : <a@b> SIZE=1", "a@b"), ("TO:<@r.org,@s.org:a@b>", "a@b"), ("FROM:<>", ""),
        ("TO:a@b ORCPT=x", "a@b"), ('TO:<"odd> name"@b>', '"odd> name"@b'), ("TO:<unclosed@b", "unclosed@b"),
        ("nonsense", ""), ("", ""),
    ],
)  # fmt: skip
def test_paths(argument: str, path: str) -> None:
    assert smtp.path_of(argument) == path


@pytest.mark.parametrize(
    ("argument", "chunk"),
    [("86 LAST", (86, True)), ("0 last", (0, True)), ("5", (5, False)), ("", None), ("x", None), ("5 X", None),
     ("5 LAST 6", None), ("15555555557777777777 LAST", None), ("-1", None), ("٣", None)],
)  # fmt: skip
def test_sizes_of_chunks(argument: str, chunk: tuple[int, bool] | None) -> None:
    assert smtp.chunk_of(argument) == chunk


def test_a_mail_in_chunks_has_no_dot_and_may_hold_anything() -> None:
    body = b"Subject: chunked\r\n\r\n.\r\nQUIT\r\n"
    half = len(body) // 2
    turns = [
        (CLIENT, b"BDAT %d\r\n" % half + body[:half] + b"BDAT %d LAST\r\n" % (len(body) - half) + body[half:] + b"QUIT\r\n"),
        (SERVER, b"250 ok\r\n250 ok\r\n221 bye\r\n"),
    ]
    for sizes in ([], [1], [5, 11]):
        assert sorted(said(run(turns, sizes))) == sorted(["BDAT", "mail", "BDAT", "QUIT", "250", "250", "221"])


def test_a_refused_data_is_followed_by_commands() -> None:
    turns = [
        (CLIENT, b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n"), (SERVER, b"553 no\r\n503 no\r\n503 no\r\n"),
        (CLIENT, b"RSET\r\n"), (SERVER, b"250 ok\r\n"), (CLIENT, b"MAIL FROM:<e@f>\r\n"),
    ]  # fmt: skip
    assert said(run(turns)) == ["MAIL", "RCPT", "DATA", "553", "503", "503", "RSET", "250", "MAIL"]


def test_all_in_one_segment_before_the_greeting() -> None:
    everything = b"".join(data for direction, data in SESSION if direction == CLIENT)
    replies = b"".join(data for direction, data in SESSION if direction == SERVER)
    assert sorted(said(run([(CLIENT, everything), (SERVER, replies)]))) == sorted(EXPECTED)


def test_one_side_alone_is_read() -> None:
    assert said(run([turn for turn in SESSION if turn[0] == CLIENT])) == ["EHLO", "MAIL", "RCPT", "DATA", "mail", "QUIT"]
    assert said(run([turn for turn in SESSION if turn[0] == SERVER])) == ["220", "250", "250", "250", "354", "250", "221"]


def test_the_server_may_be_the_initiator_of_what_was_seen() -> None:
    assert said(run([(1 - direction, data) for direction, data in SESSION])) == EXPECTED


def test_a_capture_that_begins_inside_a_mail() -> None:
    turns = [(CLIENT, b"rest of a body\r\nHello HELP me\r\n.\r\n"), (SERVER, b"250 queued\r\n"), (CLIENT, b"RSET\r\n"), *SESSION[3:]]
    assert said(run(turns)) == ["250", "RSET", *EXPECTED[3:]]


def test_a_gap_in_a_mail_costs_the_mail_at_most() -> None:
    session = smtp_stream(65536)
    found = run(SESSION[:5], session=session)
    found += run([(CLIENT, b"Subject: whole\r\nTo: tor")], session=session)
    session.gap(CLIENT, 5000)
    found += run([(CLIENT, b"more body\r\n.\r\n"), *SESSION[6:]], session=session)
    assert said(found) == EXPECTED


def test_the_end_of_a_mail_that_was_lost_is_told_by_its_reply() -> None:
    session = smtp_stream(65536)
    found = run([*SESSION[:5], (CLIENT, b"Subject: a\r\n\r\nbo")], session=session)
    session.gap(CLIENT, 300)
    found += run([(SERVER, b"250 queued\r\n"), (CLIENT, b"x\r\nMAIL FROM:<a@b>\r\n")], session=session)
    assert said(found)[-2:] == ["250", "MAIL"]


def test_a_lost_command_that_let_a_mail_begin() -> None:
    session = smtp_stream(65536)
    run(SESSION[:3], session=session)
    session.gap(CLIENT, 60)
    found = run([(SERVER, b"354 go\r\n"), *SESSION[5:]], session=session)
    assert said(found) == ["354", "mail", "250", "QUIT", "221"]


def test_a_chunk_with_a_gap_ends_where_its_size_says() -> None:
    session = smtp_stream(65536)
    run([(CLIENT, b"MAIL FROM:<a@b>\r\nBDAT 100 LAST\r\nSubject: x\r\n\r\n")], session=session)
    session.gap(CLIENT, 86)
    assert said(run([(CLIENT, b"QUIT\r\n")], session=session)) == ["QUIT"]


def test_bare_line_feeds_end_a_mail_only_where_the_client_writes_them() -> None:
    body = b"Subject: s\n\n.\nstill\r\n.\r\n"
    assert said(run([(CLIENT, b"DATA\r\n"), (SERVER, b"354\r\n"), (CLIENT, body), (CLIENT, b"QUIT\r\n")]))[-1] == "QUIT"
    assert said(run([(CLIENT, b"DATA\n"), (SERVER, b"354\r\n"), (CLIENT, b"Subject: s\n\n.\nQUIT\n")]))[-1] == "QUIT"


SECRET = b"s3cr3t-passphrase"


@pytest.mark.parametrize("sizes", [[], [1], [4, 9]])
@pytest.mark.parametrize(
    ("turns", "user"),
    [
        ([(CLIENT, b"AUTH PLAIN " + base64.b64encode(b"\0alice\0" + SECRET) + b"\r\n"), (SERVER, b"235 ok\r\n")], "alice"),
        ([(CLIENT, b"AUTH PLAIN\r\n"), (SERVER, b"334 \r\n"),
          (CLIENT, base64.b64encode(b"\0alice\0" + SECRET) + b"\r\n"), (SERVER, b"535 no\r\n")], "alice"),
        ([(CLIENT, b"AUTH LOGIN\r\n"), (SERVER, b"334 VXNlcm5hbWU6\r\n"), (CLIENT, base64.b64encode(b"alice") + b"\r\n"),
          (SERVER, b"334 UGFzc3dvcmQ6\r\n"), (CLIENT, base64.b64encode(SECRET) + b"\r\n"), (SERVER, b"235 ok\r\n")], "alice"),
        ([(CLIENT, b"AUTH LOGIN " + base64.b64encode(b"alice") + b"\r\n"), (SERVER, b"334 UGFzc3dvcmQ6\r\n"),
          (CLIENT, base64.b64encode(SECRET) + b"\r\n"), (SERVER, b"235 ok\r\n")], "alice"),
        ([(CLIENT, b"AUTH LOGIN\r\n" + base64.b64encode(b"alice") + b"\r\n" + base64.b64encode(SECRET) + b"\r\n")], "alice"),
        ([(CLIENT, base64.b64encode(SECRET) + b"\r\n"), (SERVER, b"235 ok\r\n")], None),
        ([(CLIENT, SECRET + b"\r\n"), (SERVER, b"235 ok\r\n"), (CLIENT, b"passphrase " + SECRET + b"\r\n")], None),
    ],
)  # fmt: skip
def test_users_are_reported_and_passwords_never(turns: list[Turn], user: str | None, sizes: list[int]) -> None:
    found = run([*turns, (CLIENT, b"QUIT\r\n"), (SERVER, b"221 bye\r\n")], sizes)
    users = [fact.fields.get("email.user") for fact in found if isinstance(fact, Fact) and "email.user" in fact.fields]
    assert users == ([user] if user else [])
    for secret in (SECRET, base64.b64encode(SECRET), base64.b64encode(b"\0alice\0" + SECRET), b"passphrase"):
        assert secret.decode().lower() not in repr(found).lower()
    assert said(found)[-2:] == ["QUIT", "221"]


def hello() -> bytes:
    return record(22, handshake(1, client_hello((0x1301,), sni("mx.example.org"))))


STARTTLS: list[Turn] = [
    *SESSION[:3], (CLIENT, b"STARTTLS\r\n"), (SERVER, b"220 ready\r\n"), (CLIENT, hello()),
]  # fmt: skip


@pytest.mark.parametrize("sizes", [[], [1], [20, 100]])
def test_behind_starttls_the_hellos_are_read(sizes: list[int]) -> None:
    (fact,) = [fact for fact in run(STARTTLS, sizes) if isinstance(fact, Fact) and fact.kind == "tls.client_hello"]
    assert fact.fields["tls.sni"] == "mx.example.org"


def test_a_hello_is_read_though_the_agreement_was_lost() -> None:
    session = smtp_stream(65536)
    run(STARTTLS[:4], session=session)
    session.gap(SERVER, 20)
    assert [fact.kind for fact in run(STARTTLS[-1:], session=session) if isinstance(fact, Fact)] == ["tls.client_hello"]
    assert [fact.kind for fact in run(STARTTLS[-1:]) if isinstance(fact, Fact)] == ["tls.client_hello"]


def test_a_refused_starttls_changes_nothing() -> None:
    turns = [*STARTTLS[:4], (SERVER, b"454 no\r\n"), *SESSION[3:]]
    assert said(run(turns)) == [*EXPECTED[:3], "STARTTLS", "454", *EXPECTED[3:]]


def test_a_line_without_end_is_bounded() -> None:
    session = smtp_stream(65536)
    run(SESSION[:3], session=session)
    for _ in range(100):
        run([(CLIENT, b"x" * 1000), (SERVER, b"y" * 1000)], session=session)
    assert said(run([(CLIENT, b"\r\nQUIT\r\n")], session=session))[-1] == "QUIT"


def test_what_is_no_smtp_is_malformed_where_it_should_be_some() -> None:
    assert said(run([*SESSION[:3], (CLIENT, b"\x80\x81\r\n"), (SERVER, b"what\r\n")])) == [*EXPECTED[:3], "malformed", "malformed"]
    assert said(run([*SESSION[:3], (CLIENT, b"XYZZY plugh\r\n")]))[-1] == "XYZZY"


@pytest.mark.parametrize(
    ("payload", "port", "app"),
    [
        (b"220 mail ready\r\n", 25, App.SMTP), (b"220 mail ready\r\n", 2525, App.UNKNOWN), (b"250 ok\r\n", 587, App.SMTP),
        (b"DATA\r\n", 25, App.SMTP), (b"220 welcome\r\n", 21, App.FTP), (b"RETR x\r\n", 21, App.FTP),
        (b"RETR x\r\n", 2100, App.UNKNOWN), (b"+OK ready\r\n", 110, App.POP3), (b"-ERR no\r\n", 110, App.POP3),
        (b"* OK ready\r\n", 143, App.IMAP), (b"a1 OK done\r\n", 143, App.IMAP), (b"a1 OK done\r\n", 1430, App.UNKNOWN),
    ],
)  # fmt: skip
def test_on_its_port_a_line_of_a_session_is_enough_to_know_the_protocol(payload: bytes, port: int, app: App) -> None:
    found = detect(payload, proto=6, sport=40000, dport=port, direction=0, scratch=[0, 0, 0, 0], payload_packets=1)
    assert found.app == app


SAMPLES = [data for _, data in SESSION] + [hello(), b"AUTH LOGIN\r\n", b"BDAT 20 LAST\r\nSubject: x\r\n\r\n"]


@given(st.lists(st.tuples(st.integers(0, 1), damaged(SAMPLES), st.integers(0, 60)), max_size=12))
def test_damage_never_raises(turns: list[tuple[int, bytes, int]]) -> None:
    session = smtp_stream(512)
    for direction, data, lost in turns:
        for fact in session.feed(direction, data, now=0):
            assert isinstance(fact, Malformed) or set(fact.fields) <= FIELDS_FILLED[fact.kind]
        if lost > 50:
            session.gap(direction, lost)


def test_every_cut_of_a_session_is_read_without_error() -> None:
    whole = b"".join(data for direction, data in SESSION if direction == CLIENT)
    for end in range(len(whole)):
        run([(CLIENT, whole[:end])])


@pytest.mark.parametrize("make", [lambda n: b"QUIT\r\n" * (n // 6), lambda n: b"DATA\r\n" + b".\r" * n, lambda n: b"a" * n])
def test_time_is_linear(make: object) -> None:
    assert callable(make)
    assert is_linear(lambda data: run([(CLIENT, data)], [1000]), make, size=20_000)


@needs_corpus
def test_mails_in_chunks_of_a_real_capture() -> None:
    rows = [row for row in rows_of("captures/zeek/smtp-bdat-pipeline-8bitmime.pcap") if row["kind"] == "email"]
    assert [row["email.subject"] for row in rows] == [
        "Re: [PATCH 1/2] units: Add the HZ_PER_KHZ macro",
        "[RFC v4] copy_file_range.2: Update cross-filesystem support for 5.12",
    ]
