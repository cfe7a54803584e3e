"""FTP: commands, replies and the ends of data connections, whatever the cuts, losses and start; never a password."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from packhound.net import ftp
from packhound.net.facts import Fact, Malformed
from packhound.net.session import FIELDS_FILLED
from packhound.net.sessions.ftp import ftp_stream
from packhound.net.sessions.mail_lines import StartTls
from tests.oracle.score import rows_of
from tests.support.corpus import needs_corpus
from tests.support.hellos import client_hello, handshake, record, sni
from tests.support.mutations import chunks, damaged, is_linear

CLIENT, SERVER = 0, 1
Turn = tuple[int, bytes]
SESSION: list[Turn] = [
    (SERVER, b"220-Welcome\r\n  to this\r\n230 is no end\r\n220 server\r\n"), (CLIENT, b"USER alice\r\n"), (SERVER, b"331 password\r\n"),
    (CLIENT, b"PASS s3cr3t\r\n"), (SERVER, b"230 in\r\n"), (CLIENT, b"pasv\r\n"),
    (SERVER, b"227 Entering Passive Mode (192,0,2,1,4,1).\r\n"), (CLIENT, b"RETR a file.txt\r\n"),
    (SERVER, b"150 go\r\n226 done\r\n"), (CLIENT, b"QUIT\r\n"), (SERVER, b"221 bye\r\n"),
]  # fmt: skip
EXPECTED = ["220", "USER", "331", "PASS", "230", "PASV", "227", "RETR", "150", "226", "QUIT", "221"]


def run(turns: list[Turn], sizes: list[int] | None = None, session: StartTls | None = None) -> list[Fact | Malformed]:
    session = session or ftp_stream(65536)
    return [
        fact for direction, data in turns for piece in chunks(data, sizes or [])
        for fact in session.feed(direction, piece, now=0)
    ]  # fmt: skip


def said(facts: list[Fact | Malformed]) -> list[str]:
    out = []
    for fact in facts:
        fields = fact.fields if isinstance(fact, Fact) else {}
        out.append(str(fields.get("ftp.command") or fields.get("ftp.status") or fields.get("tls.sni") or "malformed"))
    return out


@pytest.mark.parametrize("sizes", [[], [1], [3, 50], [9]])
def test_a_session_in_any_cut(sizes: list[int]) -> None:
    assert said(run(SESSION, sizes)) == EXPECTED


def test_what_the_messages_say() -> None:
    facts = [fact for fact in run(SESSION) if isinstance(fact, Fact)]
    assert facts[0] == Fact("ftp.reply", {"ftp.status": 220, "ftp.text": "Welcome\nto this\n230 is no end\nserver"})
    assert facts[1] == Fact("ftp.command", {"ftp.command": "USER", "ftp.argument": "alice", "ftp.user": "alice"})
    assert facts[3] == Fact("ftp.command", {"ftp.command": "PASS"})
    assert facts[6].fields["ftp.data.address"] == "192.0.2.1"
    assert facts[6].fields["ftp.data.port"] == 1025
    assert facts[7].fields["ftp.argument"] == "a file.txt"


@pytest.mark.parametrize(
    ("fact", "address", "port"),
    [
        (ftp.command_fact(ftp.Command("PORT", "10,0,0,1,0,80")), "10.0.0.1", 80),
        (ftp.command_fact(ftp.Command("PORT", "10,0,0,256,0,80")), None, None),
        (ftp.command_fact(ftp.Command("PORT", "114,115")), None, None),
        (ftp.command_fact(ftp.Command("EPRT", "|2|2001:db8::1|40000|")), "2001:db8::1", 40000),
        (ftp.command_fact(ftp.Command("EPRT", "|1|192.0.2.1|99999|")), None, None),
        (ftp.command_fact(ftp.Command("EPRT", "|2|::1:::|1|")), None, None),
        (ftp.reply_fact(227, "=192,0,2,1,4,1"), "192.0.2.1", 1025),
        (ftp.reply_fact(229, "Entering Extended Passive Mode (|||6446|)"), None, 6446),
        (ftp.reply_fact(200, "10,0,0,1,0,80"), None, None),
    ],
)  # fmt: skip
def test_ends_of_data_connections(fact: Fact, address: str | None, port: int | None) -> None:
    assert (fact.fields.get("ftp.data.address"), fact.fields.get("ftp.data.port")) == (address, port)


def test_one_side_alone_and_the_wrong_initiator() -> None:
    assert said(run([turn for turn in SESSION if turn[0] == CLIENT])) == [word for word in EXPECTED if word.isalpha()]
    assert said(run([turn for turn in SESSION if turn[0] == SERVER])) == [word for word in EXPECTED if word.isdigit()]
    assert said(run([(1 - direction, data) for direction, data in SESSION])) == EXPECTED


def test_a_capture_that_begins_anywhere_and_gaps() -> None:
    assert said(run([(CLIENT, b"ASS s3cr3t\r\n"), *SESSION[4:]])) == EXPECTED[4:]
    session = ftp_stream(65536)
    run(SESSION[:3], session=session)
    session.gap(CLIENT, 5)
    session.gap(SERVER, 7)
    found = run([(CLIENT, b" s3cr3t\r\nSYST\r\n"), (SERVER, b"x\r\n215 UNIX\r\n")], session=session)
    assert said(found) == ["SYST", "215"]


def test_a_reply_whose_last_line_never_comes() -> None:
    turns = [(CLIENT, b"STAT\r\n"), (SERVER, b"211-status\r\n"), (CLIENT, b"NOOP\r\n"), (SERVER, b"200 fine\r\n")]
    assert said(run(turns)) == ["STAT", "NOOP", "211", "200"]


@pytest.mark.parametrize("sizes", [[], [1], [4, 9]])
@pytest.mark.parametrize("line", [
    b"PASS s3cr3t", b"pass  s3cr3t with blanks", b"ACCT s3cr3t", b"ADAT s3cr3t", b"SITE PSWD old s3cr3t", b"XPASS s3cr3t",
    b"\xff\xf4\xff\xf2PASS s3cr3t",
])  # fmt: skip
def test_passwords_are_never_reported(line: bytes, sizes: list[int]) -> None:
    found = run([*SESSION[:3], (CLIENT, line + b"\r\n"), (SERVER, b"230 in\r\n")], sizes)
    assert "s3cr3t" not in repr(found)
    assert len(found) == 5


HELLO = record(22, handshake(1, client_hello((0x1301,), sni("ftp.example.org"))))
SECURE: list[Turn] = [SESSION[0], (CLIENT, b"AUTH TLS\r\n"), (SERVER, b"234 go\r\n"), (CLIENT, HELLO)]


@pytest.mark.parametrize("sizes", [[], [40, 200]])
def test_behind_auth_tls_the_hellos_are_read_and_lines_of_a_cleared_channel(sizes: list[int]) -> None:
    session = ftp_stream(65536)
    assert said(run(SECURE, sizes, session)) == ["220", "AUTH", "234", "ftp.example.org"]
    assert run([(CLIENT, record(23, b"x" * 60)), (SERVER, record(23, b"STOR y\r\n"))], session=session) == []
    assert said(run([(CLIENT, b"PASV\r\n"), (SERVER, b"227 ok (192,0,2,1,4,1)\r\n")], session=session)) == ["PASV", "227"]
    assert not session.done


def test_a_refused_auth_changes_nothing() -> None:
    turns = [*SECURE[:2], (SERVER, b"502 no\r\n"), *SESSION[1:]]
    assert said(run(turns)) == ["220", "AUTH", "502", *EXPECTED[1:]]


def test_what_is_no_ftp_is_malformed() -> None:
    assert said(run([*SESSION[:3], (CLIENT, b"\x80\x81\r\n"), (SERVER, b"230_no_space\r\n")])) == [*EXPECTED[:3], "malformed", "malformed"]


SAMPLES = [data for _, data in SESSION] + [HELLO, b"AUTH TLS\r\n", b"234 go\r\n"]


@given(st.lists(st.tuples(st.integers(0, 1), damaged(SAMPLES), st.integers(0, 60)), max_size=12))
def test_damage_never_raises(turns: list[tuple[int, bytes, int]]) -> None:
    session = ftp_stream(512)
    for direction, data, lost in turns:
        for fact in session.feed(direction, data, now=0):
            assert isinstance(fact, Malformed) or set(fact.fields) <= FIELDS_FILLED[fact.kind]
        if lost > 50:
            session.gap(direction, lost)


@pytest.mark.parametrize("make", [lambda n: b"220-\r\n" * (n // 6), lambda n: b"227 " + b"1," * n + b"\r\n", lambda n: b"229 (" + b"|" * n + b"\r\n"])
def test_time_is_linear(make: object) -> None:
    assert callable(make)
    assert is_linear(lambda data: run([(SERVER, data)], [1000]), make, size=10_000)


@needs_corpus
def test_a_real_channel_that_is_secured_and_cleared_again() -> None:
    rows = [row for row in rows_of("captures/ndpi/ftp-start-tls.pcap") if row["kind"].startswith(("ftp", "tls"))]
    kinds = [row["kind"] for row in rows]
    assert {"tls.client_hello", "tls.server_hello", "tls.certificate"} <= set(kinds)
    assert [row.get("ftp.command") for row in rows if row["kind"] == "ftp.command"] == ["AUTH", "PASV", "STOR"]
