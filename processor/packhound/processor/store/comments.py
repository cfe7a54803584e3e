"""What every recorded packet says of itself: `filter=ns/name protocol=sip flow=1:... call=...`,
and `rate=ns/name:0.5` for a filter that samples.

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
Key = tuple[int, int, int, str | None]


class Comments:
    """Packet options by filter set, protocol, flow, call. `community` names a flow by serial (empty: unknown)."""

    def __init__(self, community: Callable[[int], str], *, rates: Mapping[str, float] | None = None) -> None:
        self._community = community
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
        keys = zip(batch.fset.tolist(), batch.app.tolist(), batch.flow.tolist(), calls, strict=False)
        kept = self._kept
        return [kept.get(key) or self._make(key) for key in keys]

    def _make(self, key: Key) -> bytes:
        fset, app, flow, call = key
        community = self._community(flow) if flow else ""
        names = self._fsets[fset]
        said = comment(names, app=app, community=community, call=call or "", rates=self._rates)
        made = packet_options(comment=said)
        if community or not flow:
            self._kept[key] = made
        return made


def comment(
    filters: tuple[str, ...], *, app: int = 0, community: str = "", call: str = "",
    rates: Mapping[str, float] | None = None,
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
    parts += [f"rate={token(name)}:{rates[name]:g}" for name in filters[:MAX_NAMES] if rates and name in rates]
    return " ".join(parts)
