"""A person at a live fleet: filters edited and watched with the command line, while real sensors capture."""

from __future__ import annotations

import json
import time

import pytest

from tests.support.fleet_processes import Fleet, Wire, fleet, ids, marked, until
from tests.support.hunting import call
from tests.support.nats_server import nats_server, needs_nats

pytestmark = needs_nats
NODES = ["n1", "n2"]


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    """A broker, a processor, two sensors on pipes in which a packet comes by now and then."""
    folder = tmp_path_factory.mktemp("cli")
    with nats_server(folder / "nats") as server, fleet(folder / "fleet", nats=server.url) as made:
        made.processor("p1")
        for host, name in enumerate(NODES, 1):
            made.sensor(name, made.wire(name, host=host, rate=20))
        until(lambda: {row["node"]: row["link"] for row in ask(made, "sensors")} == dict.fromkeys(NODES, "open"))
        yield made


@pytest.fixture(autouse=True)
def _no_filters(request):
    """Each test begins with no filter in force."""
    if "running" not in request.fixturenames:
        return
    made = request.getfixturevalue("running")
    names = [row["name"] for row in ask(made, "filter", "list")]
    if names:
        ask(made, "filter", "rm", *names)


def told(made: Fleet, *words: object) -> tuple[int, str, str]:
    """A command in this process: what `Fleet.command` does in one of its own."""
    where = ("--shared", made.shared) if words[0] == "topology" else ()
    return call(*words, "--nats", made.nats, "--fleet", "t", *where)


def ask(made: Fleet, *words: object) -> object:
    code, out, err = told(made, *words, "--json")
    assert code == 0, (words, out, err)
    return json.loads(out)


def wire(made: Fleet, node: str) -> Wire:
    return made.wires[NODES.index(node)]


def matched(made: Fleet) -> dict[str, int]:
    """Packets matched so far, as each sensor's own metrics say."""
    series = 'packhound_packets_total{outcome="matched",stage="match"}'
    return {each.name: int(each.metrics()[series]) for each in made.processes if each.name in NODES}


def test_an_edit_reaches_every_live_sensor_without_a_restart(running):
    before = {row["node"]: (row["epoch"], row["revision"]) for row in ask(running, "sensors")}
    assert set(matched(running).values()) == {0}
    found = ask(running, "filter", "apply", running.filters(marked()))
    assert (found["acked"], found["rejected"], found["silent"], found["did"]) == (NODES, {}, [], ["t/marked applied"])
    assert found["seconds"] < 5
    count = {node: wire(running, node).write(50) for node in NODES}
    until(lambda: all(each >= 50 for each in matched(running).values()), what="both match")
    ask(running, "filter", "rm", "t/marked")
    time.sleep(0.3)
    still = matched(running)
    for node in NODES:
        wire(running, node).write(50)
    until(lambda: all(seen(running, node) >= count[node] + 50 for node in NODES), what="more was seen")
    assert matched(running) == still
    after = {row["node"]: (row["epoch"], row["revision"]) for row in until(lambda: current(running, found["revision"] + 1))}
    assert {node: epoch for node, (epoch, _) in after.items()} == {node: epoch for node, (epoch, _) in before.items()}
    until(lambda: sum(ids(running.out("p1")).values()) or running.books().sensor("n1").recorded)
    assert all(each.popen.poll() is None for each in running.processes)


def seen(made: Fleet, node: str) -> int:
    process = next(each for each in made.processes if each.name == node)
    return int(process.metrics()['packhound_packets_total{outcome="seen",stage="match"}'])


def current(made: Fleet, revision: int) -> list | None:
    """The sensors, once all of them say that they have this plan."""
    rows = ask(made, "sensors")
    return rows if all(row["revision"] >= revision for row in rows) else None


def test_the_same_filter_again_changes_nothing_and_what_is_there_can_be_listed(running):
    path = running.filters(marked(purpose="numbered packets"), marked("second", suspend=True))
    first, again = (ask(running, "filter", "apply", path) for _ in range(2))
    assert first["revision"] == again["revision"]
    rows = {row["name"]: row for row in ask(running, "filter", "list")}
    assert list(rows) == ["t/marked", "t/second"]
    assert rows["t/marked"] | {"matched": 0, "age_seconds": 0} == {
        "name": "t/marked", "state": "in force", "revision": first["revision"], "sensors": "2/2", "matched": 0, "lost": 0,
        "age_seconds": 0, "purpose": "numbered packets",
    }  # fmt: skip
    assert rows["t/second"]["state"] == "suspended"
    status = ask(running, "filter", "status", "t/marked")
    assert [(row["node"], row["heard"], row["revision"], row["state"], row["reason"]) for row in status] == [
        (node, True, first["revision"], "applied", "") for node in NODES
    ]


