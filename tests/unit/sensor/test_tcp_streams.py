"""TCP as captures have it, through both kernels: whatever order, repetition, loss or reuse of ports, each message is
read once, and what was not read is counted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from packhound.net.detect import App
from packhound.net.reassembly import PIECE, Backlog
from packhound.run.look import Inspection
from packhound.sensor.agent import AgentSettings
from packhound.sensor.dissection import Conversation, Dissection
from packhound.sensor.tap.merge import open_captures
from tests.support.capture_files import pcap_header, record
from tests.support.hunting import hunt, hunt_filter, leaf
from tests.support.tape import ACK, DATA, FIN, SYN, SYN_ACK, tcp

RST = 4
ISN, WRAP = 1000, 0xFFFFFFF0
SECOND = 1_000_000_000
Frames = list[tuple[float, bytes]]


def request(number: int, size: int = 0) -> bytes:
    return b"GET /%d HTTP/1.1\r\nHost: h\r\n" % number + (b"X: " + b"x" * size + b"\r\n" if size else b"") + b"\r\n"


class Talk:
    """A client (host 1) that asks a server (host 2, port 80): frames and their times, ms."""

    def __init__(self, *, isn: int = ISN, port: int = 40000, at: float = 0) -> None:
        self.isn, self.port, self.now = isn, port, at
        self.frames: Frames = []

    def put(self, flags: int, at: int = 0, data: bytes = b"") -> Talk:
        """A segment of the client, `at` bytes behind its first one."""
        self.now += 1
        self.frames.append((self.now, tcp(1, self.port, 2, 80, flags, (self.isn + 1 + at) % (1 << 32), 501, data)))
        return self

    def back(self, flags: int, at: int = 0, data: bytes = b"") -> Talk:
        self.now += 1
        self.frames.append((self.now, tcp(2, 80, 1, self.port, flags, 501 + at, (self.isn + 1) % (1 << 32), data)))
        return self

    def open(self) -> Talk:
        self.put(SYN, -1)
        return self.back(SYN_ACK, -1).put(ACK)

    def asks(self, *pieces: tuple[int, bytes]) -> Talk:
        for at, data in pieces:
            self.put(DATA, at, data)
        return self


@pytest.fixture(params=["native", "portable"])
def kernel(request: pytest.FixtureRequest) -> str:
    if request.param == "native":
        pytest.importorskip("packhound.sensor.kernel._scan", reason="the native kernel is not built")
    return str(request.param)


@pytest.fixture
def seen(kernel: str, tmp_path: Path) -> Any:
    """Paths asked for, in order, flows, and what became of the segments."""

    def look(*talks: Talk) -> tuple[list[str], int, dict[str, int]]:
        path = tmp_path / "talk.pcap"
        frames = sorted((frame for talk in talks for frame in talk.frames), key=lambda frame: frame[0])
        path.write_bytes(pcap_header() + b"".join(
            record(1_700_000_000 + int(ms // 1000), int(ms % 1000 * 1000), data) for ms, data in frames
        ))  # fmt: skip
        tap = open_captures([str(path)])
        inspection = Inspection(tap, settings=AgentSettings(kernel=kernel))
        rows = list(inspection.rows())
        tap.close()
        paths = [row["http.path"] for row in rows if row["kind"] == "http.request"]
        return paths, sum(row["kind"] == "flow" for row in rows), inspection.agent.engine.streams

    return look


LONG = request(1, 60)
NEEDLE = b"GET /a/very-secret/place HTTP/1.1\r\nHost: example.org\r\n\r\n"
A, B, C, D = LONG[:30], LONG[30:50], LONG[50:70], LONG[70:]


@pytest.mark.parametrize("isn", [ISN, WRAP], ids=["plain", "wraps"])
@pytest.mark.parametrize(("pieces", "again"), [
    ([(0, A), (30, B), (50, C), (70, D)], 0),
    ([(0, A), (50, C), (30, B), (70, D)], 0),
    ([(0, A), (70, D), (50, C), (30, B)], 0),
    ([(30, B), (0, A), (50, C), (70, D)], 0),
    ([(70, D), (50, C), (30, B), (0, A)], 0),
    ([(0, A), (0, A), (30, B), (30, B), (50, C), (70, D)], 50),
    ([(0, A), (50, C), (50, b"z" * 20), (30, B), (70, D)], 20),
    ([(0, A), (20, A[20:] + B), (40, B[10:] + C), (70, D)], 20),
    ([(0, A), (30, B), (29, b"\0"), (50, C), (29, b"\0"), (70, D)], 2),
], ids=["in order", "swapped", "backwards", "start second", "start last", "twice", "another text later", "overlapping", "keep-alives"])  # fmt: skip
def test_one_request_in_any_order_is_one_request(seen: Any, isn: int, pieces: list[tuple[int, bytes]], again: int) -> None:
    paths, flows, streams = seen(Talk(isn=isn).open().asks(*pieces))
    assert (paths, flows) == (["/1"], 1)
    assert (streams["retransmitted"], streams["skipped"], streams["waiting"]) == (again, 0, 0)


def test_a_start_in_the_middle_reads_on_from_the_next_message(seen: Any) -> None:
    first, second = request(1, 40), request(2)
    talk = Talk().asks((0, first), (len(first), second), (len(first) + len(second), request(3)))
    assert seen(talk)[0] == ["/1", "/2", "/3"]
    half = Talk().asks((0, first), (len(first) + 500, second), (len(first) + 500 + len(second), request(3)))
    paths, _, streams = seen(half)
    assert paths == ["/1", "/2", "/3"]
    assert streams["skipped"] == 500


def test_what_is_lost_is_a_gap_and_the_parser_finds_the_next_message(seen: Any) -> None:
    first, torn = request(1), request(2, 90)
    talk = Talk().open().asks((0, first), (len(first), torn[:40]), (len(first) + len(torn), request(3)))
    talk.now += 20_000  # the missing bytes are given up
    talk.asks((len(first) + len(torn) + len(request(3)), request(4)))
    paths, _, streams = seen(talk)
    assert paths == ["/1", "/3", "/4"]
    assert streams["skipped"] == len(torn) - 40


def test_half_a_connection_is_read_alone(seen: Any) -> None:
    paths, flows, _ = seen(Talk().put(SYN, -1).asks((0, request(1)), (len(request(1)), request(2))))
    assert (paths, flows) == (["/1", "/2"], 1)


@pytest.mark.parametrize("end", [FIN, RST | ACK, None], ids=["FIN", "RST", "nothing"])
@pytest.mark.parametrize("isn", [ISN + 70_000_000, WRAP - 70_000_000], ids=["higher", "lower"])
def test_ports_used_again_are_another_stream(seen: Any, end: int | None, isn: int) -> None:
    """The second connection begins with its SYN, whatever waits of the first: its bytes are none of the first's."""
    first = Talk().open().asks((0, request(1)))
    first.asks((300, request(8)[:20]))  # behind a gap that is never filled
    if end is not None:
        first.put(end, 340).back(end, 0)
    second = Talk(isn=isn, at=first.now + 90_000).open().asks((0, request(2)))
    paths, flows, streams = seen(first, second)
    assert paths == ["/1", "/2"]
    assert flows == 2
    assert streams["skipped"] == 300 - len(request(1))


