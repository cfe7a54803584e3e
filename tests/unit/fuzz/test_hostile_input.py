"""No input costs more than what docs/fuzzing.md says: lines of Python a byte, bytes said and kept, whatever its shape."""

from __future__ import annotations

import gzip
import json
import random
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from packhound.api.load import load_text
from packhound.net.detect import App
from packhound.net.facts import Fact, Malformed
from packhound.net.session import _OPENERS, open_session
from packhound.rules.bpf import BadExpression, compile_expression
from packhound.sensor.tap.files import CaptureFile
from packhound.wire import beats, plans, pods
from packhound.wire.checked import BadMessage
from tests.fuzz import seeds
from tests.fuzz.bombs import Turns, bombs
from tests.fuzz.mutation import Mutator
from tests.fuzz.target import GROUND, HELD, SPREAD, held, sound
from tests.fuzz.turns import unpack
from tests.fuzz.work import lines_of

LINES_BYTE = 128  # lines of Python that a byte may cost
LINES_CALL = 2000  # and each segment or datagram on top
FREE = 640 * 1024  # text that one connection may say beyond its share (HTTP/2 has 256 KiB of credit a direction)
BOMBS = bombs()


def feed(app: int, proto: int, turns: Turns) -> tuple[int, int, int, object]:
    """Lines run, bytes said, bytes fed, and the session."""
    session = open_session(app, proto=proto)
    assert session is not None
    found: list[list[Fact | Malformed]] = []

    def work() -> None:
        for number, (direction, data) in enumerate(turns):
            found.append(session.feed(direction, data, now=number))

    lines = lines_of(work)
    return lines, sum(map(sound, found)), sum(len(data) for _, data in turns), session


def within(app: int, proto: int, turns: Turns) -> None:
    lines, said, size, session = feed(app, proto, turns)
    assert lines <= LINES_BYTE * size + LINES_CALL * len(turns), f"{lines} lines for {size} bytes"
    assert said <= SPREAD * size + GROUND + FREE, f"{said} bytes said of {size}"
    assert held(session) <= HELD


@pytest.mark.parametrize("name", sorted(BOMBS))
def test_bombs_cost_what_their_size_allows(name: str) -> None:
    app, proto, turns = BOMBS[name]
    within(app, proto, turns)


OPENERS = sorted(_OPENERS)
NAMES = [f"{App(app).name.lower()}-{proto}" for app, proto in OPENERS]


def starts(app: int, proto: int) -> list[bytes]:
    return seeds.conversations(60).get((app, proto), [b"\0"])[:6]


@pytest.mark.parametrize(("app", "proto"), OPENERS, ids=NAMES)
def test_a_flow_of_damaged_messages_keeps_little_and_costs_little(app: int, proto: int) -> None:
    mutator = Mutator(starts(app, proto), seed=app, size=700, turns=True)
    turns = [(each.direction, each.data) for _ in range(24) for each in unpack(mutator.next())[:4]]
    within(app, proto, turns)
    session = open_session(app, proto=proto)
    assert session is not None
    for number in range(300):  # and for long
        for turn in unpack(mutator.next())[:4]:
            session.feed(turn.direction, turn.data, now=number)
    assert held(session) <= HELD