def test_as_text_for_people(running):
    code, out, _ = told(running, "filter", "apply", running.filters(marked(purpose="for people")))
    assert code == 0
    assert out.splitlines()[0] == "t/marked applied"
    assert "2 of 2 sensors have it (" in out
    _, out, _ = told(running, "filter", "list")
    heads, row = out.splitlines()
    assert heads.split() == ["NAME", "STATE", "PLAN", "SENSORS", "MATCHED", "LOST", "AGE", "PURPOSE"]
    assert row.startswith("t/marked")
    assert row.endswith("for people")
    _, out, _ = told(running, "filter", "status", "t/marked")
    assert [line.split()[0] for line in out.splitlines()] == ["SENSOR", *NODES]
    _, out, _ = told(running, "sensors")
    assert out.split()[:4] == ["SENSOR", "STATE", "HEARD", "PLAN"]
    assert [line.split()[:2] for line in out.splitlines()[1:]] == [[node, "ok"] for node in NODES]
    _, out, _ = told(running, "topology")
    assert [line.split()[:2] for line in out.splitlines()] == [
        ["WHAT", "NAME"], ["sensor", "n1"], ["sensor", "n2"], ["processor", out.split("processor")[1].split()[0]]
    ]
    assert "shards 0-15" in out
    code, out, _ = told(running, "filter", "rm", "t/marked")
    assert (code, out.splitlines()[0]) == (0, "t/marked removed")


def test_who_is_there_and_has_what(running):
    found = ask(running, "topology")
    assert (found["fleet"], found["shards"]) == ("t", 16)
    parts = {row["name"].partition("/")[0]: row for row in found["parts"]}
    assert set(parts) == {"n1", "n2", "p1"}
    assert (parts["p1"]["what"], parts["p1"]["has"]) == ("processor", "shards 0-15")
    assert {parts[node]["state"] for node in NODES} == {"ok"}
    (row, _) = ask(running, "sensors")
    assert row["modes"]["link"] == "nats"
    assert row["conditions"] == []
    assert (row["lost"], row["kernel_dropped"]) == (0, {})
    assert abs(row["clock_offset_ms"]) < 1000  # the same clock, on a busy host


def test_a_bad_filter_changes_nothing_and_every_place_is_named(running):
    ask(running, "filter", "apply", running.filters(marked()))
    before = ask(running, "filter", "list")
    path = running.filters(
        marked("good"), {**marked("worse"), "spec": {"match": {"field": "sip.nobody", "equals": ["x"]}}},
        marked("bad", schedule={"ttl": "soon"}), name="bad.yaml",
    )  # fmt: skip
    code, out, said = told(running, "filter", "apply", path)
    assert (code, out) == (3, "")
    assert "nothing was changed" in said
    for place in ("bad.yaml:", "worse", "sip.nobody", "bad", "ttl"):
        assert place in said, said
    assert [row["name"] for row in ask(running, "filter", "list")] == [row["name"] for row in before]
    assert ask(running, "filter", "list")[0]["revision"] == before[0]["revision"]
    assert told(running, "filter", "apply", path.with_name("no-such.yaml"))[0] == 3
    empty = path.with_name("nothing.yaml")
    empty.write_text("")
    code, _, said = told(running, "filter", "apply", empty)
    assert (code, "no HuntFilter in" in said) == (3, True)
    for words in (("rm", "t/nobody"), ("status", "t/nobody")):
        code, _, said = told(running, "filter", *words)
        assert (code, "no such filter: t/nobody" in said, "there are: t/marked" in said) == (3, True, True)


def test_suspended_filters_match_nothing_until_they_are_in_force_again(running):
    ask(running, "filter", "apply", running.filters(marked(suspend=True)))
    before = matched(running)
    assert [row["state"] for row in ask(running, "filter", "list")] == ["suspended"]
    goal = {node: wire(running, node).write(30) for node in NODES}
    until(lambda: all(seen(running, node) >= goal[node] for node in NODES))
    assert matched(running) == before
    ask(running, "filter", "apply", running.filters(marked()))
    wire(running, "n1").write(30)
    until(lambda: matched(running)["n1"] >= before["n1"] + 30)


def test_a_ttl_ends_a_filter_by_itself(running):
    ask(running, "filter", "apply", running.filters(marked(schedule={"ttl": "3s"})))
    began = time.monotonic()
    wire(running, "n1").write(10)
    before = until(lambda: (found := matched(running)["n1"]) and found)
    assert [row["state"] for row in ask(running, "filter", "list")] == ["in force"]
    time.sleep(max(0.0, began + 4.0 - time.monotonic()))
    until(lambda: [row["state"] for row in ask(running, "filter", "list")] == ["expired"])
    wire(running, "n1").write(5)  # the sensor's own clock ends it between two blocks
    before = matched(running)["n1"]
    goal = wire(running, "n1").write(30)
    until(lambda: seen(running, "n1") >= goal)
    assert matched(running)["n1"] == before
    again = ask(running, "filter", "apply", running.filters(marked(schedule={"ttl": "3s"})))
    assert again["filters"] == 1
    assert [row["state"] for row in ask(running, "filter", "list")] == ["expired"]  # applied again is not created again


def test_a_broker_that_is_away_is_said_with_what_to_do():
    for words in (["sensors"], ["filter", "list"], ["filter", "rm", "t/x"]):  # each waits for it 5 s
        code, out, said = call(*words, "--nats", "nats://127.0.0.1:1")
        assert (code, out) == (3, "")
        assert "the broker cannot be reached at nats://127.0.0.1:1" in said
        assert "packhound up" in said
    code, _, said = call("sensors", "--nats", "http://127.0.0.1:1")
    assert code == 2
    assert "nats://HOST:PORT" in said
    code, _, said = call("filter", "rm", "--nats", "nats://127.0.0.1:1")
    assert code == 2
