"""Which pod had which address when: what the operator publishes per node, and how it is looked up.

Promise: pure. A table that does not decode is refused whole with `BadTable`; nothing in it is trusted beyond its shape.
An address that several pods share with their node (hostNetwork) names the node, never a pod.
"""

from __future__ import annotations

import json
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

MAX_BYTES = 16 << 20  #: of a table, unpacked
MAX_PODS = 4096  #: of a node, with those that went lately
KEPT_NS = 600 * 1_000_000_000  #: how long a pod that went stays in its table


class BadTable(ValueError):
    """Bytes that are no pod table; the message is ours."""


@dataclass(frozen=True, slots=True)
class Pod:
    """One pod: addresses as text, labels (those that may be shown), the workload that owns it, containers as
    (name, id); `since` and `until` in ns since the epoch, `until` None while it lives."""

    namespace: str
    name: str
    uid: str
    node: str
    ips: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    host_network: bool = False
    owner_kind: str = ""
    owner_name: str = ""
    containers: tuple[tuple[str, str], ...] = ()
    since: int = 0
    until: int | None = None

    def had(self, at: int) -> bool:
        """Tell whether its addresses were its own at time `at` (ns)."""
        return self.since <= at and (self.until is None or at < self.until)


@dataclass(frozen=True, slots=True)
class PodTable:
    """The pods of one node; `revision` only grows; `node_ips`: addresses of the node itself."""

    node: str
    revision: int
    node_ips: tuple[str, ...] = ()
    pods: tuple[Pod, ...] = ()

    def encode(self) -> bytes:
        """The table as bytes."""
        return zlib.compress(json.dumps(asdict(self), separators=(",", ":"), sort_keys=True).encode())


def decode(data: bytes) -> PodTable:
    """Read a table. Raises BadTable."""
    unpack = zlib.decompressobj()
    try:
        text = unpack.decompress(data, MAX_BYTES)
        if unpack.unconsumed_tail or not unpack.eof:
            raise BadTable("table is larger than its cap or cut short")
        return _table(json.loads(text))
    except BadTable:
        raise
    except (zlib.error, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise BadTable(f"table cannot be read: {type(error).__name__}") from None
    except (KeyError, TypeError, AttributeError, ValueError) as error:  # numbers of too many digits, pairs of three
        raise BadTable(f"table has another shape: {type(error).__name__}") from None


def _table(row: dict[str, Any]) -> PodTable:
    if len(row["pods"]) > MAX_PODS:
        raise BadTable(f"more than {MAX_PODS} pods on one node")
    pods = tuple(map(_pod, row["pods"]))
    return PodTable(_text(row["node"]), _number(row["revision"]), _texts(row["node_ips"]), pods)


def _pod(row: dict[str, Any]) -> Pod:
    return Pod(
        namespace=_text(row["namespace"]), name=_text(row["name"]), uid=_text(row["uid"]), node=_text(row["node"]),
        ips=_texts(row["ips"]), labels={_text(key): _text(value) for key, value in row["labels"].items()},
        host_network=row["host_network"] is True, owner_kind=_text(row["owner_kind"]),
        owner_name=_text(row["owner_name"]),
        containers=tuple((_text(name), _text(number)) for name, number in row["containers"]),
        since=_number(row["since"]), until=None if row["until"] is None else _number(row["until"]),
    )  # fmt: skip


def _text(value: Any) -> str:
    if not isinstance(value, str) or len(value) > 1024:
        raise TypeError
    return value


def _number(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError
    return value


def _texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise TypeError
    return tuple(map(_text, value))


class PodBook:
    """The tables of some or all nodes; a newer table of a node replaces its older one."""

    def __init__(self) -> None:
        self._tables: dict[str, PodTable] = {}
        self._by_ip: dict[str, list[Pod]] = {}
        self._nodes: dict[str, str] = {}
        self._stale = False

    @property
    def revision(self) -> int:
        """The highest revision of any table."""
        return max((each.revision for each in self._tables.values()), default=0)

    def take(self, table: PodTable) -> bool:
        """Put in a table; False when it is no newer than the one held."""
        held = self._tables.get(table.node)
        if held is not None and held.revision >= table.revision:
            return False
        self._tables[table.node] = table
        self._stale = True
        return True

    def copy(self) -> PodBook:
        """The same tables in a book of their own, for another thread."""
        made = PodBook()
        made._tables = dict(self._tables)
        made._stale = True
        return made

    def drop(self, node: str) -> None:
        """Forget a node that is gone."""
        if self._tables.pop(node, None) is not None:
            self._stale = True

    def _index(self) -> None:
        by_ip: dict[str, list[Pod]] = defaultdict(list)
        self._nodes = {}
        for table in self._tables.values():
            self._nodes.update(dict.fromkeys(table.node_ips, table.node))
            for pod in table.pods:
                for address in pod.ips if not pod.host_network else ():
                    by_ip[address].append(pod)
        self._by_ip = {address: sorted(pods, key=lambda pod: -pod.since) for address, pods in by_ip.items()}
        self._stale = False

    def find(self, address: str, at: int) -> Pod | None:
        """The pod whose own address that was at time `at` (ns); None when it was none's."""
        if self._stale:
            self._index()
        if address in self._nodes:
            return None
        return next((pod for pod in self._by_ip.get(address, ()) if pod.had(at)), None)

    def node_of(self, address: str) -> str:
        """The node whose own address that is, or empty."""
        if self._stale:
            self._index()
        return self._nodes.get(address, "")

    def addresses(self, field: str, test: Callable[[str], bool], *, at: int | None = None) -> tuple[str, ...]:
        """Addresses of the pods one of whose values of the registry field `field` passes `test`, sorted; of those
        that live, or lived at time `at`."""
        return tuple(sorted({
            address
            for table in self._tables.values() for pod in table.pods
            if not pod.host_network and (pod.until is None if at is None else pod.had(at))
            and any(map(test, values_of(pod, field)))
            for address in pod.ips if address not in table.node_ips
        }))  # fmt: skip


def values_of(pod: Pod, field: str) -> Iterable[str]:
    """What a pod says in a `k8s.*` or `container.*` field of the registry; a label as `key=value`."""
    match field:
        case "k8s.namespace":
            return (pod.namespace,)
        case "k8s.pod.name":
            return (pod.name,)
        case "k8s.pod.uid":
            return (pod.uid,)
        case "k8s.pod.label":
            return (f"{key}={value}" for key, value in pod.labels.items())
        case "k8s.workload":
            return (f"{pod.owner_kind}/{pod.owner_name}",) if pod.owner_name else ()
        case "k8s.node.name":
            return (pod.node,)
        case "container.id":
            return (number for _, number in pod.containers)
    return ()
