"""Fates: wanted packets to the batcher, the rest to the counters.

Promise: every packet handed in is counted once, as matched, unmatched, sampled out or shed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from packhound.net.frame import DecodeConfig, decode
from packhound.sensor.batcher import Batcher
from packhound.sensor.kept import Kept
from packhound.sensor.tap.frames import Block, Interface
from packhound.sensor.verdicts import Verdicts


class Shipping:
    """The last step of the engine: final filter set, budget, size, batch."""

    def __init__(
        self,
        kernel: Any,
        *,
        batcher: Batcher,
        interfaces: Sequence[Interface],
        verdicts: Verdicts,
        config: DecodeConfig | None = None,
    ) -> None:
        self._config = config or DecodeConfig()
        self._kernel = kernel
        self._batcher = batcher
        self._interfaces = interfaces
        self._verdicts = verdicts
        self.counts: Counter[str] = Counter()

    def rows(self, block: Block, rows: npt.NDArray[Any]) -> None:
        """Packets of a block that the kernel found wanted."""
        verdicts = self._verdicts
        fsets = rows["fset"].copy()
        if verdicts.refines:
            self._refine(block, rows, fsets)
        sizes = block.caplen[rows["pkt"]]
        if not verdicts.whole(np.unique(fsets)):
            sizes = np.fromiter(
                (verdicts.keep_bytes(f, c, p) for f, c, p in zip(
                    fsets.tolist(), sizes.tolist(), rows["payload"].tolist(), strict=True)),
                np.uint32, len(rows),
            )  # fmt: skip
        if verdicts.budgets:
            self._charge(block, rows, fsets)
        kept = np.flatnonzero(fsets)
        if len(kept) < len(rows):
            rows, fsets, sizes = rows[kept], fsets[kept], sizes[kept]
        if len(rows):
            self.counts["matched"] += len(rows)
            self._batcher.add_rows(block, rows, fsets, sizes.astype(np.uint32, copy=False), verdicts.flow_calls)

    def _refine(self, block: Block, rows: npt.NDArray[Any], fsets: npt.NDArray[np.uint32]) -> None:
        ifaces = block.iface[rows["pkt"]]
        combos: dict[tuple[int, int, int], int] = {}
        for at, key in enumerate(zip(fsets.tolist(), rows["mask"].tolist(), ifaces.tolist(), strict=True)):
            if key not in combos:
                combos[key] = self._verdicts.final(key[0], key[1], self._interfaces[key[2]].name)
            fsets[at] = combos[key]
        self.counts["unmatched"] += int(np.count_nonzero(fsets == 0))

    def _charge(self, block: Block, rows: npt.NDArray[Any], fsets: npt.NDArray[np.uint32]) -> None:
        pick = rows["pkt"]
        for at in np.flatnonzero(fsets).tolist():
            i = pick[at]
            fsets[at] = self._verdicts.charge(int(fsets[at]), ts=int(block.ts[i]), size=int(block.caplen[i]))
            self.counts["shed"] += not fsets[at]

    def fate(self, pieces: list[Kept], fset: int, *, sampled: bool) -> None:
        """One packet out of its block, or the pieces of one datagram, for filter set `fset` (0: nobody)."""
        if fset and self._verdicts.guarded:
            linktype = self._interfaces[pieces[0].iface].linktype
            fset = self._verdicts.guard(fset, decode(pieces[0].data, linktype=linktype, config=self._config))
        if fset:
            mask = 0
            for each in pieces:
                if self._verdicts.programs:
                    mask |= self._kernel.pcap_mask(each.iface, each.data, each.wirelen)
            fset = self._verdicts.final(fset, mask, self._interfaces[pieces[-1].iface].name)
        for each in pieces:
            self._one(each, fset, sampled)

    def _one(self, packet: Kept, fset: int, sampled: bool) -> None:
        if not fset:
            self.counts["sampled_out" if sampled else "unmatched"] += 1
            return
        if self._verdicts.budgets:
            fset = self._verdicts.charge(fset, ts=packet.ts, size=len(packet.data))
            if not fset:
                self.counts["shed"] += 1
                return
        self.counts["matched"] += 1
        self._batcher.add(packet, fset, size=self._verdicts.keep_bytes(fset, len(packet.data), packet.payload))

    def loose(self, packets: list[Kept]) -> None:
        """Packets that belong to no flow: only filters without a match tree can want them."""
        for packet in packets:
            self.fate([packet], self._verdicts.base, sampled=False)

    def tick(self, now: int) -> None:
        """Close a batch that waits on a quiet wire."""
        self._batcher.tick(now)

    def flush(self) -> None:
        """Close the open batch."""
        self._batcher.flush()
