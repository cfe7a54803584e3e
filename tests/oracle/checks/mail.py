"""Mail and FTP against tshark, Zeek and Arkime: commands and replies by frame, envelopes and heads by flow.

Passwords are part of no comparison: we never say them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.oracle.score import Check

Row = dict[str, Any]
Key = tuple[Any, ...]
Compare = Callable[["Check", str, Row, list[Row]], None]


def listed(value: Any) -> list[str]:
    """What the peer gives for a key: a value, several, or none."""
    return [str(each) for each in value] if isinstance(value, list) else [] if value is None else [str(value)]


def ascii_only(text: str) -> str:
    """Text with every character outside printable ASCII as ?: peers show such bytes in ways of their own."""
    return "".join(c if c.isascii() and c.isprintable() else "?" for c in text).strip()


def by_frame(theirs: Callable[[Row], Iterable[Key]], ours: Callable[[Row], Key | None]) -> Compare:
    """Compare messages as multisets, by frame."""

    def run(check: Check, capture: str, peer: Row, rows: list[Row]) -> None:
        from tests.oracle.score import compare  # it imports this module

        wanted = Counter((row["frame"], *key) for row in peer["expected"] for key in theirs(row))
        mine = Counter((row["frame"], *key) for row in rows if (key := ours(row)) is not None)
        compare(check, capture, wanted, mine)

    return run


def commands(row: Row, argument: str, secret: Iterable[str]) -> Iterator[Key]:
    """The peer's commands of a frame with their arguments; it lists both, so they pair when there are as many."""
    verbs, arguments = listed(row.get("command")), listed(row.get(argument))
    for at, verb in enumerate(verbs):
        name = verb.upper().strip()
        if name in secret:
            yield "command", name, None
        else:
            yield "command", name, ascii_only(arguments[at]) if at < len(arguments) else ""


# --- SMTP ------------------------------------------------------------------------------------------------------------

_SMTP_KNOWN_BARE = ("AUTH",)  # the peer's argument holds the token


def _smtp_theirs(row: Row) -> Iterator[Key]:
    yield from commands(row, "parameter", _SMTP_KNOWN_BARE)
    yield from (("reply", int(status)) for status in listed(row.get("status")))


def _smtp_ours(row: Row) -> Key | None:
    if row["kind"] == "smtp.command":
        verb = row["email.command"]
        bare = verb in _SMTP_KNOWN_BARE
        return "command", verb, None if bare else ascii_only(row.get("email.argument", ""))
    return ("reply", row["smtp.status"]) if row["kind"] == "smtp.reply" else None


# --- IMAP ------------------------------------------------------------------------------------------------------------


def _imap_theirs(row: Row) -> Iterator[Key]:
    yield from (("command", name.upper()) for name in listed(row.get("command")))
    yield from (("response", status.upper()) for status in listed(row.get("status")))


def _imap_ours(row: Row) -> Key | None:
    if row["kind"] == "imap.command":
        return "command", row["email.command"]
    return ("response", row["imap.status"]) if row["kind"] == "imap.response" and "imap.tag" in row else None


# --- POP3 ------------------------------------------------------------------------------------------------------------

_POP3_SECRET = ("PASS", "APOP", "AUTH")


def _pop3_theirs(row: Row) -> Iterator[Key]:
    yield from commands(row, "parameter", _POP3_SECRET)
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
    yield from commands(row, "arg", _FTP_SECRET)
    yield from (("reply", int(status)) for status in listed(row.get("status")))


def _ftp_ours(row: Row) -> Key | None:
    if row["kind"] == "ftp.command":
        verb = row["ftp.command"]
        return "command", verb, None if verb in _FTP_SECRET else ascii_only(row.get("ftp.argument", ""))
    return ("reply", row["ftp.status"]) if row["kind"] == "ftp.reply" else None


CHECKS: dict[str, tuple[str, Compare]] = {
    "tshark_smtp": ("smtp", by_frame(_smtp_theirs, _smtp_ours)),
    "tshark_imap": ("imap", by_frame(_imap_theirs, _imap_ours)),
    "tshark_pop3": ("pop3", by_frame(_pop3_theirs, _pop3_ours)),
    "tshark_ftp": ("ftp", by_frame(_ftp_theirs, _ftp_ours)),
}
