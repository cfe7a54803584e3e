"""Mail and FTP against tshark: whole commands and replies of every flow, as multisets.

What has no peer is left out, and only that: secrets (we never say them), flows on ports that the peer does not read,
and what `confirmed` and `first_lines` say. docs/truth/mail.md has what is left.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, NamedTuple

from packhound.net import ftp

if TYPE_CHECKING:
    from tests.oracle.score import Check

Row = dict[str, Any]
Key = tuple[Any, ...]
Compare = Callable[["Check", str, Row, list[Row]], None]
_VERB = re.compile(r"[A-Za-z][A-Za-z0-9-]{1,150}")


class Said(NamedTuple):
    """One command or reply: the flow's ends, who sent it, in which frame, and what it says."""

    flow: frozenset[tuple[str, int]]
    sender: tuple[str, int]
    frame: int
    key: Key


def listed(value: Any) -> list[str]:
    """What the peer gives for a key: a value, several, or none."""
    return [str(each) for each in value] if isinstance(value, list) else [] if value is None else [str(value)]


def ascii_only(text: str) -> str:
    """Text as the peer shows it: up to a NUL, every character outside printable ASCII as ?."""
    return "".join(c if c.isascii() and c.isprintable() else "?" for c in text.partition("\0")[0]).strip()


def _peers(peer: Row, read: Callable[[Row], Iterable[Key]]) -> list[Said]:
    found = []
    for row in peer["expected"]:
        ends = (str(ip_address(row["src"])), row["sport"]), (str(ip_address(row["dst"])), row["dport"])
        found += [Said(frozenset(ends), ends[0], row["frame"], key) for key in read(row)]
    return found


def _ours(rows: list[Row], read: Callable[[Row], Key | None], flows: set[frozenset[tuple[str, int]]]) -> list[Said]:
    found = []
    for row in rows:
        key = read(row)
        if key is not None:
            ends = (str(ip_address(row["ip.src"])), row["port.src"]), (str(ip_address(row["ip.dst"])), row["port.dst"])
            if frozenset(ends) in flows:
                found.append(Said(frozenset(ends), ends[0], row["frame"], key))
    return found


def by_flow(
    theirs: Callable[[Row], Iterable[Key]],
    ours: Callable[[Row], Key | None],
    fit: Callable[[list[Said], list[Said]], tuple[list[Said], list[Said]]] = lambda wanted, mine: (wanted, mine),
) -> Compare:
    """Compare the messages of every flow that the peer reads; a message stands in the frame that begins it for the peer,
    in the one that ends it for us. `fit` leaves out what has no peer."""

    def run(check: Check, capture: str, peer: Row, rows: list[Row]) -> None:
        from tests.oracle.score import compare  # it imports this module

        wanted = _peers(peer, theirs)
        wanted, mine = fit(wanted, _ours(rows, ours, {each.flow for each in wanted}))
        compare(
            check, capture,
            Counter((tuple(sorted(each.flow)), *each.key) for each in wanted),
            Counter((tuple(sorted(each.flow)), *each.key) for each in mine),
        )  # fmt: skip

    return run


def _commands(row: Row, argument: str, secret: Iterable[str]) -> Iterator[Key]:
    """The peer's commands of a frame with their arguments. A line that is no word is the token of a login."""
    verbs, arguments = listed(row.get("command")), listed(row.get(argument))
    for at, verb in enumerate(verbs):
        name = verb.upper().strip()
        if _VERB.fullmatch(name) and not (len(name) > 16 and any(c.islower() for c in verb)):
            yield "command", name, None if name in secret else ascii_only(arguments[at]) if at < len(arguments) else ""


# --- SMTP ------------------------------------------------------------------------------------------------------------

_SMTP_SECRET = ("AUTH",)


def _smtp_theirs(row: Row) -> Iterator[Key]:
    yield from _commands(row, "parameter", _SMTP_SECRET)
    yield from (("reply", int(status)) for status in listed(row.get("status")))


def _smtp_ours(row: Row) -> Key | None:
    if row["kind"] == "smtp.command":
        verb = row["email.command"]
        return "command", verb, None if verb in _SMTP_SECRET else ascii_only(row.get("email.argument", ""))
    return ("reply", row["smtp.status"]) if row["kind"] == "smtp.reply" else None


