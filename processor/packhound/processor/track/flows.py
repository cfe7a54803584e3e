"""What batches say of flows until their records come: filters, call, community id, the two ends.

Promise: pure, bounded (the flow longest silent is forgotten, counted). The community id and the ends are read from the
first packet of a flow that shows them; a fragment does not. Notes can be saved one by one and taken up elsewhere.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from packhound.net.community import community_id
from packhound.net.flowrow import address_text
from packhound.net.frame import DecodeConfig, Status, decode
from packhound.processor.track.dialog import Peer
from packhound.wire.batch import Batch

CAPACITY = 262_144
_DECODE = DecodeConfig()


@dataclass(slots=True)
class Note:
    """One flow: names of all filters that wanted a packet of it, Call-ID, community id, ends (sender of the first
    packet read first); empty: not known."""

    filters: dict[str, None] = field(default_factory=dict)
    call: str = ""
    community: str = ""
    ends: tuple[Peer, ...] = ()


_NOTHING = Note()


class FlowNotes:
    """Notes by flow serial of one sensor."""

    def __init__(self, *, capacity: int = CAPACITY, config: DecodeConfig = _DECODE) -> None:
        self._notes: OrderedDict[int, Note] = OrderedDict()
        self._capacity = capacity
        self._config = config
        self._changed: set[int] = set()
        self.forgotten = 0

    def __len__(self) -> int:
        return len(self._notes)

    def see(self, batch: Batch) -> None:
        """Take in a batch."""
        serials, firsts = np.unique(batch.flow, return_index=True)
        for serial, first in zip(serials.tolist(), firsts.tolist(), strict=True):
            if serial:
                note = self._note(serial)
                if not note.community:
                    self._read(serial, note, batch, first)
        for serial, fset in set(zip(batch.flow.tolist(), batch.fset.tolist(), strict=True)):
            if serial:
                note = self._notes[serial]
                known = len(note.filters)
                note.filters.update(dict.fromkeys(batch.fsets[fset]))
                if len(note.filters) > known:
                    self._changed.add(serial)
        if batch.calls is not None:
            for serial, call in set(zip(batch.flow.tolist(), batch.calls.tolist(), strict=True)):
                if serial and call and self._notes[serial].call != call:
                    self._notes[serial].call = call
                    self._changed.add(serial)
        self._bound()

    def _bound(self) -> None:
        while len(self._notes) > self._capacity:
            serial, _ = self._notes.popitem(last=False)
            self._changed.add(serial)
            self.forgotten += 1

    def _note(self, serial: int) -> Note:
        note = self._notes.get(serial)
        if note is None:
            note = self._notes[serial] = Note()
        else:
            self._notes.move_to_end(serial)
        return note

    def _read(self, serial: int, note: Note, batch: Batch, index: int) -> None:
        linktype = batch.interfaces[int(batch.iface[index])].linktype
        frame = decode(batch.packet(index), linktype=linktype, config=self._config)
        if not frame.ip_version or frame.status == Status.FRAGMENT:
            return
        self._changed.add(serial)
        size = 4 if frame.ip_version == 4 else 16
        note.community = community_id(
            proto=frame.proto, src=frame.src[:size], dst=frame.dst[:size], sport=frame.sport, dport=frame.dport
        )
        note.ends = (
            Peer(address_text(frame.src, version=frame.ip_version), frame.sport),
            Peer(address_text(frame.dst, version=frame.ip_version), frame.dport),
        )

    def of(self, serial: int) -> Note:
        """Return what is known of a flow; an empty note when nothing is."""
        return self._notes.get(serial, _NOTHING)

    def community(self, serial: int) -> str:
        """Community id of a flow, empty when not known."""
        return self.of(serial).community

    def forget(self, serials: Iterable[int]) -> None:
        """Drop flows whose records have come."""
        for serial in serials:
            if self._notes.pop(serial, None) is not None:
                self._changed.add(serial)

    def clear(self) -> None:
        """Drop every flow."""
        self.forget(list(self._notes))

    def changed(self) -> dict[int, bytes | None]:
        """What is to be saved since the last time asked, by serial; None: forgotten."""
        found = {serial: _saved(self._notes[serial]) if serial in self._notes else None for serial in self._changed}
        self.unchanged()
        return found

    def unchanged(self) -> None:
        """Forget what is to be saved."""
        self._changed.clear()

    def restore(self, serial: int, saved: bytes) -> bool:
        """Take up a note that was saved; False when it is none."""
        note = _restored(saved)
        if note is None:
            return False
        self._notes[serial] = note
        self._bound()
        return True


def _saved(note: Note) -> bytes:
    return json.dumps([list(note.filters), note.call, note.community, note.ends], separators=(",", ":")).encode()


def _restored(saved: bytes) -> Note | None:
    try:
        filters, call, community, ends = json.loads(saved)
        found = tuple(Peer(str(address), int(port)) for address, port in ends)
        return Note(dict.fromkeys(map(str, filters)), str(call), str(community), found)
    except (ValueError, TypeError):
        return None
