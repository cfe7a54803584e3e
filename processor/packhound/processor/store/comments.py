"""What every recorded packet says of itself: `filter=ns/name protocol=sip flow=1:... call=...`,
`rate=ns/name:0.5` for a filter that samples, `k8s.src.pod=ns/name` and `k8s.dst.pod=` where the pods are known.

Promise: sanitised, one comment per filters, protocol, flow and call, built once and kept while it is in use; bounded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import repeat

from packhound.net.detect import name_of
from packhound.net.pcapng import packet_options
from packhound.net.sanitise import token
from packhound.wire.batch import Batch

MAX_KEPT = 65_536
MAX_NAMES = 32
Key = tuple[int, int, int, str | None, int]
Ends = Callable[[int, int], tuple[str, str]]


class Comments:
    """Packet options by filter set, protocol, flow, call. `community` names a flow by serial (empty: unknown), `ends`
    the pods of its initiator and responder by serial and time."""

    def __init__(
        self, community: Callable[[int], str], *, rates: Mapping[str, float] | None = None, ends: Ends | None = None
    ) -> None:
        self._community = community
        self._ends = ends
        self._rates = dict(rates or {})
        self._kept: dict[Key, bytes] = {}
        self._fsets: dict[int, tuple[str, ...]] = {}

    def use(self, rates: Mapping[str, float]) -> None:
        """Set the sample rates below 1, by filter name; they are stamped on every packet the filter took."""
        self._rates = dict(rates)
        self._kept.clear()

    def options(self, batch: Batch) -> list[bytes]:
        """Options of every packet of `batch`."""
        if any(self._fsets.get(number, names) != names for number, names in batch.fsets.items()):
            self._kept.clear()  # the numbers mean other filters now
            self._fsets.clear()
        self._fsets.update(batch.fsets)
        if len(self._kept) > MAX_KEPT:
            self._kept.clear()
        calls = repeat(None) if batch.calls is None else batch.calls.tolist()
        ways = repeat(0) if self._ends is None else batch.direction.tolist()
        keys = zip(batch.fset.tolist(), batch.app.tolist(), batch.flow.tolist(), calls, ways, strict=False)
        kept = self._kept
        return [kept.get(key) or self._make(key, int(batch.ts[at])) for at, key in enumerate(keys)]

    def _make(self, key: Key, now: int) -> bytes:
        fset, app, flow, call, way = key
        community = self._community(flow) if flow else ""
        names = self._fsets[fset]
        ends = self._ends(flow, now) if self._ends is not None and flow else ("", "")
        if way == 1:
            ends = ends[1], ends[0]
        said = comment(names, app=app, community=community, call=call or "", rates=self._rates, pods=ends)
        made = packet_options(comment=said)
        if community or not flow:
            self._kept[key] = made
        return made


def comment(
    filters: tuple[str, ...], *, app: int = 0, community: str = "", call: str = "",
    rates: Mapping[str, float] | None = None, pods: tuple[str, str] = ("", ""),
) -> str:  # fmt: skip
    r"""Return the comment of a packet.

    >>> comment(("voice/alice",), app=9, community="1:abc=", call="a b@host")
    'filter=voice/alice protocol=sip flow=1:abc= call=a\\x20b@host'
    """
    names = ",".join(token(name) for name in filters[:MAX_NAMES])
    more = f",+{len(filters) - MAX_NAMES}" if len(filters) > MAX_NAMES else ""
    parts = [f"filter={names}{more}"] if filters else []
    parts.append(f"protocol={name_of(app)}")
    if community:
        parts.append(f"flow={community}")
    if call:
        parts.append(f"call={token(call)}")
    parts += [f"k8s.{end}.pod={pod}" for end, pod in zip(("src", "dst"), pods, strict=True) if pod]
    parts += [f"rate={token(name)}:{rates[name]:g}" for name in filters[:MAX_NAMES] if rates and name in rates]
    return " ".join(parts)
