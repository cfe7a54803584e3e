"""Heads of mails: addresses, subjects, names of attachments as people see them; logins without their secrets."""

from __future__ import annotations

import base64
from email.header import Header

import pytest
from hypothesis import given
from hypothesis import strategies as st

from packhound.net import mail, mail_auth
from packhound.net.facts import Fact, Malformed
from packhound.net.mail_words import in_charset, words
from packhound.net.sessions.mail_message import Message
from tests.support.mutations import chunks, damaged, is_linear

HEAD = (
    b"Received: from a by b\r\nFrom: =?utf-8?Q?J=C3=BCrgen?= <j@example.org>, other@example.org (Other)\r\n"
    b"Sender: <list@example.org>\r\nTo: team: a@x.org, \"B, C\" <b@x.org>;\r\nCc: <@route.org,@two.org:c@x.org>\r\n"
    b"Bcc: undisclosed-recipients:;\r\nReply-To: r@example.org\r\nSubject: a\r\n =?iso-8859-1?B?5Q==?=\r\n"
    b"Message-ID: <1@example.org>\r\nIn-Reply-To: <0@example.org>\r\nDate: Mon, 1 Jan\r\n 2024 00:00:00 +0000\r\n"
    b"X-Mailer: m 1\r\nX-Originating-IP: [192.0.2.1]\r\nContent-Type: multipart/mixed; boundary=\"b=1\"\r\n\r\n"
)
PARTS = (
    b"--b=1\r\nContent-Type: text/plain\r\n\r\nhello --b=1 not here\r\n--b=1\r\n"
    b"Content-Type: application/pdf; name=\"old.pdf\"\r\nContent-Disposition: attachment;\r\n"
    b" filename*0*=utf-8''r%C3%A9; filename*1=\"sum\xc3\xa9.pdf\"\r\n\r\nJVBERi0=\r\n"
    b"--b=1\r\nContent-Type: multipart/alternative; boundary=in\r\n\r\n--in\r\nContent-Type: image/png; name=a.png\r\n\r\nx\r\n--in--\r\n"
    b"--b=1\r\nContent-Type: application/zip; name*=iso-8859-1'en'%E9.zip\r\n\r\n--b=1--\r\nepilogue\r\n"
)


def read(data: bytes, sizes: list[int] | None = None) -> list[Fact | Malformed]:
    message = Message()
    found = [fact for piece in chunks(data, sizes or []) for fact in message.feed(piece)]
    return found + message.end()


def test_the_head_of_a_mail() -> None:
    head = mail.parse(HEAD)
    assert isinstance(head, mail.Head)
    assert mail.email_fact(head) == Fact("email", {
        "email.from": ("j@example.org", "other@example.org", "list@example.org"), "email.from.name": ("Jürgen",),
        "email.to": ("a@x.org", "b@x.org", "c@x.org"), "email.reply_to": ("r@example.org",), "email.subject": "a å",
        "email.message_id": "1@example.org", "email.in_reply_to": "0@example.org",
        "email.date": "Mon, 1 Jan 2024 00:00:00 +0000", "email.user_agent": "m 1", "email.origin": "[192.0.2.1]",
        "email.content_type": "multipart/mixed; boundary=\"b=1\"",
    })  # fmt: skip


@pytest.mark.parametrize("sizes", [[], [1], [7, 30], [1000]])
def test_names_of_attachments_however_they_are_written(sizes: list[int]) -> None:
    facts = read(HEAD + PARTS, sizes)
    assert [fact.fields.get("email.attachment") for fact in facts if isinstance(fact, Fact)] == [
        None, "résumé.pdf", "a.png", "é.zip",
    ]  # fmt: skip
    assert facts[1] == Fact("email.part", {"email.attachment": "résumé.pdf", "email.content_type": "application/pdf"})


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("=?gb2312?B?dGVzdCCy4srU?=", "test 测试"),
        ("=?utf-8?B?4pg=?= =?utf-8?B?lQ==?=", "☕"),
        ("=?utf-8?Q?a?= =?iso-8859-1?q?=E9?=", "aé"),
        ("x =?us-ascii*en?Q?a_b?= y", "x a b y"),
        ("=?utf-8?Q?with space?=", "with space"),
        ("=?rot13?Q?uryyb?=", "=?rot13?Q?uryyb?="),
        ("=?unicode_escape?Q?=5Cx41?=", "=?unicode_escape?Q?=5Cx41?="),
        ("=?utf-8?B?!!?=", "=?utf-8?B?!!?="),
        ("=?utf-8?Q??=", ""),
        ("=?utf-8?Q?=FF?=", "�"),
        ("plain ümlaut", "plain ümlaut"),
        ("a =? b", "a =? b"),
    ],
)
def test_encoded_words(raw: str, shown: str) -> None:
    assert words(raw) == shown


