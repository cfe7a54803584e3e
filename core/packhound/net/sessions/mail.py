"""Mail and FTP as the session table takes them: openers, and the fields of each kind of fact."""

from __future__ import annotations

from collections.abc import Mapping

from packhound.net import ftp, imap, mail, pop3, smtp
from packhound.net.sessions.ftp import ftp_stream
from packhound.net.sessions.mail_imap import imap_stream
from packhound.net.sessions.mail_pop3 import pop3_stream
from packhound.net.sessions.mail_smtp import smtp_stream

__all__ = ["FIELDS_FILLED", "ftp_stream", "imap_stream", "pop3_stream", "smtp_stream"]

FIELDS_FILLED: Mapping[str, frozenset[str]] = {
    "email": mail.FIELDS,
    "email.part": mail.PART_FIELDS,
    "email.login": frozenset({"email.auth", "email.user"}),
    "smtp.command": smtp.COMMAND_FIELDS,
    "smtp.reply": smtp.REPLY_FIELDS,
    "imap.command": imap.COMMAND_FIELDS,
    "imap.response": imap.RESPONSE_FIELDS,
    "pop3.command": pop3.COMMAND_FIELDS,
    "pop3.response": pop3.RESPONSE_FIELDS,
    "ftp.command": ftp.COMMAND_FIELDS,
    "ftp.reply": ftp.REPLY_FIELDS,
}
