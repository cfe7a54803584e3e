"""The fault table: what is done to a fleet under load, and what has to hold then."""

from __future__ import annotations

import signal
import time

from tests.chaos.rounds import Fault, Round


def kill_sensor(this: Round) -> None:
    for name in this.fleet.of("sensor"):
        this.kill(name, down=this.random.uniform(0.1, 1.5))
        this.wait(0.3, 1.0)


def kill_processor(this: Round) -> None:
    for name in this.fleet.of("processor"):
        this.takeover(name)
        at = time.time_ns()
        this.again(name, at, killed=True)
        this.wait(0.5, 2.0)
        this.fleet.await_balance()


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


FAULTS = {fault.name: fault for fault in (
    Fault("kill-sensor", kill_sensor, "kill -9 of each sensor in turn"),
    Fault("kill-processor", kill_processor, "kill -9 of each processor in turn, take-over measured"),
    Fault("kill-broker", kill_broker, "kill -9 of the broker, twice"),
    Fault("kill-redis", kill_redis, "kill -9 of Redis, twice"),
    Fault("mix", kill_mix, "kill -9 of anything at random moments", processors=3),
)}  # fmt: skip
