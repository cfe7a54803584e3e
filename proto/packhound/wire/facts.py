"""Dissected messages as columns: kind, packet, flow, time, and fields whose names and texts a batch says once.

Promise: pure; MalformedParcel is the only exception of reading. A value comes back as the type it had: text (lone
surrogates too), whole number of any size, double, truth, or a tuple of those.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from struct import Struct
from typing import Any, Final

import numpy as np

from packhound.wire.batch import FactLike
from packhound.wire.columns import from_bytes, names_in, text_in, text_out
from packhound.wire.envelope import MalformedParcel
from packhound.wire.v1 import packets_pb2 as pb

MAX_FACTS = 65_536  #: of a batch
MAX_VALUES = 1 << 18  #: of all facts of a batch
MAX_BIG = 4096  #: bytes of a whole number

TEXT: Final = 1
NUMBER: Final = 2
REAL: Final = 3
TRUTH: Final = 4
BIG: Final = 5
LIST: Final = 7
_LOW, _HIGH = -(1 << 63), 1 << 63
_DOUBLE, _BITS = Struct("<d"), Struct("<q")

Row = tuple[int, int, int, FactLike]


@dataclass(frozen=True, slots=True)
class Fact:
    """One dissected message, as `packhound.net.facts.Fact`."""

    kind: str
    fields: Mapping[str, Any] = field(default_factory=dict)


def values_of(fact: FactLike) -> int:
    """How many values a fact takes on the wire."""
    return sum(1 + len(each) if isinstance(each, tuple) else 1 for each in fact.fields.values())


# writing -------------------------------------------------------------------------------------------------------------


class _Writer:
    """Values so far: tags, payloads, and the tables that payloads point into."""

    def __init__(self) -> None:
        self.tags = bytearray()
        self.payloads: list[int] = []
        self.texts: dict[str, int] = {}
        self.bigs: list[bytes] = []

    def put(self, value: Any) -> None:
        """Add one value."""
        kind = type(value)
        if kind is str:
            self._one(TEXT, self.texts.setdefault(value, len(self.texts)))
        elif kind is int and _LOW <= value < _HIGH:
            self._one(NUMBER, value)
        elif isinstance(value, tuple | list):
            self._one(LIST, len(value))
            for each in value:
                if isinstance(each, tuple | list):
                    raise TypeError("a value of a message is a list of lists")
                self.put(each)
        else:
            self._other(value.item() if isinstance(value, np.generic) else value)

    def _one(self, tag: int, payload: int) -> None:
        self.tags.append(tag)
        self.payloads.append(payload)

    def _other(self, value: Any) -> None:
        if isinstance(value, bool):
            self._one(TRUTH, value)
        elif isinstance(value, float):
            self._one(REAL, _BITS.unpack(_DOUBLE.pack(value))[0])
        elif isinstance(value, str):
            self._one(TEXT, self.texts.setdefault(value, len(self.texts)))
        elif isinstance(value, int) and _LOW <= value < _HIGH:
            self._one(NUMBER, int(value))
        elif isinstance(value, int):
            self._one(BIG, len(self.bigs))
            self.bigs.append(value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True))
        else:
            raise TypeError(f"a value of a message is of type {type(value).__name__}")


def write(rows: Iterable[Row]) -> pb.Facts | None:
    """Facts as a message; None when there are none."""
    held = list(rows)
    if not held:
        return None
    writer, names = _Writer(), dict[str, int]()
    kinds: list[int] = []
    named: list[int] = []
    for _, _, _, fact in held:
        kinds.append(names.setdefault(fact.kind, len(names)))
        for name, value in fact.fields.items():
            named.append(names.setdefault(name, len(names)))
            writer.put(value)
    packets, flows, times, facts = zip(*held, strict=True)
    return pb.Facts(
        names=list(names),
        kind=np.array(kinds, "<u4").tobytes(),
        packet=(np.array(packets, "<i8") + 1).astype("<u4").tobytes(),
        flow=np.array(flows, "<u8").tobytes(),
        ts=np.array(times, "<i8").tobytes(),
        fields=np.array([len(fact.fields) for fact in facts], "<u4").tobytes(),
        name=np.array(named, "<u4").tobytes(),
        tag=bytes(writer.tags),
        payload=np.array(writer.payloads, "<i8").tobytes(),
        texts=map(text_out, writer.texts),
        bigs=writer.bigs,
    )


# reading -------------------------------------------------------------------------------------------------------------


def read(message: pb.Facts) -> list[Row]:
    """The facts of a message."""
    count, values = len(message.kind) // 4, len(message.tag)
    if count > MAX_FACTS or values > MAX_VALUES:
        raise MalformedParcel(f"more than {MAX_FACTS} messages or {MAX_VALUES} values")
    if not count:
        if message.ByteSize():
            raise MalformedParcel("values without messages")
        return []
    columns = {
        name: from_bytes(getattr(message, name), kind, count=count, name=name)
        for name, kind in (("kind", "<u4"), ("packet", "<u4"), ("flow", "<u8"), ("ts", "<i8"), ("fields", "<u4"))
    }
    fields = columns["fields"].tolist()
    names = names_in(message.names)
    named = from_bytes(message.name, "<u4", count=sum(fields), name="name")
    _inside(columns["kind"], len(names))
    _inside(named, len(names))
    reader = _Reader(message, names, named.tolist())
    rows: list[Row] = [
        (packet - 1, flow, ts, Fact(names[kind], reader.fields(many)))
        for packet, flow, ts, kind, many in zip(
            columns["packet"].tolist(), columns["flow"].tolist(), columns["ts"].tolist(), columns["kind"].tolist(),
            fields, strict=True,
        )
    ]  # fmt: skip
    reader.end()
    return rows


def _inside(column: Any, size: int) -> None:
    if len(column) and not 0 <= int(column.min()) <= int(column.max()) < size:
        raise MalformedParcel("a message, field or value names what its table has not")


class _Reader:
    """Values in order. Tags, and indexes into tables, are checked before the first is read."""

    def __init__(self, message: pb.Facts, names: Sequence[str], named: list[int]) -> None:
        self._tags = message.tag
        payloads = from_bytes(message.payload, "<i8", count=len(self._tags), name="payload")
        tags = np.frombuffer(self._tags, np.uint8)
        if not np.isin(tags, (TEXT, NUMBER, REAL, TRUTH, BIG, LIST)).all():
            raise MalformedParcel("a value has an unknown tag")
        texts = list(map(text_in, message.texts))
        bigs = list(message.bigs)
        if any(len(each) > MAX_BIG for each in bigs):
            raise MalformedParcel("a number is too big")
        _inside(payloads[tags == TEXT], len(texts))
        _inside(payloads[tags == BIG], len(bigs))
        self._values: list[Any] = payloads.tolist()
        self._resolve(tags, texts, bigs)
        self._names, self._named = names, named
        self._at = self._field = 0

    def _resolve(self, tags: Any, texts: list[str], bigs: list[bytes]) -> None:
        values = self._values
        for at in np.flatnonzero(tags == TEXT).tolist():
            values[at] = texts[values[at]]
        for at in np.flatnonzero(tags == REAL).tolist():
            values[at] = _DOUBLE.unpack(_BITS.pack(values[at]))[0]
        for at in np.flatnonzero(tags == TRUTH).tolist():
            values[at] = values[at] != 0
        for at in np.flatnonzero(tags == BIG).tolist():
            values[at] = int.from_bytes(bigs[values[at]], "little", signed=True)

    def fields(self, count: int) -> dict[str, Any]:
        """The fields of the next message."""
        tags, values, names = self._tags, self._values, self._names
        found: dict[str, Any] = {}
        for index in self._named[self._field : self._field + count]:
            at = self._at
            if at >= len(tags):
                raise MalformedParcel("a field has no value")
            if tags[at] == LIST:
                found[names[index]] = self._list()
            else:
                found[names[index]] = values[at]
                self._at = at + 1
        if len(found) != count:
            raise MalformedParcel("a field is there twice")
        self._field += count
        return found

    def _list(self) -> tuple[Any, ...]:
        start = self._at + 1
        stop = start + int(self._values[self._at])
        if not start <= stop <= len(self._tags) or LIST in self._tags[start:stop]:
            raise MalformedParcel("a list is cut short or holds a list")
        self._at = stop
        return tuple(self._values[start:stop])

    def end(self) -> None:
        """All messages were read: no value is left."""
        if self._at != len(self._tags):
            raise MalformedParcel("values without a field")
