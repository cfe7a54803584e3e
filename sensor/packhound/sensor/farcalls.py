"""Calls that more than one sensor sees: signalling here and media there, or the other way round.

Promise: pure but for watching endpoints in the kernel; times are packet times in ns. Others hear of a call of ours
while a filter wants it and we know where its media will flow. A call of others wants only what filters of our own plan
with scope `call` do, of the names that were told; it is bounded apart from ours and never pushes one of ours out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from packhound.fleet.watches import News
from packhound.rules.plan import HuntPlan
from packhound.sensor.calls import Call, CallBoard, Endpoint, Far, address_of
from packhound.wire.beats import MediaWatch

MAX_FAR = 8192
MAX_ENDS = 64

OnMedia = Callable[["OwnMedia"], None]


@dataclass(frozen=True, slots=True)
class OwnMedia:
    """What others should know of a call of ours: filters that want it and endpoints of its media. Neither: nothing any
    more; `over`: because it ended."""

    call_id: str
    filters: tuple[str, ...] = ()
    endpoints: tuple[tuple[str, int], ...] = ()
    over: bool = False


class FarCalls:
    """What is told of calls of `board`, and what was told to us. Set `on_media` to be told."""

    def __init__(self, board: CallBoard, kernel: Any) -> None:
        self._board, self._kernel = board, kernel
        self._far: set[str] = set()
        self._names: tuple[str, ...] = ()
        self._numbers: dict[str, int] = {}
        self.on_media: OnMedia | None = None
        self.refused = 0

    def __len__(self) -> int:
        return len(self._far)

    def use(self, plan: HuntPlan) -> None:
        """Take a new plan; see `arm`."""
        self._names = tuple(each.name for each in plan.filters)
        self._numbers = {f.name: i for i, f in enumerate(plan.filters) if f.active and f.scope == "call"}

    # ours ------------------------------------------------------------------------------------------------------------

    def tell(self, call: Call) -> None:
        """Say what is new of a call of ours, if anything is."""
        if self.on_media is None:
            return
        told = frozenset(call.own) if call.wanted else frozenset()
        names = tuple(sorted(self._names[i] for i in call.wanted)) if told else ()
        if (names, told) != call.told:
            call.told = names, told
            self.on_media(OwnMedia(call.call_id, names, tuple(sorted(map(_text, told)))))

    def close(self, call: Call) -> None:
        """Forget a call that left the board; when it ended others may forget it too."""
        self._far.discard(call.call_id)
        over = call.ended_at is not None and bool(call.known) and bool(call.wanted)
        if self.on_media is not None and (call.told[0] or over):
            self.on_media(OwnMedia(call.call_id, over=over))

    # theirs ----------------------------------------------------------------------------------------------------------

    def take(self, watch: MediaWatch, news: News, *, now: int, open_: Callable[[str, int], Call]) -> Call | None:
        """Learn what another sensor tells; the call to judge again. `open_` makes one that we do not know."""
        call = self._board.find(watch.call)
        if news is not News.HELD:
            if call is not None and watch.node in call.far:
                self._left(call, watch.node, news, now)
            return None
        if call is None:
            if len(self._far) >= MAX_FAR or self._board.full:
                self.refused += 1
                return None
            call = open_(watch.call, now)
            self._far.add(watch.call)
        elif not call.known:
            call.ended_at = None
        call.far[watch.node] = Far(watch.filters, tuple(_ends(watch)))
        call.last = max(call.last, now)
        return call

    def _left(self, call: Call, node: str, news: News, now: int) -> None:
        """Its teller is done with it, or silent: media that flows keeps it, but not for ever."""
        call.last = max(call.last, now)
        if news is News.OVER:
            del call.far[node]
            if not call.far and not call.known:
                call.ended_at = now
        else:
            call.far[node].leased = False

    def wanted(self, call: Call) -> frozenset[int]:
        """The filters that others say want this call."""
        names = {name for far in call.far.values() for name in far.filters}
        return frozenset(self._numbers[name] for name in names & self._numbers.keys())

    def arm(self, call: Call) -> None:
        """Watch the endpoints that others told, once a filter of ours wants the call."""
        if call.wanted:
            for far in call.far.values():
                for end in self._board.announce(call, far.ends):
                    self._kernel.watch(*end)


def _text(end: Endpoint) -> tuple[str, int]:
    version, packed, port = end
    return str(IPv4Address(packed[:4]) if version == 4 else IPv6Address(packed)), port


def _ends(watch: MediaWatch) -> Iterator[Endpoint]:
    for text, port in watch.endpoints[:MAX_ENDS]:
        found = address_of(text)
        if found is not None and port:
            yield (*found, port)
