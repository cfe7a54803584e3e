"""One recording per call, beside the main one, for filters that ask for it (`record: {perCall: true}`).

Promise: at most `max_open` files are open; the call longest silent is closed first and goes on in its next file. Every
further file of a call names the one before in its header, whoever wrote that.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import numpy as np

from packhound.net.sanitise import file_name
from packhound.processor.store.pending import TwoPhase
from packhound.processor.store.segments import Fault, Limits, Recorder
from packhound.wire.batch import Batch

MAX_OPEN = 128
Key = tuple[int, str]
"""Shard and Call-ID."""


def call_stem(call_id: str) -> str:
    """Return the file name of a call without number: a digest that is unique, and what can be read of the Call-ID."""
    digest = hashlib.sha256(call_id.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return f"{digest}-{file_name(call_id, limit=48)}"


class CallFiles:
    """Open recordings by Call-ID below `root`. `preface` is told of every new file (shard, Call-ID, path) and gives the
    comment of its header; `files`: those written in two phases."""

    def __init__(
        self,
        root: Path,
        *,
        limits: Limits,
        application: str,
        max_open: int = MAX_OPEN,
        preface: Callable[[int, str, Path], str] = lambda _shard, _call, _path: "",
        files: TwoPhase | None = None,
        sensors: bool = False,
    ) -> None:
        self._root = root
        self._limits = limits
        self._application = application
        self._max_open = max_open
        self._preface = preface
        self._files = files
        self._sensors = sensors
        self._open: OrderedDict[Key, Recorder] = OrderedDict()
        self.published: list[Path] = []
        self.lost = 0
        self.fault: Fault | None = None

    def write(self, batch: Batch, options: list[bytes], wanted: frozenset[int]) -> bool:
        """Record the packets of `batch` that belong to a call and whose filter set is in `wanted`; what cannot be
        written is counted in `lost` (the main recording has its own books), and the answer is False."""
        if batch.calls is None or not wanted:
            return True
        rows: dict[str, list[int]] = {}
        for at, (call, fset) in enumerate(zip(batch.calls.tolist(), batch.fset.tolist(), strict=True)):
            if call and fset in wanted:
                rows.setdefault(call, []).append(at)
        before = self.lost
        for call, picked in rows.items():
            recorder = self._recorder((batch.shard, call))
            kept = recorder.write(batch, [options[at] for at in picked], rows=np.array(picked, np.int64))
            self.lost += len(picked) - int(kept.sum())
            self.fault = recorder.fault
        return self.lost == before

    def _recorder(self, key: Key) -> Recorder:
        recorder = self._open.get(key)
        if recorder is None:
            recorder = Recorder(
                self._root, name=call_stem(key[1]), application=self._application, limits=self._limits, on_hour=False,
                files=self._files, preface=lambda path: self._preface(*key, path), sensors=self._sensors,
            )  # fmt: skip
            self._open[key] = recorder
            if len(self._open) > self._max_open:
                self._close(next(iter(self._open)))
        self._open.move_to_end(key)
        return recorder

    def _close(self, key: Key) -> None:
        recorder = self._open.pop(key)
        recorder.close()
        self.lost += recorder.unpublished.total()
        self.fault = self.fault or recorder.fault
        self.published.extend(recorder.published)

    def finish(self, call: str, shard: int = 0) -> None:
        """Publish the recording of a call that is over."""
        if (shard, call) in self._open:
            self._close((shard, call))

    def leave(self, shard: int) -> None:
        """Publish the recordings of all calls of a shard: another processor goes on with them."""
        for key in [key for key in self._open if key[0] == shard]:
            self._close(key)

    def close(self) -> None:
        """Publish all."""
        for key in list(self._open):
            self._close(key)
