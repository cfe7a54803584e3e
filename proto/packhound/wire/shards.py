"""Which shard a call or flow goes to, and a batch of many flows as one batch per shard.

Promise: pure. The same call or flow goes to the same shard whoever saw it, whichever way round. `split` keeps every
packet and every message exactly once, in order within its shard and class; no Python object per packet but for the
copy of a packet that lies apart from its neighbours (none with a native `gather`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any
from zlib import crc32

import numpy as np
import numpy.typing as npt

from packhound.wire.batch import Batch, FactLike

RTP, RTCP = 10, 11  #: protocol ids (`packhound.net.signatures.apps.App`, a test holds them together)
MAX_PACKETS = 512
MAX_BYTES = 512 * 1024
ROW_BYTES = 40  #: what a packet takes in columns, Call-ID index included

Gather = Callable[[Any, npt.NDArray[Any], npt.NDArray[Any]], bytes]
Ints = npt.NDArray[np.int64]


def shard_of_call(call_id: str, shards: int) -> int:
    """Shard of a call, 0 to `shards` - 1.

    >>> shard_of_call("a84b4c76e66710@pc33", 16)
    8
    """
    return crc32(call_id.encode("utf-8", "surrogatepass")) % shards


def shard_of_flow(proto: int, a_ip: bytes, a_port: int, b_ip: bytes, b_port: int, shards: int) -> int:
    """Shard of a flow between two ends, the same with the ends exchanged; an address of 4 bytes is that of 16 whose
    rest is 0. Ports are 0 where the protocol has none.

    >>> shard_of_flow(17, b"aaaa", 5060, b"bbbb", 5061, 16) == shard_of_flow(17, b"bbbb", 5061, b"aaaa", 5060, 16)
    True
    """
    one, two = a_ip.ljust(16, b"\0") + a_port.to_bytes(2, "big"), b_ip.ljust(16, b"\0") + b_port.to_bytes(2, "big")
    return crc32(bytes((proto,)) + (one + two if one <= two else two + one)) % shards


def weight_of(fact: FactLike) -> int:
    """About how many bytes a message takes on the wire, never less."""
    total = 32
    for name, value in fact.fields.items():
        total += 24 + len(name)
        for each in value if isinstance(value, tuple | list) else (value,):
            total += 16
            if isinstance(each, str):
                total += len(each) if each.isascii() else 4 * len(each)
            elif isinstance(each, int):
                total += each.bit_length() // 8
    return total


def gather_packets(data: Any, offset: npt.NDArray[Any], sizes: npt.NDArray[Any]) -> bytes:
    """The bytes `data[offset[i] : offset[i] + sizes[i]]`, back to back; neighbours are copied together."""
    if not len(offset):
        return b""
    stops = offset + sizes
    breaks = np.flatnonzero(offset[1:] != stops[:-1]) + 1
    first = np.concatenate(([0], breaks))
    last = np.concatenate((breaks - 1, [len(offset) - 1]))
    view = memoryview(data)
    return b"".join([view[a:b] for a, b in zip(offset[first].tolist(), stops[last].tolist(), strict=True)])


def split(
    batch: Batch,
    shard_of_row: npt.NDArray[Any],
    *,
    max_packets: int = MAX_PACKETS,
    max_bytes: int = MAX_BYTES,
    loose: Mapping[int, int] | None = None,
    gather: Gather = gather_packets,
) -> list[Batch]:
    """Batches of one shard each, media (RTP and RTCP) apart, what is not media first; `shard_of_row` int[n].

    A batch holds at most `max_packets` packets, and at most `max_bytes` in packets, columns and messages unless it
    holds one packet. A message goes with its packet; one without packet (index -1) to the shard that `loose` has for
    its position in `batch.facts`, else to that of the last packet of its flow here, else to shard 0. Messages of one
    packet stand together in `batch.facts`.
    """
    limits = {"max_packets": max_packets, "max_bytes": max_bytes}
    return list(pieces(batch, shard_of_row, **limits, loose=loose, gather=gather))


def pieces(
    batch: Batch,
    shard_of_row: npt.NDArray[Any],
    *,
    max_packets: int = MAX_PACKETS,
    max_bytes: int = MAX_BYTES,
    loose: Mapping[int, int] | None = None,
    gather: Gather = gather_packets,
) -> Iterator[Batch]:
    """The same one at a time: memory of a piece that was let go serves the next."""
    items = _Items(batch, np.asarray(shard_of_row, np.int64), loose or {})
    starts = np.flatnonzero(np.diff(items.key, prepend=-1))
    cuts = [
        cut
        for start, stop in pairwise([*starts.tolist(), len(items.key)])
        for cut in _cuts(items, start, stop, max_packets, max_bytes)
    ]
    if len(cuts) == 1:
        yield replace(batch, shard=items.shard(0), media=items.media(0))
        return
    for cut, facts in zip(cuts, items.facts(cuts), strict=True):
        yield _piece(batch, items, cut, facts, gather)


class _Items:
    """Packets, and messages without packet as items of their own, in the order in which they are shipped.

    `item`: its row, or n + position among the loose messages; `key`: shard and class; `packets` and `bytes`: of all
    items before it.
    """

    def __init__(self, batch: Batch, shard_of_row: Ints, loose: Mapping[int, int]) -> None:
        count = len(batch)
        media = (batch.app == RTP) | (batch.app == RTCP)
        key = (media.astype(np.int64) << 32) | shard_of_row
        weight = batch.caplen.astype(np.int64) + ROW_BYTES
        place = np.arange(count, dtype=np.int64)
        self._batch, self._count = batch, count
        self._alone = [at for at, fact in enumerate(batch.facts) if fact[0] < 0]
        if batch.facts:
            key, weight, place = self._with_facts(key, weight, place, shard_of_row, loose)
        self.item = np.lexsort((place, key))
        self.key = key[self.item]
        self.packets = np.concatenate(([0], np.cumsum(self.item < count)))
        self.bytes = np.concatenate(([0], np.cumsum(weight[self.item])))

    def _with_facts(
        self, key: Ints, weight: Ints, place: Ints, shard_of_row: Ints, loose: Mapping[int, int]
    ) -> tuple[Ints, Ints, Ints]:
        facts = self._batch.facts
        weights = np.array([weight_of(fact[3]) for fact in facts], np.int64)
        packets = np.array([fact[0] for fact in facts], np.int64)
        held = packets >= 0
        np.add.at(weight, packets[held], weights[held])
        after = np.maximum.accumulate(packets)[self._alone]
        step = len(self._alone) + 1
        shards = [self._shard_of(at, loose, shard_of_row) for at in self._alone]
        return (
            np.concatenate((key, np.array(shards, np.int64))),
            np.concatenate((weight, weights[self._alone])),
            np.concatenate((place * step, after * step + np.arange(1, step))),
        )

    def _shard_of(self, at: int, loose: Mapping[int, int], shard_of_row: Ints) -> int:
        if at in loose:
            return loose[at]
        rows = np.flatnonzero(self._batch.flow == self._batch.facts[at][1])
        return int(shard_of_row[rows[-1]]) if len(rows) else 0

    def shard(self, at: int) -> int:
        """Shard of the item that is shipped as number `at`."""
        return int(self.key[at]) & 0xFFFFFFFF

    def media(self, at: int) -> bool:
        """Whether it is media."""
        return bool(self.key[at] >> 32)

    def rows(self, start: int, stop: int) -> Ints:
        """Rows of the packets among those items."""
        found: Ints = self.item[start:stop]
        return found[found < self._count] if self._alone else found

    def facts(self, cuts: list[tuple[int, int]]) -> list[list[tuple[int, int, int, FactLike]]]:
        """The messages of each piece, each with the index of its packet there."""
        out: list[list[tuple[int, int, int, FactLike]]] = [[] for _ in cuts]
        if not self._batch.facts:
            return out
        piece, index = np.empty_like(self.item), np.empty_like(self.item)
        for number, (start, stop) in enumerate(cuts):
            piece[self.item[start:stop]] = number
            index[self.item[start:stop]] = self.packets[start:stop] - self.packets[start]
        number_of = dict(zip(self._alone, range(self._count, len(piece)), strict=True))
        for at, (packet, flow, ts, fact) in enumerate(self._batch.facts):
            item = packet if packet >= 0 else number_of[at]
            out[int(piece[item])].append((int(index[item]) if packet >= 0 else -1, flow, ts, fact))
        return out


def _cuts(items: _Items, start: int, stop: int, max_packets: int, max_bytes: int) -> list[tuple[int, int]]:
    """Where items of one shard and class, `start` to `stop`, are cut."""
    found = []
    while start < stop:
        by_packets = int(np.searchsorted(items.packets, items.packets[start] + max_packets, "right")) - 1
        by_bytes = int(np.searchsorted(items.bytes, items.bytes[start] + max_bytes, "right")) - 1
        cut = max(start + 1, min(stop, by_packets, by_bytes))
        found.append((start, cut))
        start = cut
    return found


def _piece(
    batch: Batch, items: _Items, at: tuple[int, int], facts: list[tuple[int, int, int, FactLike]], gather: Gather
) -> Batch:
    start, stop = at
    rows = items.rows(start, stop)
    fset = batch.fset[rows]
    calls = None if batch.calls is None else batch.calls[rows]
    if calls is not None and all(each is None for each in calls.tolist()):
        calls = None
    wanted = set(fset.tolist())
    caplen = batch.caplen[rows]
    return replace(
        batch,
        ts=batch.ts[rows], caplen=caplen, wirelen=batch.wirelen[rows], iface=batch.iface[rows], flow=batch.flow[rows],
        fset=fset, direction=batch.direction[rows], app=batch.app[rows],
        blob=gather(batch.blob, batch.offsets[rows].astype(np.uint64), caplen),
        fsets={number: names for number, names in batch.fsets.items() if number in wanted},
        facts=facts, calls=calls, shard=items.shard(start), media=items.media(start), _offsets=None,
    )  # fmt: skip
