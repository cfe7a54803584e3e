"""Messages that nobody should send, on every subject of a fleet, by everybody who may publish there and by the broker's
administrator, who may publish anywhere."""

from __future__ import annotations

import zlib
from random import Random

from packhound.wire.codec import encode
from packhound.wire.lost import Lost
from tests.chaos.fleet import FLEET, NAMES, await_
from tests.chaos.rounds import Round

NODE = "sensor-1"


def subjects() -> list[str]:
    """Every subject that a fleet listens or stores on."""
    kv = [
        f"$KV.{NAMES.plans_bucket}.{NAMES.plan_key_all}", f"$KV.{NAMES.plans_bucket}.{NAMES.plan_key(NODE)}",
        f"$KV.{NAMES.filters_bucket}.{NAMES.filter_key('hostile')}", f"$KV.{NAMES.status_bucket}.{NAMES.status_key(NODE)}",
        f"$KV.{NAMES.status_bucket}.{NAMES.status_key('nobody')}", f"$KV.{NAMES.pods_bucket}.{NAMES.pods_key(NODE)}",
    ]  # fmt: skip
    return [
        *(NAMES.packets(shard, NODE) for shard in (0, 7, 15)), f"ph.{FLEET}.b.0.=ZZ", f"ph.{FLEET}.b.0.a.b", f"ph.{FLEET}.b.99.x",
        NAMES.dead("processor-1"), NAMES.plan_all, NAMES.plan(NODE), NAMES.ack(NODE), NAMES.heartbeat(NODE),
        NAMES.heartbeat("nobody"), NAMES.media(NODE), NAMES.pods(NODE), *kv,
    ]  # fmt: skip


def payloads(random: Random) -> list[tuple[str, bytes]]:
    """What is wrong with it, and the bytes."""
    noise = random.randbytes(3000)
    return [
        ("empty", b""), ("noise", noise), ("text", b"{" * 2000), ("numbers", b"9" * 40),
        ("a bomb", zlib.compress(bytes(64 << 20), 9)), ("zeros", bytes(1000)),
        ("nearly too large", random.randbytes((1 << 20) - 2048)),
        ("another's parcel", encode(Lost(5, 0, 1, "sensor-2", {("marked",): 3}, "spool_full"))),
    ]  # fmt: skip


def attack(this: Round) -> None:
    fleet = this.fleet
    messages = [(subject, data, {}) for _, data in payloads(this.random) for subject in subjects()]
    this.random.shuffle(messages)
    wrong = fleet.say(messages)
    this.say(f"{len(messages)} malformed messages on {len(subjects())} subjects ({len(wrong)} refused by the broker)")
    large = bytes((1 << 20) + 1)
    refused = fleet.say([(subject, large, {}) for subject in subjects()])
    this.say(f"{len(subjects())} oversize messages: {len(refused)} refused, e.g. {refused[0][-60:]!r}")
    this.check(len(refused) >= len(subjects()), "the broker took an oversize message")
    own = [(subject, data, {}) for _, data in payloads(this.random) for subject in subjects()]
    wrong = fleet.say(own, login=NODE)
    this.say(f"the same with the login of {NODE}: {len(wrong)} of {len(own)} refused")
    outside = [s for s in subjects() if s not in (*(NAMES.packets(n, NODE) for n in (0, 7, 15)), NAMES.ack(NODE),
               NAMES.heartbeat(NODE), NAMES.media(NODE), f"$KV.{NAMES.status_bucket}.{NAMES.status_key(NODE)}")]  # fmt: skip
    this.check(len(wrong) >= len(outside) * len(payloads(this.random)), "a sensor may publish where it should not")

    def buried() -> int:
        return int(fleet.ask(f"STREAM.INFO.{NAMES.dead_stream}")["state"]["messages"])

    expected = 2 * 3 * len(payloads(this.random))
    await_(lambda: buried() >= expected, 30, "dead letters")
    this.say(f"dead letters {buried()}, of parcels at least {expected}")
    _counted(this, expected)
    for words in (("filter", "list"), ("filter", "status", "marked"), ("sensors",), ("topology",)):
        fleet.cli(*words)  # whoever looks is not hurt by what lies in the buckets
    this.say("filter list, filter status, sensors and topology answer")
    fleet.apply()
    await_(lambda: all(row["state"] == "ok" for row in fleet.cli("sensors") if row["node"].startswith("sensor")), 30, "all ok")


#: What counts a malformed message, by who reads the subject it was on.
COUNTED = {
    "processor": {
        "parcels": "packhound_malformed_parcels_total", "heartbeats": "packhound_malformed_heartbeats_total",
        "answers": "packhound_malformed_answers_total", "tables of pods": "packhound_malformed_pods_total",
    },
    "sensor": {
        "plans": "packhound_plan_malformed_total", "tables of pods": "packhound_pods_malformed_total",
        "media watches": "packhound_media_watches_malformed_total",
    },
}  # fmt: skip


def _counted(this: Round, expected: int) -> None:
    """Each subject class is counted by those who read it."""
    fleet = this.fleet
    fleet.say([(NAMES.pods(NODE), b"", {})])  # have what lies there read

    def counts(role: str, metric: str) -> list[float]:
        return [fleet.metrics(name).get(metric, 0.0) for name in fleet.of(role)]

    for role, metrics in COUNTED.items():
        for what, metric in metrics.items():
            await_(lambda role=role, metric=metric: max(counts(role, metric)) > 0, 20, f"{metric} of a {role}")  # type: ignore[misc]
            this.say(f"malformed {what} counted by {role}s: {', '.join(f'{each:.0f}' for each in counts(role, metric))}")
    parcels = sum(counts("processor", COUNTED["processor"]["parcels"]))
    this.check(parcels >= expected, f"{parcels:.0f} malformed parcels counted, {expected} sent")
