"""The fault table: what is done to a fleet under load, and what has to hold then."""

from __future__ import annotations

import signal
import time

from tests.chaos import hostile, stores
from tests.chaos.audit import Gap
from tests.chaos.fleet import NAMES, await_
from tests.chaos.hosts import NET, resize, sh
from tests.chaos.needs import FAKETIME
from tests.chaos.rounds import Fault, Round

MIB = 1 << 20


# kill -9 -------------------------------------------------------------------------------------------------------------


def kill_sensor(this: Round) -> None:
    for name in this.fleet.of("sensor"):
        this.kill(name, down=this.random.uniform(0.1, 1.5))
        this.wait(0.3, 1.0)


def kill_processor(this: Round) -> None:
    for name in this.fleet.of("processor"):
        this.takeover(name)
        this.again(name, time.time_ns(), killed=True)
        this.wait(0.5, 2.0)
        this.fleet.await_balance()


def kill_pair(this: Round) -> None:
    """A sensor and a processor at once."""
    at = time.time_ns()
    this.fleet.processes["sensor-1"].kill()
    this.say("kill -9 sensor-1")
    this.takeover("processor-1")
    for name in ("processor-1", "sensor-1"):
        this.again(name, at, killed=True)


def kill_broker(this: Round) -> None:
    for _ in range(2):
        this.kill("broker", down=this.random.uniform(0.1, 3.0))
        this.wait(1.0, 3.0)


def kill_redis(this: Round) -> None:
    for _ in range(2):
        this.kill("redis", down=this.random.uniform(0.1, 3.0))
        this.wait(1.0, 3.0)


def kill_mix(this: Round) -> None:
    """Two to five processes, each at a random moment; several may be down at once."""
    names = list(this.fleet.processes)
    some = [this.random.choice(names) for _ in range(this.random.randint(2, 5))]
    plan = sorted((this.random.uniform(0.0, 4.0), n, name) for n, name in enumerate(some))
    began = time.monotonic()
    down: dict[str, tuple[int, float]] = {}
    while plan or down:
        now = time.monotonic() - began
        if plan and plan[0][0] <= now:
            _, _, name = plan.pop(0)
            if name not in down:
                at, lasts = time.time_ns(), this.random.uniform(0.0, 4.0)
                this.fleet.processes[name].kill()
                this.say(f"kill -9 {name}, down for {lasts:.1f} s")
                down[name] = at, now + lasts
        for name in [name for name, (_, until) in down.items() if until <= now and not name.startswith("sensor")]:
            this.fleet.processes[name].start()
            del down[name]
        sensors = [name for name in down if name.startswith("sensor")]
        if not plan and len(sensors) == len(down):  # last, for they are waited for
            for name in sensors:
                at, until = down.pop(name)
                time.sleep(max(0.0, until - (time.monotonic() - began)))
                this.again(name, at, killed=True)
        time.sleep(0.02)


# an orderly end under load -------------------------------------------------------------------------------------------


def stop_sensor(this: Round) -> None:
    for name in this.fleet.of("sensor"):
        at, began = time.time_ns(), time.monotonic()
        code = this.fleet.processes[name].stop()
        this.say(f"SIGTERM {name}: code {code} after {time.monotonic() - began:.1f} s")
        this.check(code == 0, f"{name} ended with code {code}")
        this.again(name, at, killed=False)


def stop_processor(this: Round) -> None:
    for name in this.fleet.of("processor"):
        began = time.monotonic()
        code = this.fleet.processes[name].stop()
        this.say(f"SIGTERM {name}: code {code} after {time.monotonic() - began:.1f} s")
        this.check(code == 0, f"{name} ended with code {code}")
        this.wait(0.5, 2.0)
        this.fleet.processes[name].start()
        this.fleet.await_balance()


# the broker and the network ------------------------------------------------------------------------------------------


def broker_away(this: Round, seconds: float = 12.0) -> None:
    """Nobody can be told anything: everything goes to the spool, capture goes on."""
    fleet = this.fleet
    fleet.processes["broker"].kill()
    this.say(f"broker away for {seconds:.0f} s")
    time.sleep(seconds)
    for name in fleet.of("sensor"):
        now = fleet.metrics(name)
        this.say(f"{name}: {now['packhound_spool_bytes'] / MIB:.1f} MiB in the spool, RSS {fleet.processes[name].rss / MIB:.0f} MiB")
        this.check(now["packhound_spool_packets"] > seconds * this.fault.rate * 0.8, f"{name} does not spool")
    fleet.processes["broker"].start()
    began = time.monotonic()
    await_(lambda: all(0 <= fleet.waiting(name) < 200_000 for name in fleet.of("sensor")), 120, "drained spools")
    this.numbers["drain_s"] = time.monotonic() - began
    this.say(f"spools drained {time.monotonic() - began:.1f} s after the broker was back, while traffic flowed")


