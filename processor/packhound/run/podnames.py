"""Names of pods by address and time, from what `kubectl get pods --watch` prints: what the user's own rights show.

Promise: a pod is named only when the address was its own at the time of the packet, as far as the cluster said so
since we look; pods on the network of their node are never named. Bounded by the cluster. One thread.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from packhound.net.sanitise import token

SECOND = 1_000_000_000
KEPT = 8  #: former owners of one address
_COLUMNS = {
    "NS": ".metadata.namespace", "NAME": ".metadata.name", "UID": ".metadata.uid", "IPS": ".status.podIPs[*].ip",
    "HOST": ".spec.hostNetwork", "START": ".status.startTime", "GONE": ".metadata.deletionTimestamp",
    "PHASE": ".status.phase",
}  # fmt: skip
COLUMNS = "custom-columns=" + ",".join(f"{name}:{path}" for name, path in _COLUMNS.items())
_NONE = "<none>"
_OVER = frozenset({"Succeeded", "Failed"})


@dataclass(slots=True)
class _Had:
    """Who had an address from when to when (ns); `until` 0: still."""

    uid: str
    name: str
    since: int
    until: int = 0


class PodNames:
    """What is known. `changed` is called when a pod came."""

    def __init__(self) -> None:
        self.changed: Callable[[], None] = lambda: None
        self._by_address: dict[str, list[_Had]] = {}
        self._addresses: dict[str, tuple[str, ...]] = {}

    def __len__(self) -> int:
        return len(self._addresses)

    def see(self, line: str, *, now: int) -> None:
        """Take in one line of `COLUMNS`."""
        words = line.split()
        if len(words) != len(_COLUMNS):
            return
        space, name, uid, ips, host, start, gone, phase = words
        over = gone != _NONE or phase in _OVER
        addresses = () if host == "true" or ips == _NONE else tuple(ips.split(","))
        if over:
            for address in self._addresses.pop(uid, ()):
                for had in self._by_address.get(address, ()):
                    if had.uid == uid and not had.until:
                        had.until = max(now, _time(gone))
            return
        if not addresses or self._addresses.get(uid) == addresses:
            return
        self._addresses[uid] = addresses
        for address in addresses:
            others = [each for each in self._by_address.get(address, ()) if each.uid != uid]
            owners = [*others, _Had(uid, f"{token(space)}/{token(name)}", _time(start))]
            self._by_address[address] = sorted(owners, key=lambda each: -each.since)[:KEPT]
        self.changed()

    def of(self, address: str, at: int) -> str:
        """`namespace/name` of the pod whose address that was at time `at` (ns); empty when it was none's."""
        for had in self._by_address.get(address, ()):
            if had.since <= at and (not had.until or at < had.until):
                return had.name
        return ""


def _time(text: str) -> int:
    try:
        return int(datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()) * SECOND
    except ValueError:
        return 0
