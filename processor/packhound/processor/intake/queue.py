"""The in-process link: batches from capture threads to the one processor thread.

Promise: bounded in batches and bytes; order of each sender is kept; nothing is dropped here - `put` waits or says no,
and the sender counts what it then loses (`queue_full`). Thread-safe.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator

from packhound.wire.batch import Batch

MAX_BATCHES = 256
MAX_BYTES = 128 << 20


class BatchQueue:
    """Batches on their way; `name` is what metrics call it. One batch always fits, whatever its size."""

    def __init__(self, name: str = "intake", *, max_batches: int = MAX_BATCHES, max_bytes: int = MAX_BYTES) -> None:
        self.name = name
        self.max_batches = max_batches
        self.max_bytes = max_bytes
        self._queue: deque[Batch] = deque()
        self._bytes = 0
        self._packets = 0
        self._closed = False
        self._changed = threading.Condition()

    def put(self, batch: Batch, *, timeout: float | None = None) -> bool:
        """Add a batch, waiting up to `timeout` seconds for room (None: as long as it takes, 0: not at all).

        False: no room in time, or closed; the batch was not taken.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._closed or self._has_room(batch), timeout) or self._closed:
                return False
            self._queue.append(batch)
            self._bytes += len(batch.blob)
            self._packets += len(batch)
            self._changed.notify_all()
            return True

    def _has_room(self, batch: Batch) -> bool:
        if not self._queue:
            return True
        return len(self._queue) < self.max_batches and self._bytes + len(batch.blob) <= self.max_bytes

    def get(self, *, timeout: float | None = None) -> Batch | None:
        """Take the oldest batch, waiting up to `timeout` seconds; None: nothing in time, or closed and empty."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._closed, timeout)
            if not self._queue:
                return None
            batch = self._queue.popleft()
            self._bytes -= len(batch.blob)
            self._packets -= len(batch)
            self._changed.notify_all()
            return batch

    def __iter__(self) -> Iterator[Batch]:
        """Take batches until the queue is closed and empty."""
        while (batch := self.get()) is not None:
            yield batch

    def __len__(self) -> int:
        return len(self._queue)

    @property
    def packets(self) -> int:
        """Packets inside: `in_flight` of the books."""
        return self._packets

    @property
    def bytes(self) -> int:
        """Bytes of packets inside."""
        return self._bytes

    @property
    def closed(self) -> bool:
        """No more batches come in; those inside can still be taken."""
        return self._closed

    def close(self) -> None:
        """Refuse further batches; wake everybody who waits."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
