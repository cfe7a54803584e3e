"""Parcels of every kind, made at random, and compared by value."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from hypothesis import strategies as st

from packhound.wire.batch import Batch
from packhound.wire.codec import Interface
from packhound.wire.facts import Fact
from packhound.wire.flowrecords import COLUMNS, RECORD_DTYPE, FlowRecords
from packhound.wire.lost import Lost

EPOCH = (1 << 63) - 1
TEXTS = st.text(st.characters(), max_size=12)  # lone surrogates too
NAMES = st.from_regex(r"[a-z0-9.]{1,8}/[a-z0-9-]{1,8}", fullmatch=True)
FILTERS = st.lists(NAMES, max_size=3, unique=True).map(tuple)
SCALARS = (
    TEXTS | st.booleans() | st.integers(-(1 << 70), 1 << 70) | st.integers(0, 9) | st.floats(allow_nan=False)
)  # fmt: skip
FACTS = st.builds(
    Fact,
    st.sampled_from(["sip", "dns", "tls.client_hello"]),
    st.dictionaries(
        st.sampled_from(["sip.method", "sip.status", "dns.qname", "dns.answer", "tls.sni"]),
        SCALARS | st.lists(SCALARS, max_size=3).map(tuple),
        max_size=4,
    ),
)
ORIGIN: dict[str, Any] = {
    "epoch": st.integers(0, EPOCH), "shard": st.integers(0, 1023), "sequence": st.integers(1, EPOCH),
    "plan": st.integers(0, EPOCH), "sensor": st.sampled_from(["", "n1", "nød-1.example"]),
    "cluster": st.sampled_from(["", "east"]),
    "traceparent": st.sampled_from(["", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"]),
}  # fmt: skip


@st.composite
def batches(draw: Any, *, most: int = 20, flows: int = 4, numbered: bool = True) -> Batch:
    """Any valid batch."""
    count = draw(st.integers(0, most))
    seed = np.random.default_rng(draw(st.integers(0, 1 << 32)))
    sets = draw(st.dictionaries(st.integers(0, (1 << 32) - 1), FILTERS, min_size=1, max_size=4))
    interfaces = draw(st.lists(st.builds(Interface, TEXTS, st.integers(0, 300), st.integers(0, 262144)), min_size=1,
                               max_size=3))  # fmt: skip
    caplen = seed.integers(0, 60, count).astype(np.uint32)
    calls = None
    if count and draw(st.booleans()):
        calls = np.empty(count, object)
        calls[:] = draw(st.lists(st.none() | st.sampled_from(["a@b", "c\ud800"]), min_size=count, max_size=count))
        calls = None if all(each is None for each in calls) else calls
    facts = draw(st.lists(
        st.tuples(st.integers(-1, count - 1), st.integers(0, flows), st.integers(0, 1 << 62), FACTS), max_size=6,
    ))  # fmt: skip
    last, left = 0, False
    for at, (packet, *rest) in enumerate(facts):  # as the batcher ships them: by packet, those of one packet together
        last = max(last + left, packet) if packet >= 0 else last
        left = packet < 0 and any(fact[0] >= 0 for fact in facts[:at])
        facts[at] = (last if packet >= 0 and last < count else -1, *rest)
    origin = draw(st.fixed_dictionaries(ORIGIN)) if numbered else {}
    return Batch(
        ts=seed.integers(0, 1 << 62, count), caplen=caplen, wirelen=caplen + 4,
        iface=seed.integers(0, len(interfaces), count).astype(np.uint16),
        flow=seed.integers(0, flows + 1, count).astype(np.uint64),
        fset=seed.choice(np.array(list(sets), np.uint32), count),
        direction=seed.choice(np.array([0, 1, 255], np.uint8), count),
        app=seed.choice(np.array([0, 9, 10, 11], np.uint8), count),
        blob=seed.bytes(int(caplen.sum())), fsets=sets, interfaces=interfaces, facts=facts, calls=calls,
        media=draw(st.booleans()), clock_offset_ns=draw(st.integers(-EPOCH, EPOCH)), **origin,
    )  # fmt: skip


@st.composite
def flow_records(draw: Any) -> FlowRecords:
    """Any valid records of flows."""
    count = draw(st.integers(0, 8))
    seed = np.random.default_rng(draw(st.integers(0, 1 << 32)))
    records = np.zeros(count, RECORD_DTYPE)
    for name in COLUMNS:
        field = records[name]
        field[...] = np.frombuffer(seed.bytes(field.nbytes), field.dtype).reshape(field.shape)
    records["serial"] = np.arange(1, count + 1)
    serials = st.integers(1, count) if count else st.nothing()
    return FlowRecords(
        records, hosts=draw(st.dictionaries(serials, TEXTS)), filters=draw(st.dictionaries(serials, FILTERS)),
        calls=draw(st.dictionaries(serials, TEXTS)), interfaces=tuple(draw(st.lists(TEXTS, max_size=2))),
        clock_offset_ns=draw(st.integers(-EPOCH, EPOCH)), **draw(st.fixed_dictionaries(ORIGIN)),
    )  # fmt: skip


LOSTS = st.builds(
    Lost, wanted=st.dictionaries(FILTERS, st.integers(0, 1000), max_size=4),
    cause=st.sampled_from(["spool_full", "io_error"]), kind_lost=st.sampled_from(["packets", "flows"]),
    media=st.booleans(), **ORIGIN,
)  # fmt: skip
PARCELS = batches() | flow_records() | LOSTS


def facts_of(batch: Batch) -> list[Any]:
    """Facts as plain values; floats that are no number compare equal."""
    return [(packet, flow, ts, each.kind, [(name, _plain(value)) for name, value in each.fields.items()])
            for packet, flow, ts, each in batch.facts]  # fmt: skip


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(map(_plain, value))
    return (type(value).__name__, "nan" if isinstance(value, float) and math.isnan(value) else value)


def _values(column: Any) -> Any:
    return column.tolist() if column.dtype == object else column.tobytes()


def same(one: Any, two: Any) -> bool:
    """Tell whether two parcels are equal in every field."""
    if type(one) is not type(two):
        return False
    for name in one.__slots__:
        left, right = getattr(one, name), getattr(two, name)
        if name == "_offsets":
            continue
        if isinstance(left, np.ndarray):
            if not isinstance(right, np.ndarray) or left.dtype != right.dtype or _values(left) != _values(right):
                return False
        elif name == "facts":
            if facts_of(one) != facts_of(two):
                return False
        elif left != right:
            return False
    return True