@given(st.text(st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp")), max_size=80))
def test_encoded_words_as_the_standard_library_writes_them(text: str) -> None:
    written = Header(text, "utf-8", maxlinelen=60).encode(linesep="\n").replace("\n", "")
    assert words(written) == text


def test_a_charset_is_a_charset_or_nothing() -> None:
    assert in_charset(b"\xe9", "zlib") == "é"
    assert in_charset(b"\xe9", "iso-8859-99") == "é"
    assert in_charset(b"\xb2\xe2", "GB2312") == "测"


@pytest.mark.parametrize(
    ("raw", "read"),
    [
        ('"a, b" <c@d> , e@f', [("a, b", "c@d"), ("", "e@f")]),
        (r'"quote \" in" <c@d>', [('quote " in', "c@d")]),
        ('<"odd >local"@d>', [("", '"odd >local"@d')]),
        ("(comment, with <x@y>) a@b", [("", "a@b")]),
        ("Group: ;", []),
        ("no address here", []),
        ("<unclosed@d", [("", "unclosed@d")]),
        ("", []),
    ],
)
def test_address_lists(raw: str, read: list[tuple[str, str]]) -> None:
    assert mail.mailboxes([raw]) == read


def test_a_mail_without_a_head_is_malformed_and_one_without_its_end_is_read() -> None:
    assert read(b"no colon in sight\r\nnone here\r\n") == [Malformed("no mail header where a message starts")]
    (fact,) = read(b"Subject: cut")
    assert isinstance(fact, Fact)
    assert fact.fields == {"email.subject": "cut"}
    assert read(b"") == []
    assert read(b"\r\nbody only\r\n") == []


def test_a_gap_ends_a_head_at_its_last_whole_line() -> None:
    message = Message()
    assert message.feed(b"From: a@b\r\nSubject: to") == []
    message.torn()
    (fact,) = message.feed(b"rn apart\r\nTo: c@d\r\n\r\n")
    assert isinstance(fact, Fact)
    assert fact.fields == {"email.from": ("a@b",)}


def test_parameters_of_a_header_stay_bounded() -> None:
    many = "x/y" + "".join(f"; p{n}=v" for n in range(500))
    assert len(mail.parameters(many)) == mail.MAX_PARAMETERS
    assert mail.parameters('x/y; a="b\\"c"; A=second; d*=utf-8\'\'%zz') == {"a": 'b"c', "d": "%zz"}


@given(damaged([HEAD, PARTS, HEAD + PARTS]), st.lists(st.integers(1, 300), max_size=6))
def test_damaged_mails_never_raise_and_stay_in_their_fields(data: bytes, sizes: list[int]) -> None:
    for fact in read(data, sizes):
        assert isinstance(fact, Malformed) or set(fact.fields) <= mail.FIELDS
    mail.mailboxes([data.decode("latin-1")])
    mail.parameters(data.decode("latin-1"))
    words(data.decode("utf-8", "surrogateescape"))


@pytest.mark.parametrize(
    "make",
    [
        lambda n: b"To: " + b"\"\\" * (n // 2) + b"\r\n\r\n",
        lambda n: b"Subject: " + b"=?utf-8?Q?" * (n // 10) + b"\r\n\r\n",
        lambda n: b"Content-Type: a/b" + b";a=\"" * (n // 4) + b"\r\n\r\n",
        lambda n: b"To: " + b"a@b.cd," * (n // 7) + b"\r\n\r\n",
        lambda n: b"a: b\r\n " * (n // 7) + b"\r\n\r\n",
    ],
)
def test_heads_take_linear_time(make: object) -> None:
    assert callable(make)
    assert is_linear(read, make, size=12_000)


def test_a_large_mail_in_small_pieces_holds_little() -> None:
    message = Message()
    message.feed(HEAD)
    for _ in range(2000):
        assert message.feed(b"A" * 70 + b"\r\n") == []
    assert len(message._buffer) < 100


def b64(data: bytes) -> bytes:
    return base64.b64encode(data)


@pytest.mark.parametrize(
    ("mechanism", "token", "turn", "user"),
    [
        ("PLAIN", b64(b"\0alice\0secret"), 0, "alice"),
        ("plain", b64(b"admin\0alice\0secret"), 0, "alice"),
        ("PLAIN", b64(b"onlytwo\0parts"), 0, ""),
        ("LOGIN", b64(b"alice@example.org"), 0, "alice@example.org"),
        ("LOGIN", b64(b"secret"), 1, ""),
        ("CRAM-MD5", b64(b"alice b913a602c7eda7a495b4e6e7334d3890"), 0, "alice"),
        ("CRAM-MD5", b64(b"alice nothex"), 0, ""),
        ("DIGEST-MD5", b64(b'charset=utf-8,username="alice",realm="x"'), 0, "alice"),
        ("SCRAM-SHA-256", b64(b"n,,n=a=2Cb,r=nonce"), 0, "a,b"),
        ("XOAUTH2", b64(b"user=alice@example.org\1auth=Bearer t0ken\1\1"), 0, "alice@example.org"),
        ("OAUTHBEARER", b64(b"n,a=alice@example.org,\1host=h\1auth=Bearer t\1\1"), 0, "alice@example.org"),
        ("OAUTHBEARER", b64(b"n,,\1auth=Bearer t\1\1"), 0, ""),
        ("EXTERNAL", b64(b"alice"), 0, "alice"),
        ("GSSAPI", b64(b"`\x82"), 0, ""),
        ("LOGIN", b"not base64!", 0, ""),
        ("LOGIN", b"", 0, ""),
    ],
)  # fmt: skip
def test_who_logs_in(mechanism: str, token: bytes, turn: int, user: str) -> None:
    assert mail_auth.user_of(mechanism, token, turn=turn) == user


def test_the_answer_to_a_password_prompt_is_no_user() -> None:
    assert mail_auth.user_of("LOGIN", b64(b"secret"), turn=0, prompt=b64(b"Password:")) == ""


@given(st.sampled_from(["PLAIN", "LOGIN", "NTLM", "CRAM-MD5", "SCRAM-SHA-1", "XOAUTH2", "DIGEST-MD5", ""]), st.binary())
def test_tokens_never_raise(mechanism: str, data: bytes) -> None:
    mail_auth.user_of(mechanism, b64(data), turn=0)
    mail_auth.user_of(mechanism, b64(b"NTLMSSP\0\3\0\0\0" + data), turn=1)
    mail_auth.user_of(mechanism, data, turn=0)
