"""Sessions of live flows: payload in, messages out.

Promise: pure, bounded by the flow table (a flow's session goes when the flow goes) and, for what waits behind gaps over
all flows, by a `Backlog`; TCP payload is put in order before its session sees it, and what still waits behind a gap
when the flow ends is handed over then.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from packhound.net.facts import Fact, Malformed
from packhound.net.reassembly import Backlog, Gap, StreamReassembler
from packhound.net.session import Session, open_session, read_frame

TCP, SYN = 6, 2
COUNTED = ("retransmitted", "skipped", "refused")  # of every stream, when its flow has ended


class Late(NamedTuple):
    """Messages that bytes behind a gap completed once their flow was over: their direction, and number, time and
    interface of the last packet of that direction that was dissected."""

    direction: int
    number: int
    ts: int
    iface: int
    facts: list[Fact]


class Conversation:
    """One flow being dissected: its session and, over TCP, one reassembler a direction. Without a session it keeps data
    that came before the start of its direction, until that says what it is."""

    __slots__ = ("_backlog", "_last", "_session", "_streams", "_tcp")

    def __init__(self, session: Session | None, *, tcp: bool, backlog: Backlog) -> None:
        self._session = session
        self._tcp = tcp
        self._backlog = backlog
        self._streams: list[StreamReassembler | None] = [None, None]
        self._last = [(0, 0, 0), (0, 0, 0)]  # number, time and interface of each direction's last packet

    @property
    def done(self) -> bool:
        """True when nothing more can be learned from this flow."""
        return self._session is not None and self._session.done

    @property
    def waits(self) -> bool:
        """True while nobody knows what it is."""
        return self._session is None

    def begin(self, session: Session) -> None:
        """Learn what it is."""
        self._session = session

    def feed(
        self, row: Any, event: Any, payload: bytes, *, size: int, now: int, number: int, iface: int
    ) -> list[Fact | Malformed]:
        """Take the payload of one packet (`size` bytes on the wire, whatever was captured); `row` is its flow."""
        direction = int(event["dir"])
        if not self._tcp and self._session is not None:
            return self._session.feed(direction, payload, now=now)
        stream = self._streams[direction]
        if stream is None:
            stream = self._streams[direction] = StreamReassembler()
            if int(row["payload_packets"][direction]) <= 1 and row["has_isn"][direction]:
                stream.start(int(row["isn"][direction]))
        self._last[direction] = (number, now, iface)
        seq = int(event["seq"]) + bool(event["tcp_flags"] & SYN)  # data of a SYN stands behind it (RFC 7413)
        waited = stream.cost
        found = self._hand_over(direction, stream.push(seq, payload, now, size=size), now)
        if self.done:
            self._let_go()
        elif waited or stream.cost:
            self._backlog.note(stream)
        return found

    def _let_go(self) -> None:
        """Drop what waits: nobody will read it."""
        for stream in self._streams:
            if stream is not None and stream.cost:
                stream.abandon()
                self._backlog.forget(stream)

    def close(self, counts: Counter[str]) -> None:
        """Count what became of the segments of both directions; the end of the flow."""
        for stream in self._streams:
            if stream is None:
                continue
            self._backlog.forget(stream)
            for name in COUNTED:
                counts[name] += getattr(stream, name)

    def finish(self) -> Iterable[tuple[int, tuple[int, int, int], list[Fact | Malformed]]]:
        """Give up on what is missing: hand over what waits, both directions by time of arrival; yield direction, its
        last packet and what the bytes say."""
        while self._session is not None and not self._session.done:
            waiting = [
                (stream.oldest, direction)
                for direction, stream in enumerate(self._streams)
                if stream is not None and stream.oldest is not None
            ]
            if not waiting:
                return
            now, direction = min(waiting)
            stream = self._streams[direction]
            assert stream is not None
            yield direction, self._last[direction], self._hand_over(direction, stream.skip(), now)

    def _hand_over(self, direction: int, pieces: Iterable[bytes | Gap], now: int) -> list[Fact | Malformed]:
        out: list[Fact | Malformed] = []
        if self._session is None:
            return out
        for piece in pieces:
            if isinstance(piece, Gap):
                self._session.gap(direction, piece.size)
            else:
                out.extend(self._session.feed(direction, piece, now=now))
        return out


class Dissection:
    """Conversations by flow serial, and how many messages of each protocol could not be read."""

    def __init__(self, *, backlog: Backlog | None = None) -> None:
        self._live: dict[int, Conversation | None] = {}
        self.malformed: Counter[str] = Counter()
        self.messages: Counter[str] = Counter()
        self._backlog = backlog if backlog is not None else Backlog()
        self._ended: Counter[str] = Counter()

    def feed(
        self, row: Any, event: Any, payload: bytes, *, size: int, now: int, number: int = 0, iface: int = 0
    ) -> tuple[list[Fact], bool]:
        """Dissect one packet's payload; the messages it completed, and whether its flow has no more to say."""
        serial = int(row["serial"])
        if serial not in self._live or (row["app"] and self._waits(serial)):
            self._begin(serial, row)
        conversation = self._live[serial]
        if conversation is None:
            return [], True
        found = conversation.feed(row, event, payload, size=size, now=now, number=number, iface=iface)
        return self._count(found), conversation.done

    def _waits(self, serial: int) -> bool:
        conversation = self._live[serial]
        return conversation is not None and conversation.waits

    def _begin(self, serial: int, row: Any) -> None:
        session = open_session(int(row["app"]), proto=int(row["proto"]))
        before = self._live.pop(serial, None)
        if session is None and row["app"]:
            if before is not None:
                before.close(self._ended)
            self._live[serial] = None
            return
        conversation = before or Conversation(None, tcp=row["proto"] == TCP, backlog=self._backlog)
        if session is not None:
            conversation.begin(session)
        self._live[serial] = conversation

    def finish(self, serial: int) -> list[Late]:
        """Dissect what still waits of an ended flow; the messages that came of it, in their order."""
        conversation = self._live.get(serial)
        if conversation is None:
            return []
        out = []
        for direction, (number, ts, iface), found in conversation.finish():
            facts = self._count(found)
            if facts:
                out.append(Late(direction, number, ts, iface, facts))
        return out

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
            conversation = self._live.pop(serial)
            if conversation is not None:
                conversation.close(self._ended)

    @property
    def streams(self) -> dict[str, int]:
        """What became of TCP segments: of flows that have ended bytes `retransmitted` (seen again) and `skipped` (never
        seen, or given up), segments `refused`; of all flows streams and bytes `abandoned` for want of memory; bytes of
        memory `waiting` now."""
        return {
            **{name: self._ended[name] for name in COUNTED},
            "abandoned_streams": self._backlog.abandoned_streams,
            "abandoned_bytes": self._backlog.abandoned_bytes,
            "waiting": self._backlog.held,
        }
