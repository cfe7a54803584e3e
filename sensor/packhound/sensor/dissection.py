"""Sessions of live flows: payload in, messages out.

Promise: pure, bounded by the flow table (a flow's session goes when the flow goes); TCP payload is put in order
before its session sees it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from packhound.net.facts import Fact, Malformed
from packhound.net.reassembly import Gap, StreamReassembler
from packhound.net.session import Session, open_session, read_frame

TCP, SYN = 6, 2


class Conversation:
    """One flow being dissected: its session and, over TCP, one reassembler a direction."""

    __slots__ = ("_session", "_streams", "_tcp")

    def __init__(self, session: Session, *, tcp: bool) -> None:
        self._session = session
        self._tcp = tcp
        self._streams: list[StreamReassembler | None] = [None, None]

    @property
    def done(self) -> bool:
        """True when nothing more can be learned from this flow."""
        return self._session.done

    def feed(self, row: Any, event: Any, payload: bytes, *, size: int, now: int) -> list[Fact | Malformed]:
        """Take the payload of one packet (`size` bytes on the wire, whatever was captured); `row` is its flow."""
        direction = int(event["dir"])
        if not self._tcp:
            return self._session.feed(direction, payload, now=now)
        stream = self._streams[direction]
        if stream is None:
            stream = self._streams[direction] = StreamReassembler()
            if int(row["payload_packets"][direction]) <= 1 and row["has_isn"][direction]:
                stream.start(int(row["isn"][direction]))
        out: list[Fact | Malformed] = []
        seq = int(event["seq"]) + bool(event["tcp_flags"] & SYN)  # data of a SYN stands behind it (RFC 7413)
        for piece in stream.push(seq, payload, now, size=size):
            if isinstance(piece, Gap):
                self._session.gap(direction, piece.size)
            else:
                out.extend(self._session.feed(direction, piece, now=now))
        return out


class Dissection:
    """Conversations by flow serial, and how many messages of each protocol could not be read."""

    def __init__(self) -> None:
        self._live: dict[int, Conversation | None] = {}
        self.malformed: Counter[str] = Counter()
        self.messages: Counter[str] = Counter()

    def feed(self, row: Any, event: Any, payload: bytes, *, size: int, now: int) -> tuple[list[Fact], bool]:
        """Dissect one packet's payload; the messages it completed, and whether its flow has no more to say."""
        serial = int(row["serial"])
        if serial not in self._live:
            session = open_session(int(row["app"]), proto=int(row["proto"]))
            self._live[serial] = Conversation(session, tcp=row["proto"] == TCP) if session is not None else None
        conversation = self._live[serial]
        if conversation is None:
            return [], True
        return self._count(conversation.feed(row, event, payload, size=size, now=now)), conversation.done

    def frame(self, app: int, data: bytes) -> list[Fact]:
        """Dissect a frame that belongs to no flow."""
        return self._count(read_frame(app, data))

    def _count(self, found: list[Fact | Malformed]) -> list[Fact]:
        facts = []
        for each in found:
            if isinstance(each, Malformed):
                self.malformed[each.reason] += 1
            else:
                self.messages[each.kind] += 1
                facts.append(each)
        return facts

    def forget(self, serials: Sequence[int]) -> None:
        """Drop the conversations of ended flows."""
        for serial in self._live.keys() & serials:
            del self._live[serial]