def test_a_pattern_split_across_segments_is_found_bytewise(seen: Any) -> None:
    """Detection has to see enough at once to know the protocol; from there on any cut will do."""
    text = request(7)
    assert seen(Talk().open().asks((0, text[:16]), *((at, text[at : at + 1]) for at in range(16, len(text)))))[0] == ["/7"]


@pytest.mark.parametrize("order", ["in order", "swapped"])
@pytest.mark.parametrize("at", range(17, len(NEEDLE), 14))
def test_a_filter_finds_a_pattern_split_across_segments(kernel: str, tmp_path: Path, at: int, order: str) -> None:
    """With a plan the prefilter decides which packets are dissected at all: a pattern torn over two is not lost."""
    path = tmp_path / "talk.pcap"
    pieces = [(0, NEEDLE[:16]), (16, NEEDLE[16:at]), (at, NEEDLE[at:])]  # detection has to see the first 16 octets at once
    talk = Talk().open().asks(*pieces if order == "in order" else (pieces[0], pieces[2], pieces[1]))
    other = Talk(port=41000, at=100).open().asks((0, request(1)))
    path.write_bytes(pcap_header() + b"".join(
        record(1_700_000_000 + int(ms // 1000), int(ms % 1000 * 1000), data) for ms, data in talk.frames + other.frames
    ))  # fmt: skip
    wanted = hunt_filter("find", leaf("http.path", "contains", "very-secret"))
    ran = hunt(tmp_path, path, [wanted], "--kernel", kernel).balanced()
    assert ran.matched("t/find") == len(talk.frames)


def test_segments_outside_the_window_are_refused_and_counted(seen: Any) -> None:
    text = request(1, 50)
    talk = Talk().open().asks((0, text[:20]), (0x60000000, b"evil" * 5), (20, text[20:]))
    paths, _, streams = seen(talk)
    assert paths == ["/1"]
    assert streams["refused"] == 1


# memory of all flows together ---------------------------------------------------------------------------------------


def row(serial: int) -> dict[str, Any]:
    return {"serial": serial, "app": int(App.SMTP), "proto": 6, "payload_packets": [1, 1], "has_isn": [1, 1], "isn": [99, 199]}


def feed(dissection: Dissection, serial: int, seq: int, data: bytes, now: int = 1) -> None:
    dissection.feed(row(serial), {"dir": 0, "seq": seq, "tcp_flags": 16}, data, size=len(data), now=now)


def test_streams_that_wait_keep_to_one_bound_and_the_longest_idle_goes_first() -> None:
    dissection = Dissection(backlog=Backlog(max_bytes=4 * (PIECE + 1000)))
    for serial in range(1, 9):
        feed(dissection, serial, 500, b"x" * 1000)
    streams = dissection.streams
    assert (streams["abandoned_streams"], streams["abandoned_bytes"]) == (4, 4000)
    assert streams["waiting"] == 4 * (PIECE + 1000)
    assert [bool(dissection.finish(serial)) for serial in range(1, 9)] == [False] * 8  # x is no line
    dissection.forget(range(1, 9))
    assert dissection.streams["waiting"] == 0
    assert dissection.streams["skipped"] == 4 * 400  # of the others nothing left: what they held was their end


def test_a_session_that_is_done_keeps_nothing() -> None:
    class Done:
        done = False

        def feed(self, direction: int, data: bytes, *, now: int) -> list[Any]:
            self.done = data == b"end"
            return []

        def gap(self, direction: int, size: int) -> None: ...

    backlog = Backlog()
    conversation = Conversation(Done(), tcp=True, backlog=backlog)
    for seq, data in ((300, b"behind a gap"), (100, b"end")):
        event = {"dir": 0, "seq": seq, "tcp_flags": 16}
        conversation.feed(row(1), event, data, size=len(data), now=1, number=1, iface=0)
    assert conversation.done
    assert (backlog.held, len(backlog)) == (0, 0)
