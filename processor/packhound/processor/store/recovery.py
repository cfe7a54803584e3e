"""What a crash left, taken up at the next start: recordings, and rows on their way into tables.

Promise: with `committed` a file gets back exactly the bytes that were settled, and one of which nothing was is removed;
without, a recording is published up to its last whole packet. Files of living processes are left alone. One thread.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from packhound.net import pcapng
from packhound.processor.store import journal, layout
from packhound.processor.store.layout import Pending
from packhound.processor.store.segments import SUFFIX


class Recovered(NamedTuple):
    """What became of a file that a crash left: where it is now, packets in it (0: nothing, removed), bytes cut off.
    `missing`: bytes that were settled and are not there; `rows`: it holds rows of tables; `hidden`: its name is another
    file's, so it stayed as it was; `name`: its path below the root."""

    path: Path
    packets: int
    cut: int
    missing: int = 0
    rows: bool = False
    hidden: bool = False
    name: str = ""

    def __str__(self) -> str:
        lacks = f", {self.missing} bytes that were settled are missing" if self.missing else ""
        if self.rows:
            return f"recovered rows in {self.path}, {self.cut} bytes cut off{lacks}"
        if not self.packets:
            return f"removed {self.path}: unfinished, {self.cut} bytes, no whole packet{lacks}"
        return f"recovered {self.packets} packets in {self.path}, {self.cut} bytes cut off{lacks}"


def recover(root: Path, committed: Mapping[str, int] | None = None) -> list[Recovered]:
    """Publish recordings that a crash left below `root`, remove unfinished parts of tables. `committed`: good bytes of
    files by path below `root`; None: nobody knows. Raises OSError when a file cannot be read, cut or renamed; doing it
    again goes on where it stopped.
    """
    if committed is None:
        return [_recover_whole(each) for each in layout.orphans(root)]
    found = []
    for each in layout.orphans(root):
        name = str(each.final.relative_to(root))
        found.append(_recover_kept(each, committed.get(name, 0))._replace(name=name))
    return found


def _recover_whole(pending: Pending) -> Recovered:
    size = os.fstat(pending.fd).st_size
    good, packets = _whole(pending, size)
    if not packets:
        layout.discard(pending)
        return Recovered(pending.hidden, 0, size)
    return _publish(pending, Recovered(pending.final, packets, size - good), good)


def _recover_kept(pending: Pending, kept: int) -> Recovered:
    size = os.fstat(pending.fd).st_size
    rows = pending.final.name.endswith(journal.SUFFIX)
    if not kept or not (rows or pending.final.name.endswith(SUFFIX)):
        layout.discard(pending)
        return Recovered(pending.hidden, 0, size)
    good, packets = (min(kept, size), 0) if rows else _whole(pending, min(kept, size))
    found = Recovered(pending.final, packets, size - good, missing=kept - good, rows=rows)
    return _publish(pending, found, good)


def _whole(pending: Pending, size: int) -> tuple[int, int]:
    """Whole bytes and packets of a recording among its first `size` bytes."""
    if not size or not pending.final.name.endswith(SUFFIX):
        return 0, 0
    with mmap.mmap(pending.fd, size, access=mmap.ACCESS_READ) as data, memoryview(data) as view:
        return pcapng.whole_blocks(view)


def _publish(pending: Pending, found: Recovered, good: int) -> Recovered:
    if pending.final.exists():  # somebody took the number meanwhile: leave it, named
        os.close(pending.fd)
        return found._replace(path=pending.hidden, cut=0, hidden=True)
    try:
        os.ftruncate(pending.fd, good)
    except OSError:
        os.close(pending.fd)
        raise
    layout.publish(pending)
    return found
