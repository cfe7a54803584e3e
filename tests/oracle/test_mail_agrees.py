"""Envelopes, heads, logins and file names of mail, and commands of FTP, against what Zeek and Arkime log of the same."""

from __future__ import annotations

from collections import defaultdict
from functools import cache
from ipaddress import ip_address
from typing import Any

import pytest

from packhound.net.mail import mailboxes
from tests.oracle.score import rows_of
from tests.support.corpus import expected, needs_corpus

pytestmark = needs_corpus
Row = dict[str, Any]
Flow = tuple[str, int, str, int]

#: Captures that a peer reads otherwise, and why.
EXPLAINED = {
    "captures/zeek/connect-with-smtp.pcap": "SMTP inside a CONNECT tunnel: we read TLS in tunnels, no mail",
}


@cache
def rows(capture: str) -> tuple[Row, ...]:
    return tuple(row for row in rows_of(capture) if row["kind"].startswith(("email", "smtp", "imap", "pop3", "ftp")))


def flow_of(row: Row) -> Flow:
    """Client first: of a reply its receiver."""
    ends = (str(ip_address(row["ip.src"])), row["port.src"]), (str(ip_address(row["ip.dst"])), row["port.dst"])
    return (*ends[0], *ends[1]) if "reply" not in row["kind"] and "response" not in row["kind"] else (*ends[1], *ends[0])


def zeek_flow(row: Row) -> Flow:
    return (
        str(ip_address(row["id.orig_h"])), row["id.orig_p"], str(ip_address(row["id.resp_h"])), row["id.resp_p"]
    )  # fmt: skip


def zeek(check: str) -> list[Any]:
    """(capture, Zeek's rows of one test) that Zeek's own script settings leave as they are."""
    return [
        pytest.param(entry["capture"], entry["expected"], id=f"{entry['capture']}-{n}")
        for n, entry in enumerate(expected("zeek_logs"))
        if entry["check"] == check and entry["capture"] not in EXPLAINED and "max_arg" not in str(entry.get("redefs"))
    ]


def mails(capture: str) -> dict[Flow, list[Row]]:
    """Mails of each flow: envelope and head, as Zeek logs a transaction."""
    found: dict[Flow, list[Row]] = defaultdict(list)
    for row in rows(capture):
        verb, flow = row.get("email.command"), flow_of(row)
        if verb == "MAIL":
            found[flow].append({"from": row.get("email.from"), "to": [], "head": {}})
        elif verb == "RCPT" and found[flow]:
            found[flow][-1]["to"].append(row.get("email.to"))
        elif row["kind"] == "email" and found[flow]:
            found[flow][-1]["head"] = row
    return found


def test_the_peers_speak_of_mail_and_ftp() -> None:
    assert len(zeek("zeek_smtp")) > 5
    assert len(zeek("zeek_ftp")) > 5


@pytest.mark.parametrize(("capture", "theirs"), zeek("zeek_smtp"))
def test_every_mail_has_the_envelope_and_head_that_zeek_logs(capture: str, theirs: list[Row]) -> None:
    ours = mails(capture)
    for row in theirs:
        mail = ours[zeek_flow(row)][row["trans_depth"] - 1]
        assert (mail["from"], mail["to"]) == (row["mailfrom"], row["rcptto"])
        head = mail["head"]
        assert head.get("email.subject", "") == row.get("subject", "")
        assert head.get("email.message_id", "") == row.get("msg_id", "").strip("<>")
        assert head.get("email.in_reply_to", "") == row.get("in_reply_to", "").strip("<>")
        assert head.get("email.user_agent", "") == row.get("user_agent", "")
        assert set(head.get("email.to", ())) >= {a for _, a in mailboxes(row.get("to", []) + row.get("cc", []))}
        assert set(head.get("email.from", ())) >= {a for _, a in mailboxes([row.get("from", "")])}


@pytest.mark.parametrize(("capture", "theirs"), zeek("zeek_ftp"))
def test_every_ftp_command_that_zeek_logs_is_ours_with_its_data_connection(capture: str, theirs: list[Row]) -> None:
    said: dict[Flow, list[Row]] = defaultdict(list)
    for row in rows(capture):
        said[flow_of(row)].append(row)
    for row in theirs:
        flow = said[zeek_flow(row)]
        if row["command"] != "<init>":
            found = [each for each in flow if each.get("ftp.command") == row["command"]]
            assert found
            wanted = row.get("arg", "").rpartition("/")[2] if row["command"] == "RETR" else row.get("arg", "")
            if wanted not in ("<hidden>", ".") and row["command"] != "PASS":
                assert any(wanted in each.get("ftp.argument", "") for each in found), row  # one test cuts it
        if "data_channel.resp_p" in row:
            ends = {(each.get("ftp.data.address", row["data_channel.resp_h"]), each.get("ftp.data.port")) for each in flow}
            assert (row["data_channel.resp_h"], row["data_channel.resp_p"]) in ends


def arkime() -> list[Any]:
    found = []
    for entry in expected("arkime_sessions"):
        for session in entry["expected"]:
            if {"smtp", "imap", "pop3"} & set(session.get("protocol", ())):
                found.append(pytest.param(entry["capture"], session, id=f"{entry['capture']}-{session['source.port']}"))
    return found


@pytest.mark.parametrize(("capture", "session"), arkime())
def test_every_mail_session_holds_what_arkime_says(capture: str, session: Row) -> None:
    flow = (
        str(ip_address(session["source.ip"])), session["source.port"], str(ip_address(session["destination.ip"])),
        session["destination.port"],
    )  # fmt: skip
    swapped = flow[2:] + flow[:2]
    mine = [row for row in rows(capture) if flow_of(row) in (flow, swapped)]

    def said(name: str) -> set[str]:
        values = [row.get(name, ()) for row in mine]
        return {text.lower() for each in values for text in ((each,) if isinstance(each, str) else each)}

    email = session.get("email", {})
    for key, name in (("src", "email.from"), ("dst", "email.to"), ("id", "email.message_id"), ("subject", "email.subject"),
                      ("filename", "email.attachment"), ("useragent", "email.user_agent"), ("smtpHello", "smtp.helo"),
                      ("contentType", "email.content_type")):  # fmt: skip
        wanted = {text.lower().strip()[:4096] for text in email.get(key, ())}
        # Arkime cuts long values
        assert all(any(each.startswith(text[:250]) for each in said(name)) for text in wanted), (key, wanted, said(name))
    assert {each.lower() for each in session.get("user", ())} <= said("email.user")
