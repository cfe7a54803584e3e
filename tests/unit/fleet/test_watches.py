"""Media watches without a bus: who is told what, once, again, and when somebody falls silent."""

from __future__ import annotations

import asyncio
import itertools

from packhound.fleet import watches
from packhound.fleet.watches import LEASE_NS, MediaWatches, News
from packhound.wire.beats import MediaWatch

ENDS = (("10.0.0.1", 4000),)


class Air:
    """Nodes that hear each other at once, with one clock; `deaf` ones hear nothing."""

    def __init__(self, *names: str) -> None:
        self.now = LEASE_NS
        self.deaf: set[str] = set()
        self.said = 0
        self.news: dict[str, list[tuple[str, str, News]]] = {name: [] for name in names}
        self.nodes = {name: self._node(name) for name in names}

    def _node(self, name: str) -> MediaWatches:
        async def say(data: bytes) -> None:
            self.said += 1
            for other, node in self.nodes.items():
                if other not in self.deaf:
                    node.heard(data, node=name)

        def use(watch: MediaWatch, news: News) -> None:
            self.news[name].append((watch.node, watch.call, news))

        return MediaWatches(node=name, say=say, use=use, clock=lambda: self.now)

    def do(self, work) -> None:
        asyncio.run(work)


def test_a_watch_is_new_once_and_again_when_it_changes() -> None:
    air = Air("a", "b")
    one = air.nodes["a"]
    air.do(one.tell("c", ["t/x"], ENDS))
    air.do(one.again())
    air.do(one.tell("c", ["t/x"], ENDS))
    assert air.news == {"a": [], "b": [("a", "c", News.HELD)]}
    air.do(one.tell("c", ["t/x", "t/y"], ENDS))
    assert len(air.news["b"]) == 2
    air.do(one.over("c"))
    air.do(one.again())
    assert air.news["b"][2:] == [("a", "c", News.OVER)]


def test_a_teller_may_be_unheard_for_less_than_a_lease() -> None:
    air = Air("a", "b")
    one, other = air.nodes["a"], air.nodes["b"]
    air.do(one.tell("c", ["t/x"], ENDS))
    for _ in range(20):
        air.now += LEASE_NS // 2
        air.do(one.again())
        air.do(other.again())
    assert air.news["b"] == [("a", "c", News.HELD)]
    air.deaf = {"b"}
    air.now += LEASE_NS - 1
    air.do(one.again())
    air.do(other.again())
    assert other.known == 1
    air.now += 1
    air.do(other.again())
    air.do(other.again())
    assert air.news["b"][1:] == [("a", "c", News.SILENT)]
    air.deaf.clear()
    air.do(one.again())
    assert air.news["b"][2:] == [("a", "c", News.HELD)]


def test_the_end_is_heard_of_one_that_had_fallen_silent() -> None:
    air = Air("a", "b")
    one = air.nodes["a"]
    air.do(one.tell("c", ["t/x"], ENDS))
    one.drop("c")
    air.now += LEASE_NS
    air.do(air.nodes["b"].again())
    air.do(one.over("c"))
    assert [news for _, _, news in air.news["b"]] == [News.HELD, News.SILENT, News.OVER]


def test_nobody_speaks_for_another() -> None:
    air = Air("a", "b")
    lie = MediaWatch("c", ("t/x",), ENDS, air.now + 1, "z")
    air.nodes["b"].heard(lie.encode(), node="a")
    air.nodes["b"].heard(b"\xff", node="a")
    assert (air.nodes["b"].malformed, air.news["b"]) == (2, [])


def test_both_sides_are_bounded(monkeypatch) -> None:
    monkeypatch.setattr(watches, "MAX_OWN", 3)
    monkeypatch.setattr(watches, "MAX_KNOWN", 2)
    air = Air("a", "b")
    one, other = air.nodes["a"], air.nodes["b"]
    for number in range(5):
        air.do(one.tell(f"c{number}", ["t/x"], ENDS))
    assert (one.own, one.dropped, other.known, other.dropped) == (3, 2, 2, 1)
    air.do(one.tell("c0", ["t/y"], ENDS))  # what is known may change
    assert other.dropped == 1
    air.now += LEASE_NS  # room is made by those who fell silent
    for call in itertools.islice(["c0", "c1"], 2):
        one.drop(call)
    air.do(one.again())
    assert (other.known, other.dropped) == (1, 1)