def confirmed(wanted: list[Said], mine: list[Said]) -> tuple[list[Said], list[Said]]:
    """Leave out commands in frames that the peer takes for the text of a mail (after a DATA that was refused, a BDAT
    that was wrong, and where commands and mail share a segment), if its own replies confirm them: there is one for the
    greeting, each command, each mail and each step of a login; the last may be missing."""
    frames = {each.frame for each in wanted if each.key[0] == "command"}
    by: dict[frozenset[tuple[str, int]], Counter[str]] = defaultdict(Counter)
    for each in mine:
        by[each.flow]["commands"] += each.key[0] == "command"
    for each in wanted:
        by[each.flow]["replies"] += each.key[0] == "reply"
        by[each.flow]["steps"] += each.key[0] == "reply" and each.key[1] in (334, 354)
    sure = {flow for flow, n in by.items() if 1 + n["commands"] + n["steps"] - n["replies"] in (0, 1)}
    return wanted, [each for each in mine if each.key[0] == "reply" or each.frame in frames or each.flow not in sure]


# --- IMAP ------------------------------------------------------------------------------------------------------------

_IMAP_STATUS = ("OK", "NO", "BAD", "BYE", "PREAUTH")


def _imap_theirs(row: Row) -> Iterator[Key]:
    """The peer takes the second word of any line for a status: what is none is left out."""
    yield from (("command", name.upper()) for name in listed(row.get("command")))
    yield from (("response", each.upper()) for each in listed(row.get("status")) if each.upper() in _IMAP_STATUS)


def _imap_ours(row: Row) -> Key | None:
    if row["kind"] == "imap.command":
        return "command", row["email.command"]
    return ("response", row["imap.status"]) if row["kind"] == "imap.response" and "imap.tag" in row else None


# --- POP3 ------------------------------------------------------------------------------------------------------------

_POP3_SECRET = ("PASS", "APOP", "AUTH")


def _pop3_theirs(row: Row) -> Iterator[Key]:
    yield from _commands(row, "parameter", _POP3_SECRET)
    yield from (("response", each) for each in listed(row.get("indicator")))


def _pop3_ours(row: Row) -> Key | None:
    if row["kind"] == "pop3.command":
        verb = row["email.command"]
        return "command", verb, None if verb in _POP3_SECRET else ascii_only(row.get("email.argument", ""))
    wanted = row["kind"] == "pop3.response" and row["pop3.status"] != "+"  # the peer has no row for a challenge
    return ("response", row["pop3.status"]) if wanted else None


# --- FTP -------------------------------------------------------------------------------------------------------------

_FTP_SECRET = ("PASS", "ACCT")


def _ftp_theirs(row: Row) -> Iterator[Key]:
    yield from _commands(row, "arg", _FTP_SECRET)
    yield from (("reply", int(status)) for status in listed(row.get("status")))


def _ftp_ours(row: Row) -> Key | None:
    if row["kind"] == "ftp.command":
        verb = row["ftp.command"]
        return "command", verb, None if verb in _FTP_SECRET else ascii_only(row.get("ftp.argument", ""))
    return ("reply", row["ftp.status"]) if row["kind"] == "ftp.reply" else None


def first_lines(wanted: list[Said], mine: list[Said]) -> tuple[list[Said], list[Said]]:
    """Leave out all but the first message of a frame: of pipelined ones the peer reads the first line. And the last line
    of a reply of several lines in several segments, which it takes for another reply, though nothing was asked. And
    frames whose first line is no command of FTP for us: the rest of one whose start is not in the capture."""
    unread = {
        each.frame for each in wanted if each.key[0] == "command" and not ftp.is_command(str(each.key[1]).encode())
    } - {each.frame for each in mine if each.key in {w.key for w in wanted if w.frame == each.frame}}
    wanted = [each for each in wanted if each.frame not in unread]
    mine = [each for each in mine if each.frame not in unread]
    seen: set[tuple[int, tuple[str, int]]] = set()
    kept = []
    for each in mine:
        if (each.frame, each.sender) not in seen:
            seen.add((each.frame, each.sender))
            kept.append(each)
    return _whole_replies(wanted), kept


def _whole_replies(wanted: list[Said]) -> list[Said]:
    asked: Counter[frozenset[tuple[str, int]]] = Counter()
    last: dict[frozenset[tuple[str, int]], Key] = {}
    kept = []
    for each in wanted:
        if each.key[0] == "command":
            asked[each.flow] += 1
        elif last.get(each.flow) == each.key and not asked[each.flow]:
            continue
        else:
            last[each.flow] = each.key
            asked[each.flow] = max(0, asked[each.flow] - (each.key[1] >= 200))
        kept.append(each)
    return kept


CHECKS: dict[str, tuple[str, Compare]] = {
    "tshark_smtp": ("smtp", by_flow(_smtp_theirs, _smtp_ours, confirmed)),
    "tshark_imap": ("imap", by_flow(_imap_theirs, _imap_ours)),
    "tshark_pop3": ("pop3", by_flow(_pop3_theirs, _pop3_ours)),
    "tshark_ftp": ("ftp", by_flow(_ftp_theirs, _ftp_ours, first_lines)),
}
