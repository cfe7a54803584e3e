"""How long the output folder keeps things: swept every few minutes beside whoever writes there, counted and logged."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from packhound.kit import logs
from packhound.kit.errors import BadInput
from packhound.kit.metrics import Descriptor, Sample
from packhound.net.sanitise import printable
from packhound.processor.store.folder import is_fleets
from packhound.processor.store.retention import Swept, sweep

SECOND = 1_000_000_000
EVERY = 300.0
DESCRIPTORS = (
    Descriptor("packhound_expired_files", "counter", "files removed because they were older than is kept"),
    Descriptor("packhound_expired_bytes", "counter", "bytes of files removed because they were older than is kept"),
    Descriptor("packhound_expiry_failures", "counter", "files and folders too old that could not be removed"),
)


class Keeping:
    """`seconds` that files of `folder` are kept, 0: for ever; `spared`: a file that must stay for now."""

    def __init__(
        self, folder: Path, seconds: int, *, spared: Callable[[str], bool] = lambda _path: False,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:  # fmt: skip
        self._folder, self._limit, self._spared, self._clock = folder, seconds * SECOND, spared, clock
        self._log = logs.logger("retention")
        self.files = self.bytes = self.faults = 0

    def sweep(self) -> Swept:
        """Remove what is too old now, and tell of it. One thread at a time."""
        found = sweep(self._folder, limit=self._limit, now=self._clock(), spared=self._spared)
        self.files += found.files
        self.bytes += found.bytes
        self.faults += found.faults
        if found.files:
            self._log.info("old files removed", files=found.files, bytes=found.bytes)
        if found.faults:
            self._log.warning("old files stay", count=found.faults, reason=printable(found.fault))
        return found

    def samples(self) -> Iterable[Sample]:
        """Metrics of now."""
        yield Sample("packhound_expired_files", self.files)
        yield Sample("packhound_expired_bytes", self.bytes)
        yield Sample("packhound_expiry_failures", self.faults)


@contextmanager
def kept(folder: Path, seconds: int) -> Iterator[None]:
    """Sweep in a thread of its own while something writes to `folder`. Raises BadInput for a folder of a fleet's
    processor, which does that itself."""
    if seconds and is_fleets(folder):
        raise BadInput(f"{folder} belongs to a fleet's processor: how long it keeps things is set there",
                       notes=("unset output.retention_seconds, or give another folder with --out",))  # fmt: skip
    ended = threading.Event()
    keeping = Keeping(folder, seconds)

    def repeat() -> None:
        keeping.sweep()
        while not ended.wait(EVERY):
            keeping.sweep()

    thread = threading.Thread(target=repeat, name="retention", daemon=True)
    if seconds:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        if seconds:
            thread.join()