@pytest.mark.parametrize(("app", "proto"), [each for each in OPENERS if each[1] == 6], ids=[n for n in NAMES if n.endswith("-6")])
@pytest.mark.parametrize("filler", [b"A", b"\r\n", b"\0", b"\xff", b"a: b\r\n", b"\x30\x80"])
def test_a_message_without_end_is_given_up(app: int, proto: int, filler: bytes) -> None:
    for start in starts(app, proto)[:2]:
        turns = [(each.direction, each.data) for each in unpack(start)[:3]]
        direction, last = turns[-1]
        segment = filler * (1400 // len(filler))
        session = open_session(app, proto=proto)
        assert session is not None
        for number, (side, data) in enumerate([*turns[:-1], (direction, last[:-3]), *([(direction, segment)] * 400)]):
            session.feed(side, data, now=number)
        assert held(session) <= HELD
        small = [(direction, bytes((each,))) for each in (last[:-3] + segment)[-600:]]
        within(app, proto, [*turns[:-1], *small])


def test_random_bytes_cost_little_in_every_session() -> None:
    rng = random.Random(1)
    for app, proto in OPENERS:
        within(app, proto, [(n & 1, rng.randbytes(rng.randrange(1, 300))) for n in range(20)])


# what is packed, nested or repeated ---------------------------------------------------------------------------------


def peak(work: Callable[[], object]) -> int:
    """Most bytes that `work` had allocated at once."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


ZEROS = bytes(200 << 20)


def test_a_packed_capture_is_read_in_bounded_memory(tmp_path: Path) -> None:
    path = tmp_path / "bomb.gz"
    head = bytes.fromhex("d4c3b2a1020004000000000000000000ffff000001000000")
    path.write_bytes(gzip.compress(head + ZEROS, mtime=0))  # 12 million records of nothing

    def read() -> None:
        tap = CaptureFile(path)
        for block in tap.blocks():
            if block is not None and block.first_number > 1_000_000:
                tap.stop()
        tap.close()

    assert peak(read) < 32 << 20


def test_packed_messages_are_refused_before_they_are_unpacked() -> None:
    bomb = zlib.compress(b'{"a":"' + ZEROS[: 64 << 20] + b'"}', 9)
    for decode in (plans.PlanMessage.decode, plans.PlanAck.decode, beats.Heartbeat.decode, beats.BeatReply.decode, pods.decode):

        def work(read: Callable[[bytes], object] = decode) -> None:
            with pytest.raises((BadMessage, pods.BadTable)):
                read(bomb)

        assert peak(work) < 80 << 20


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "9" * 100_000, "[" + "9" * 5000 + "]"], ids=["lists", "objects", "number", "numbers"])
def test_deep_or_long_json_is_refused(text: str) -> None:
    for decode in (plans.PlanMessage.decode, plans.PlanAck.decode, beats.Heartbeat.decode, pods.decode):
        with pytest.raises((BadMessage, pods.BadTable)):
            decode(zlib.compress(text.encode()))


@pytest.mark.parametrize("text", [
    "a: &a [x]\nb: [*a, *a]\n", "a: " + "[" * 5000, "a: " + "{b: " * 5000, "? " * 5000, "- " * 5000, "a: !!python/object/apply:os.system [x]\n",
    "a: !!binary " + "A" * 5000, "%TAG ! tag:x\n" * 2000, "\n---\n" * 20_000, "a: " + "9" * 5000 + "\n", "a: |\n" + " x\n" * 20_000,
], ids=["alias", "lists", "mappings", "keys", "sequences", "object", "binary", "tags", "documents", "number", "text"])  # fmt: skip
def test_yaml_bombs_are_answers_not_work(text: str) -> None:
    found = load_text(text, file="f")
    assert not found.objects
    assert all(len(each.reason) < 10_000 for each in found.bad)


@pytest.mark.parametrize("text", ["\\", "udp \\", "(" * 5000, "not " * 2000, "tcp[" * 90, "port 1 or " * 800 + "port 2", "1" * 8000, "::" * 2000, "ip protochain 6"])
def test_pcap_expressions_are_refused_or_compiled(text: str) -> None:
    found = compile_expression(text)
    assert isinstance(found, BadExpression | tuple)


def test_a_table_of_pods_with_another_shape_is_refused() -> None:
    pod = {"namespace": "n", "name": "p", "uid": "u", "node": "k", "ips": [], "labels": {}, "host_network": False,
           "owner_kind": "", "owner_name": "", "containers": [["a", "b", "c"]], "since": 1, "until": None}  # fmt: skip
    row = {"node": "k", "revision": 1, "node_ips": [], "pods": [pod]}
    for bad in (json.dumps(row), json.dumps(row | {"pods": []}).replace('"revision": 1', '"revision": ' + "9" * 5000)):
        with pytest.raises(pods.BadTable):
            pods.decode(zlib.compress(bad.encode()))
