"""The books: what became of every packet, per sensor and per filter, and the identity that must hold.

    seen             = kernel_dropped + shed + unmatched + sampled_out + duplicate_capture + matched
    matched + resent = delivered + in_flight + spooled + lost
    delivered        = recorded + processed_only + duplicates_dropped

`duplicate_capture` are packets that were seen before on another interface of the node, `resent` those that a sensor
sent again after a reconnect; they arrive as duplicates. Every drop, shed and loss has a cause. Promise: pure, plain
counters; one writer at a time, `add` of finished accounts joins several.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from packhound.wire import checked

MAX_ACCOUNTS = 65_536  #: in books that come from elsewhere
MAX_CAUSES = 64

KERNEL, RING, INTERFACE = "kernel", "ring", "interface"
SHED_MEDIA, SHED_BULK, BUDGET = "shed_media", "shed_bulk", "budget"
SPOOL_FULL, BROKER_REFUSED, QUEUE_FULL = "spool_full", "broker_refused", "queue_full"
DISK_FULL, IO_ERROR, MALFORMED = "disk_full", "io_error", "malformed_batch"


class Residual(NamedTuple):
    """By how much each line of the identity fails; all 0 in books that balance. `seen` is 0 for a filter's account."""

    seen: int
    matched: int
    delivered: int

    def __bool__(self) -> bool:
        return any(self)


@dataclass(slots=True)
class Account:
    """Packets of one sensor or one filter. `by_sensor`: the first line of the identity applies (a filter sees only
    what it matched). Counters by cause: `kernel_dropped`, `shed`, `lost`."""

    by_sensor: bool = True
    seen: int = 0
    unmatched: int = 0
    sampled_out: int = 0
    duplicate_capture: int = 0
    matched: int = 0
    resent: int = 0
    delivered: int = 0
    in_flight: int = 0
    spooled: int = 0
    recorded: int = 0
    processed_only: int = 0
    duplicates_dropped: int = 0
    kernel_dropped: Counter[str] = field(default_factory=Counter)
    shed: Counter[str] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)

    def residual(self) -> Residual:
        """Return what is unaccounted for, line by line."""
        passed = self.kernel_dropped.total() + self.shed.total() + self.unmatched + self.sampled_out + self.matched
        passed += self.duplicate_capture
        sent = self.delivered + self.in_flight + self.spooled + self.lost.total()
        kept = self.recorded + self.processed_only + self.duplicates_dropped
        return Residual(
            self.seen - passed if self.by_sensor else 0, self.matched + self.resent - sent, self.delivered - kept
        )

    def add(self, other: Account) -> None:
        """Add every counter of `other`."""
        for name in _PLAIN:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in _CAUSED:
            getattr(self, name).update(getattr(other, name))

    def as_dict(self) -> dict[str, Any]:
        """Return the counters by name; those with causes as a dict that holds causes counted at least once."""
        plain: dict[str, Any] = {name: getattr(self, name) for name in _PLAIN}
        return plain | {name: {k: v for k, v in sorted(getattr(self, name).items()) if v} for name in _CAUSED}


    @classmethod
    def of_dict(cls, row: Mapping[str, Any], *, by_sensor: bool = True) -> Account:
        """Read what `as_dict` wrote; a counter that is not named is 0. Raises BadMessage."""
        found = cls(by_sensor=by_sensor)
        for name in _PLAIN:
            setattr(found, name, checked.number(row, name, low=-checked.MAX_TIME, default=0))
        for name in _CAUSED:
            setattr(found, name, Counter(checked.entries(row, name, checked.number, limit=MAX_CAUSES)))
        return found


_PLAIN = (
    "seen", "unmatched", "sampled_out", "duplicate_capture", "matched", "resent", "delivered", "in_flight", "spooled",
    "recorded", "processed_only", "duplicates_dropped",
)  # fmt: skip
_CAUSED = ("kernel_dropped", "shed", "lost")


class Books:
    """Accounts by sensor name and by filter name (`ns/name`)."""

    def __init__(self) -> None:
        self.sensors: dict[str, Account] = {}
        self.filters: dict[str, Account] = {}

    def sensor(self, name: str) -> Account:
        """Return the account of a sensor, opened when new."""
        return self.sensors.setdefault(name, Account())

    def filter(self, name: str) -> Account:
        """Return the account of a filter, opened when new."""
        return self.filters.setdefault(name, Account(by_sensor=False))

    def settle(self, sensor: str, wanted: Mapping[tuple[str, ...], int], change: str, *, cause: str = "") -> None:
        """Add packets to counter `change` of the sensor (each once) and of every filter that wanted them.

        `wanted` counts packets by the filters that wanted them; `cause` names why, for counters that have causes.
        `recorded`, `processed_only` and `duplicates_dropped` are delivered too.
        """
        self._settle(self.sensor(sensor), sum(wanted.values()), change, cause)
        for names, count in wanted.items():
            for name in names:
                self._settle(self.filter(name), count, change, cause)

    @staticmethod
    def _settle(account: Account, count: int, change: str, cause: str) -> None:
        if change in _CAUSED:
            getattr(account, change)[cause] += count
            return
        setattr(account, change, getattr(account, change) + count)
        if change in {"recorded", "processed_only", "duplicates_dropped"}:
            account.delivered += count

    def add(self, other: Books) -> None:
        """Add every account of `other`: the sensor's side and the processor's side of one fleet."""
        for name, account in other.sensors.items():
            self.sensor(name).add(account)
        for name, account in other.filters.items():
            self.filter(name).add(account)

    def residuals(self) -> Iterator[tuple[str, Residual]]:
        """Yield the name and residual of every account that does not balance."""
        for kind, accounts in (("sensor", self.sensors), ("filter", self.filters)):
            for name, account in accounts.items():
                if residual := account.residual():
                    yield f"{kind} {name}", residual

    def residual(self) -> int:
        """Return the sum of all that is unaccounted for, without sign: 0 in books that balance."""
        return sum(abs(part) for _, residual in self.residuals() for part in residual)

    def as_dict(self) -> dict[str, Any]:
        """Return all accounts for JSON, with the residual."""
        return {
            "sensors": {name: account.as_dict() for name, account in sorted(self.sensors.items())},
            "filters": {name: account.as_dict() for name, account in sorted(self.filters.items())},
            "residual": self.residual(),
        }

    @classmethod
    def of_dict(cls, row: Mapping[str, Any]) -> Books:
        """Read what `as_dict` wrote. Raises BadMessage."""
        found = cls()
        found.sensors = checked.entries(row, "sensors", _account, limit=MAX_ACCOUNTS)
        found.filters = checked.entries(row, "filters", _filter_account, limit=MAX_ACCOUNTS)
        return found


def _account(row: Mapping[str, Any], key: str) -> Account:
    return Account.of_dict(checked.rows(row[key]))


def _filter_account(row: Mapping[str, Any], key: str) -> Account:
    return Account.of_dict(checked.rows(row[key]), by_sensor=False)
