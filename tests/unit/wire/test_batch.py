import numpy as np
import pytest

from packhound.wire.batch import Batch, check, empty_columns
from tests.support.batches import batch_of, udp_packet


def test_an_empty_batch_is_valid():
    assert check(Batch(**empty_columns(), blob=b"", fsets={}, interfaces=[])) is None


def test_packets_come_back_as_they_went_in():
    packets = [udp_packet(i, size=10 + i) for i in range(5)]
    batch = batch_of(packets)
    assert check(batch) is None
    assert [batch.packet(i) for i in range(len(batch))] == packets


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"blob": b"short"}, "captured lengths"),
        ({"iface": np.array([0, 3], np.uint16)}, "interface"),
        ({"fset": np.array([1, 9], np.uint32)}, "filter set"),
        ({"ts": np.array([1], np.int64)}, "column"),
        ({"wirelen": np.array([1, 2], np.int64)}, "column wirelen"),
        ({"facts": [(2, 0, 0, None)]}, "message"),
        ({"calls": np.array([None], object)}, "calls"),
    ],
)
def test_what_cannot_be_indexed_is_refused(change, reason):
    batch = batch_of([udp_packet(), udp_packet()])
    for name, value in change.items():
        setattr(batch, name, value)
    assert reason in (check(batch) or "")
