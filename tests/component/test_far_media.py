"""Two engines, signalling before one and media before the other: what one tells makes the other take what is the
call's, as if it had seen both, within the guards of its own plan, with either kernel."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from packhound.fleet.watches import News
from packhound.rules.compile import compile_plan
from packhound.sensor.agent import Agent, AgentSettings
from packhound.sensor.farcalls import OwnMedia
from packhound.sensor.tap.merge import open_captures
from packhound.wire.beats import MediaWatch
from tests.support.hunts import hunt
from tests.support.tape import Tape, phone_call

ALICE = {"field": "sip.user", "equals": "alice"}


def is_sip(frame: bytes) -> bool:
    return b"SIP/2.0" in frame


class Engine:
    """One engine over some frames: what it shipped, as (call, filters, frame), and what it told."""

    def __init__(self, folder: Path, frames: list[bytes], *filters, guards=None, kernel: str, heard=()) -> None:
        self.shipped: list[tuple[str, tuple[str, ...], bytes]] = []
        self.told: list[OwnMedia] = []
        path = Tape().add(*frames).save(folder / f"{kernel}-{len(list(folder.iterdir()))}.pcap")
        agent = Agent(open_captures([str(path)]), settings=AgentSettings(kernel=kernel), on_batch=self._take,
                      on_flows=lambda *_: None, on_media=self.told.append)  # fmt: skip
        agent.set_plan(compile_plan(filters, revision=1, now=0, check_pcap=lambda _: None, guards=guards or {}).plan)
        for watch, news in heard:
            assert agent.hear(watch, news)
        agent.run()
        counters = agent.counters()
        assert counters["matched"] == len(self.shipped)
        assert counters["seen"] == sum(counters[k] for k in ("matched", "unmatched", "sampled_out", "shed")) == len(frames)

    def _take(self, batch) -> None:
        for at in range(len(batch)):
            call = str(batch.calls[at]) if batch.calls is not None else ""
            self.shipped.append((call, tuple(sorted(batch.fsets[int(batch.fset[at])])), bytes(batch.packet(at))))

    def watches(self) -> list[tuple[MediaWatch, News]]:
        """What others hear of it."""
        return [
            (MediaWatch(each.call_id, each.filters, each.endpoints, 1, "a", over=each.over), News.HELD)
            for each in self.told if each.filters
        ]  # fmt: skip


@pytest.mark.parametrize("kernel", ["portable", "native"])
def test_both_halves_are_what_one_engine_takes_that_sees_all(tmp_path: Path, kernel: str) -> None:
    frames = phone_call(call="c1@x") + phone_call(call="c2@x", user="carol", media=(6000, 7000))
    said, media = [each for each in frames if is_sip(each)], [each for each in frames if not is_sip(each)]
    alone = Engine(tmp_path, frames, hunt(ALICE, name="a"), kernel=kernel)
    near = Engine(tmp_path, said, hunt(ALICE, name="a"), kernel=kernel)
    far = Engine(tmp_path, media, hunt(ALICE, name="a"), kernel=kernel, heard=near.watches())
    assert [each.call_id for each in near.told] == ["c1@x", "c1@x"]  # the offer, and the answer
    assert far.told == []
    assert Counter(near.shipped + far.shipped) == Counter(alone.shipped)
    assert {call for call, _, _ in far.shipped} == {"c1@x"}


@pytest.mark.parametrize("kernel", ["portable", "native"])
@pytest.mark.parametrize(
    ("guard", "some"),
    [(None, True), (["10.0.0.1"], True), (["10.0.0.77"], False), ([], False)],
)
def test_what_others_tell_opens_no_guard(tmp_path: Path, kernel: str, guard: list[str] | None, some: bool) -> None:
    frames = phone_call(call="c1@x")
    said, media = [each for each in frames if is_sip(each)], [each for each in frames if not is_sip(each)]
    near = Engine(tmp_path, said, hunt(ALICE, name="a"), kernel=kernel)
    guards = {} if guard is None else {"a": guard}
    far = Engine(tmp_path, media, hunt(ALICE, name="a"), guards=guards, kernel=kernel, heard=near.watches())
    assert len(far.shipped) == (len(media) if some else 0)


@pytest.mark.parametrize("kernel", ["portable", "native"])
def test_only_filters_for_calls_that_are_in_force_here_can_be_told_of(tmp_path: Path, kernel: str) -> None:
    media = [each for each in phone_call(call="c1@x") if not is_sip(each)]
    filters = hunt({"field": "port", "equals": 9}, name="flows"), hunt(ALICE, name="off", suspend=True)
    watch = MediaWatch("c1@x", ("flows", "off", "unknown"), (("10.0.0.1", 4000),), 1, "a")
    assert Engine(tmp_path, media, *filters, kernel=kernel, heard=[(watch, News.HELD)]).shipped == []


@pytest.mark.parametrize("kernel", ["portable", "native"])
def test_signalling_over_two_nodes_is_one_call_where_one_of_them_reads_who_calls(tmp_path: Path, kernel: str) -> None:
    """The answer comes by another node, which knows from the first that the call is wanted, and tells its endpoint."""
    frames = [each for each in phone_call(call="c1@x") if is_sip(each)]
    asked, rest = frames[:1], frames[1:]
    other = hunt({"field": "sip.method", "equals": "INVITE"}, name="a")
    near = Engine(tmp_path, asked, other, kernel=kernel)
    assert near.shipped
    late = Engine(tmp_path, rest, other, kernel=kernel, heard=near.watches())
    assert Counter(frame for _, _, frame in late.shipped) == Counter(rest)
    assert [(each.call_id, each.endpoints) for each in late.told] == [("c1@x", (("10.0.0.2", 5000), ("10.0.0.2", 5001)))]