def broker_away_long(this: Round) -> None:
    began = time.monotonic() - this.began
    broker_away(this, 120.0)
    for name, samples in this.rss.items():
        during = [(at - began, size) for at, size in samples if began < at < began + 120]
        early = max(size for at, size in during if at < 40)
        late = max(size for at, size in during if at >= 40)
        this.say(f"{name}: RSS {during[0][1] / MIB:.0f} MiB at first, most {early / MIB:.1f} MiB in the first 40 s, "
                 f"{late / MIB:.1f} MiB after that")  # fmt: skip
        this.numbers["rss_growth_mib"] = max(this.numbers.get("rss_growth_mib", 0.0), (late - early) / MIB)
        this.check(late - early < 10 * MIB, f"{name}: RSS grew by {(late - early) / MIB:.1f} MiB in the last 80 s")


def link_cut(this: Round) -> None:
    host = this.random.randint(1, 2)
    this.hosts.cut(host)
    seconds = this.random.uniform(4.0, 24.0)
    this.say(f"link of host {host} cut for {seconds:.1f} s")
    time.sleep(seconds)
    this.hosts.join(host)
    began = time.monotonic()
    await_(lambda: this.fleet.in_force(f"sensor-{host}"), 90, "the link again")
    this.say(f"sensor-{host} speaks with the broker {time.monotonic() - began:.1f} s after the link was back")


def loss(this: Round) -> None:
    with_what = this.hosts.lossy(1, 5)
    this.hosts.lossy(2, 5)
    this.say(f"5 % of all packets of both links are lost, by {with_what}")
    time.sleep(12)
    gone = this.hosts.clean(1) + this.hosts.clean(2)
    this.say(f"healed; {gone} packets of the links were dropped")
    this.numbers["dropped_on_link"] = gone


def broker_emptied(this: Round) -> None:
    """The broker dies with parcels that it had acknowledged and no processor had settled, and comes back with nothing."""
    fleet = this.fleet
    for name in fleet.of("processor"):
        fleet.processes[name].send(signal.SIGSTOP)
    this.wait(1.0, 2.5)
    fleet.processes["broker"].kill()
    stores.save(fleet)
    fleet.empty_broker()
    fleet.processes["broker"].start()
    for name in fleet.of("processor"):
        fleet.processes[name].send(signal.SIGCONT)
    this.say("broker killed with a backlog and restarted with empty state; processors had been stopped meanwhile")
    await_(lambda: all(fleet.metrics(name).get("packhound_link_up") for name in fleet.of("sensor")), 40, "links again")
    await_(lambda: all(0 <= fleet.waiting(name) < 200_000 for name in fleet.of("sensor")), 60, "sensors that send")
    fleet.apply()
    await_(lambda: all(row["revision"] for row in fleet.cli("sensors")), 40, "sensors that are heard")
    this.say("streams are there again, sensors send, a filter can be applied")


def count_gone(this: Round) -> None:
    """What the emptied broker held and nobody settled."""
    parcels, packets = stores.unsettled(this.fleet)
    this.gone = packets
    this.numbers["gone_packets"] = packets
    this.say(f"of what the broker had acknowledged {parcels} parcels with {packets} packets were settled by nobody")


# disks ---------------------------------------------------------------------------------------------------------------


def spool_cap(this: Round) -> None:
    this.fleet.processes["broker"].kill()
    this.say("broker away for 14 s with a spool of 8 MiB")
    time.sleep(14)
    _say_spools(this)
    this.fleet.processes["broker"].start()


def spool_disk(this: Round) -> None:
    this.fleet.processes["broker"].kill()
    this.say("broker away for 10 s with the spool on a disk of 5 MiB")
    time.sleep(10)
    _say_spools(this)
    for name in this.fleet.of("sensor"):
        this.check(any("disk_full" in each for each in _conditions_of(this, name)), f"{name} does not say disk_full")
    this.fleet.processes["broker"].start()


def _conditions_of(this: Round, name: str) -> list[str]:
    """What a sensor says of losses while nobody can be told: its metrics."""
    return [key for key, value in this.fleet.metrics(name).items() if value and "lost" in key]


def _say_spools(this: Round) -> None:
    for name in this.fleet.of("sensor"):
        now = this.fleet.metrics(name)
        lost = {k.partition("cause=")[2][1:-2]: int(v) for k, v in now.items() if k.startswith("packhound_lost_packets") and v}
        this.say(f"{name}: {now['packhound_spool_bytes'] / MIB:.1f} MiB in the spool, lost {lost}, RSS "
                 f"{this.fleet.processes[name].rss / MIB:.0f} MiB")  # fmt: skip
        this.check(bool(lost), f"{name} lost nothing: the fault did not bite")


