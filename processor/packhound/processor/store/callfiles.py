"""One recording per call, beside the main one, for filters that ask for it (`record: {perCall: true}`).

Promise: at most `max_open` files are open; the call longest silent is closed first and goes on in its next file.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from pathlib import Path

import numpy as np

from packhound.net.sanitise import file_name
from packhound.processor.store.segments import Fault, Limits, Recorder
from packhound.wire.batch import Batch

MAX_OPEN = 128


def call_stem(call_id: str) -> str:
    """Return the file name of a call without number: a digest that is unique, and what can be read of the Call-ID."""
    digest = hashlib.sha256(call_id.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return f"{digest}-{file_name(call_id, limit=48)}"


class CallFiles:
    """Open recordings by Call-ID below `root`."""

    def __init__(self, root: Path, *, limits: Limits, application: str, max_open: int = MAX_OPEN) -> None:
        self._root = root
        self._limits = limits
        self._application = application
        self._max_open = max_open
        self._open: OrderedDict[str, Recorder] = OrderedDict()
        self.published: list[Path] = []
        self.lost = 0
        self.fault: Fault | None = None

    def write(self, batch: Batch, options: list[bytes], wanted: frozenset[int]) -> None:
        """Record the packets of `batch` that belong to a call and whose filter set is in `wanted`; what cannot be
        written is counted in `lost` (the main recording has its own books)."""
        if batch.calls is None or not wanted:
            return
        rows: dict[str, list[int]] = {}
        for at, (call, fset) in enumerate(zip(batch.calls.tolist(), batch.fset.tolist(), strict=True)):
            if call and fset in wanted:
                rows.setdefault(call, []).append(at)
        for call, picked in rows.items():
            recorder = self._recorder(call)
            kept = recorder.write(batch, [options[at] for at in picked], rows=np.array(picked, np.int64))
            self.lost += len(picked) - int(kept.sum())
            self.fault = recorder.fault

    def _recorder(self, call: str) -> Recorder:
        recorder = self._open.get(call)
        if recorder is None:
            recorder = Recorder(
                self._root, name=call_stem(call), application=self._application, limits=self._limits, on_hour=False
            )
            self._open[call] = recorder
            if len(self._open) > self._max_open:
                self._close(next(iter(self._open)))
        self._open.move_to_end(call)
        return recorder

    def _close(self, call: str) -> None:
        recorder = self._open.pop(call)
        recorder.close()
        self.lost += recorder.unpublished.total()
        self.fault = self.fault or recorder.fault
        self.published.extend(recorder.published)

    def finish(self, call: str) -> None:
        """Publish the recording of a call that is over."""
        if call in self._open:
            self._close(call)

    def close(self) -> None:
        """Publish all."""
        for call in list(self._open):
            self._close(call)
