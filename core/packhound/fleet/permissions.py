"""Who may say and hear what on the bus: the permissions of each role, as nats-server's configuration has them.

Promise: pure. Nobody gets a subscription to `>`. A sensor publishes on its own subjects only and reads only what is
meant for it; a processor cannot write plans or filters; replies go to an inbox that nobody else may read. What a
stolen credential of a sensor can do is what `permissions("sensor", ...)` says: tests/component/test_bus_permissions.py
tries the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

from packhound.wire.subjects import Subjects, token

Role = Literal["sensor", "processor", "publisher", "viewer", "operator"]
ROLES: tuple[Role, ...] = get_args(Role)
_JS = "$JS.API"


def inbox(role: Role, fleet: str, node: str) -> str:
    """Prefix of the subjects on which answers come to `node` in this role: `BusSettings.inbox`."""
    return f"_INBOX.{Subjects(fleet).fleet}.{role}.{token(node)}"


def permissions(role: Role, fleet: str, node: str) -> dict[str, Any]:
    """The `permissions` of the user that `node` (of a processor, publisher or viewer: its name) connects as."""
    names = Subjects(fleet)
    says, hears = _RIGHTS[role](names, node)
    found: dict[str, Any] = {
        "publish": {"allow": says},
        "subscribe": {"allow": [f"{inbox(role, fleet, node)}.*.*", *hears]},
    }
    if role == "processor":
        found["allow_responses"] = {"max": 1, "expires": "10s"}  # to heartbeats
    return found


def user(role: Role, fleet: str, node: str, *, name: str, password: str) -> dict[str, Any]:
    """A row of `authorization.users`; `password` in clear or as bcrypt."""
    return {"user": name, "password": password, "permissions": permissions(role, fleet, node)}


def _sensor(names: Subjects, node: str) -> tuple[list[str], list[str]]:
    status = f"$KV.{names.status_bucket}.{names.status_key(node)}"
    says = [
        names.packets_of_node(node), names.ack(node), names.heartbeat(node), names.media(node), status,
        _read(names.plans_bucket, names.plan_key_all), _read(names.plans_bucket, names.plan_key(node)),
        _read(names.pods_bucket, names.pods_key(node)), _read(names.status_bucket, names.status_key(node)),
    ]  # fmt: skip
    return says, [names.plan_all, names.plan(node), names.pods(node), names.every_media]


def _processor(names: Subjects, node: str) -> tuple[list[str], list[str]]:
    stream = names.packets_stream
    says = [
        *_makes(names, may_change=(stream, names.dead_stream, f"KV_{names.status_bucket}")),
        f"{_JS}.CONSUMER.INFO.{stream}.*", f"{_JS}.CONSUMER.CREATE.{stream}.>", f"{_JS}.CONSUMER.MSG.NEXT.{stream}.*",
        f"{_JS}.CONSUMER.DELETE.{stream}.*",  # made anew at a take-over: what was not acknowledged comes at once
        f"$JS.ACK.{stream}.>", names.dead(node), names.media(node), *_reads(names),
    ]  # fmt: skip
    return says, [names.heartbeats, names.acks, names.every_media, names.every_pods]


def _publisher(names: Subjects, node: str) -> tuple[list[str], list[str]]:
    plans, filters = names.plans_bucket, names.filters_bucket
    says = [
        *_makes(names, may_change=(f"KV_{plans}", f"KV_{filters}")),
        f"{_JS}.CONSUMER.INFO.{names.packets_stream}.*", f"{_JS}.CONSUMER.CREATE.{names.packets_stream}.>",
        f"$KV.{plans}.>", f"$KV.{filters}.>", f"ph.{names.fleet}.plan.*", *_reads(names),
    ]  # fmt: skip
    return says, [names.acks, names.heartbeats]


def _operator(names: Subjects, node: str) -> tuple[list[str], list[str]]:
    """A publisher that also says which pod is where, and removes a fleet that was deleted."""
    says, hears = _publisher(names, node)
    pods = names.pods_bucket
    others = (f"KV_{pods}", f"KV_{names.status_bucket}", names.packets_stream, names.dead_stream)
    says += [*(f"{_JS}.STREAM.UPDATE.{each}" for each in others), f"$KV.{pods}.>", names.every_pods]
    return says + [f"{_JS}.STREAM.DELETE.{each}" for each in _streams(names)], hears


def _viewer(names: Subjects, node: str) -> tuple[list[str], list[str]]:
    looks = [f"{_JS}.STREAM.INFO.{each}" for each in _streams(names)]
    return [*looks, f"{_JS}.CONSUMER.INFO.{names.packets_stream}.*", *_reads(names)], [names.acks, names.heartbeats]


_RIGHTS: Mapping[Role, Any] = {
    "sensor": _sensor, "processor": _processor, "publisher": _publisher, "viewer": _viewer, "operator": _operator,
}  # fmt: skip


def _streams(names: Subjects) -> list[str]:
    buckets = (names.plans_bucket, names.filters_bucket, names.status_bucket, names.pods_bucket)
    return [names.packets_stream, names.dead_stream, *(f"KV_{bucket}" for bucket in buckets)]


def _makes(names: Subjects, *, may_change: tuple[str, ...]) -> list[str]:
    """Look at every stream and make what is missing; change limits of some. Deleting and emptying is the operator's."""
    found = [f"{_JS}.STREAM.{verb}.{each}" for verb in ("INFO", "CREATE") for each in _streams(names)]
    return found + [f"{_JS}.STREAM.UPDATE.{each}" for each in may_change]


def _read(bucket: str, key: str) -> str:
    return f"{_JS}.DIRECT.GET.KV_{bucket}.$KV.{bucket}.{key}"


def _reads(names: Subjects) -> list[str]:
    """Any key of any bucket, one or many at once."""
    buckets = (names.plans_bucket, names.filters_bucket, names.status_bucket, names.pods_bucket)
    one = [_read(bucket, ">") for bucket in buckets]
    return one + [f"{_JS}.DIRECT.GET.KV_{bucket}" for bucket in buckets]