def record_disk(this: Round) -> None:
    fleet = this.fleet
    names = fleet.of("processor")
    await_(lambda: all(fleet.metrics(name).get("packhound_held") for name in names), 60, "disks that are full")
    this.say("the disks of recordings are full: processors hold")
    this.wait(3.0)
    for name in names:
        resize(fleet.folder / name, "1g")
    this.say("room again")
    await_(lambda: not any(fleet.metrics(name).get("packhound_held", 1) for name in names), 60, "processors at work")


# slowness ------------------------------------------------------------------------------------------------------------


def slow_processor(this: Round) -> None:
    """One processor hangs for longer than its leases last, then goes on as if nothing had been."""
    name = this.random.choice(this.fleet.of("processor"))
    seconds = this.random.uniform(6.0, 12.0)
    this.fleet.processes[name].send(signal.SIGSTOP)
    time.sleep(seconds)
    holders = this.fleet.holders()
    this.fleet.processes[name].send(signal.SIGCONT)
    this.say(f"{name} hung for {seconds:.1f} s; it had lost {16 - list(holders.values()).count(name)} of 16 shards")
    this.check(name not in holders.values(), "a processor that hangs keeps its shards")
    this.fleet.await_balance()


def slow_processors(this: Round) -> None:
    """All processors hang and the stream is full: no credit, so sensors spool and go on capturing."""
    fleet = this.fleet
    for name in fleet.of("processor"):
        fleet.processes[name].send(signal.SIGSTOP)
    config = fleet.ask(f"STREAM.INFO.{NAMES.packets_stream}")["config"]
    full = fleet.ask(f"STREAM.UPDATE.{NAMES.packets_stream}", {**config, "max_bytes": 2 * MIB})
    this.check("error" not in full, f"{full.get('error')}")
    before = {name: fleet.metrics(name)['packhound_packets_total{outcome="seen",stage="match"}'] for name in fleet.of("sensor")}
    time.sleep(8)
    for name in fleet.of("sensor"):
        now = fleet.metrics(name)
        seen = now['packhound_packets_total{outcome="seen",stage="match"}'] - before[name]
        this.say(f"{name}: {now['packhound_spool_packets']:.0f} packets wait, {seen:.0f} seen meanwhile")
        this.check(now["packhound_spool_packets"] > 2000, f"{name} does not spool")
        this.check(seen > 12000, f"{name} does not capture")
    for name in fleet.of("processor"):
        fleet.processes[name].send(signal.SIGCONT)
    this.say("processors go on")
    began = time.monotonic()
    await_(lambda: all(0 <= fleet.waiting(name) < 200_000 for name in fleet.of("sensor")), 60, "drained spools")
    this.say(f"spools drained within {time.monotonic() - began:.1f} s")


def slow_redis(this: Round) -> None:
    redis = this.fleet.processes["redis"]
    redis.send(signal.SIGSTOP)
    seconds = this.wait(5.0, 8.0)
    redis.send(signal.SIGCONT)
    this.say(f"Redis hung for {seconds:.1f} s")
    this.wait(1.0, 2.0)
    for _ in range(3):
        sh(f"redis-cli -h {NET}.1 DEBUG SLEEP 1.5", check=False)
        this.wait(0.1, 0.6)
    this.say("DEBUG SLEEP 1.5, three times")


# identity, time, hostility -------------------------------------------------------------------------------------------


def twins(this: Round) -> None:
    fleet = this.fleet
    began = time.time_ns()
    twin = fleet.add_sensor("sensor-twin", node="sensor-1", host=2)
    twin.start()
    await_(lambda: fleet.in_force("sensor-twin"), 60, "a twin with a plan")
    at = time.time_ns()
    this.gaps.append(Gap(2, began - 10_000_000_000, at, killed=False))
    this.say("a second sensor with the name of the first is at work")
    said: list[str] = []

    def told() -> bool:
        rows = fleet.cli("sensors")
        said[:] = [each for row in rows for each in row["conditions"]]
        return any("another process speaks for this name" in each for each in said)

    took = await_(told, 40, "packhound sensors telling of the twin")
    this.say(f"packhound sensors after {took:.0f} s: {said[0]!r}")
    metric = [fleet.metrics(name).get("packhound_twin_sensors") for name in fleet.of("processor")]
    this.say(f"processors' packhound_twin_sensors: {metric}")
    this.check(1.0 in metric, "no processor tells of twins")
    code = twin.ended(60.0)
    twin.over = True
    reason = next((row["event"] for row in twin.rows() if "another sensor has had the name" in row["event"]), "nothing")
    this.say(f"sensor-twin, which came later, ended with code {code}: {reason!r}")
    this.check(code == 3 and reason != "nothing", f"the twin ended with code {code}")
    this.gaps.append(Gap(2, at, time.time_ns() + 60_000_000_000, killed=False))
    this.wait(2.0)
    this.check(fleet.processes["sensor-1"].alive, "the elder gave way")


def clock(this: Round) -> None:
    this.wait(8.0)  # two heartbeats
    rows = this.fleet.cli("sensors")
    for row in rows:
        this.say(f"{row['node']}: {row['state']}, clock offset {row['clock_offset_ms'] / 1000:.2f} s, heard "
                 f"{row['age_seconds']} s ago")  # fmt: skip
        this.check(row["state"] == "ok", f"{row['node']} is {row['state']}")
        this.check(row["age_seconds"] < 12, f"{row['node']} heard {row['age_seconds']} s ago")
    offsets = sorted(abs(row["clock_offset_ms"]) / 1000 for row in rows)
    this.check(abs(offsets[-1] - 3600) < 2, f"clock offsets {offsets}")


def _faked(offset: str) -> dict[str, str]:
    return {"LD_PRELOAD": str(FAKETIME), "FAKETIME": offset, "DONT_FAKE_MONOTONIC": "1"}


_CLOCKS = "" if FAKETIME else "libfaketime"


def malformed(this: Round) -> None:
    hostile.attack(this)


FAULTS = {fault.name: fault for fault in (
    Fault("kill-sensor", kill_sensor, "kill -9 of each sensor in turn"),
    Fault("kill-processor", kill_processor, "kill -9 of each processor in turn, take-over measured"),
    Fault("kill-pair", kill_pair, "kill -9 of a sensor and a processor at once"),
    Fault("kill-broker", kill_broker, "kill -9 of the broker, twice"),
    Fault("kill-redis", kill_redis, "kill -9 of Redis, twice"),
    Fault("mix", kill_mix, "kill -9 of anything at random moments", processors=3),
    Fault("stop-sensor", stop_sensor, "SIGTERM of each sensor under load"),
    Fault("stop-processor", stop_processor, "SIGTERM of each processor under load: replicas go and come", processors=3),
    Fault("broker-away", broker_away, "broker away for 12 s under load"),
    Fault("broker-away-2min", broker_away_long, "broker away for 2 minutes under load", slow=True,
          environ={"sensor": {"PACKHOUND_SPOOL_MEMORY_MIB": "8"}}),
    Fault("broker-empty", broker_emptied, "broker restarted with empty state, with a backlog", after=count_gone),
    Fault("link-cut", link_cut, "the link of a host cut"),
    Fault("loss", loss, "5 % packet loss on both links"),
    Fault("spool-cap", spool_cap, "broker away for longer than the spool's cap holds", size=1400,
          may_lose=frozenset({"spool_full"}),
          environ={"sensor": {"PACKHOUND_SPOOL_MIB": "8", "PACKHOUND_SPOOL_MEMORY_MIB": "1"}}),
    Fault("spool-disk", spool_disk, "disk full under the spool", size=1400, may_lose=frozenset({"disk_full"}),
          disks={"sensor-1": "5m", "sensor-2": "5m"}, environ={"sensor": {"PACKHOUND_SPOOL_MEMORY_MIB": "1"}}),
    Fault("record-disk", record_disk, "disk full under the recordings, then room again",
          disks={"processor-1": "5m", "processor-2": "5m"}),
    Fault("slow-processor", slow_processor, "a processor hangs for longer than its leases"),
    Fault("slow-processors", slow_processors, "all processors hang and the stream is full"),
    Fault("slow-redis", slow_redis, "Redis answers slowly"),
    Fault("twins", twins, "two sensors with one name", sensors=1),
    Fault("clock-ahead", clock, "clocks of sensors 1 h ahead of the processors'",
          environ={"processor": _faked("-3600s"), "cli": _faked("-3600s")}, lacks=_CLOCKS),
    Fault("clock-behind", clock, "clocks of sensors 1 h behind the processors'",
          environ={"processor": _faked("+3600s"), "cli": _faked("+3600s")}, lacks=_CLOCKS),
    Fault("clock-one", clock, "clock of one sensor 1 h ahead, of its packets too late by as much", rate=300,
          environ={"sensor-1": _faked("+3600s")}, lacks=_CLOCKS),
    Fault("malformed", malformed, "oversize and malformed messages on every subject",
          environ={"sensor": {"PACKHOUND_FLEET_PODS": "true"}, "processor": {"PACKHOUND_FLEET_PODS": "true"}}),
)}  # fmt: skip
