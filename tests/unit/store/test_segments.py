import os
import stat
from pathlib import Path

import numpy as np
import pytest

from packhound.net import pcapng
from packhound.processor.store import layout
from packhound.processor.store.recovery import recover
from packhound.processor.store.segments import Limits, Recorder
from packhound.sensor.tap.frames import Interface
from tests.support.batches import SECOND, START, abandon, batch_of, batches_of, udp_packet

HOUR = 3600 * SECOND
FOLDER = "2023/11/14/22"


def record(root: Path, batches, **limits) -> Recorder:
    root.mkdir(exist_ok=True)
    recorder = Recorder(root, name="hunt", limits=Limits(**limits))
    for batch in batches:
        assert recorder.write(batch, [b""] * len(batch)).all()
    recorder.close()
    return recorder


def read(path: Path) -> list[tuple[int, bytes]]:
    return [(int(ts), batch.packet(i)) for batch in batches_of(path) for i, ts in enumerate(batch.ts)]


def test_packets_come_back_with_their_nanoseconds(tmp_path):
    batch = batch_of([udp_packet(i) for i in range(5)], wirelen=[1500] * 5)
    recorder = record(tmp_path, [batch])
    assert [path.relative_to(tmp_path) for path in recorder.published] == [Path(FOLDER, "hunt-0001.pcapng")]
    assert read(recorder.published[0]) == [(int(batch.ts[i]), batch.packet(i)) for i in range(5)]
    assert all(int(b.wirelen[0]) == 1500 for b in batches_of(recorder.published[0]))


def test_a_file_is_private_and_hidden_until_it_is_whole(tmp_path):
    recorder = Recorder(tmp_path, name="hunt")
    recorder.write(batch_of([udp_packet()]), [b""])
    assert [each.name for each in (tmp_path / FOLDER).iterdir()] == [".hunt-0001.pcapng.part"]
    path = recorder.close()
    assert path
    assert stat.S_IMODE(path.stat().st_mode) & ~0o640 == 0
    assert [each.name for each in (tmp_path / FOLDER).iterdir()] == ["hunt-0001.pcapng"]


def test_nothing_recorded_leaves_no_file(tmp_path):
    assert Recorder(tmp_path, name="hunt").close() is None
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("split", [1, 3, 50])
def test_rotation_depends_on_the_packets_not_on_the_batches(tmp_path, split):
    packets = [udp_packet(i, size=100) for i in range(50)]
    times = [START + i * SECOND for i in range(50)]

    def files(size: int, root: Path) -> list[bytes]:
        batches = [
            batch_of(packets[at : at + size], ts=times[at : at + size], sequence=at + 1) for at in range(0, 50, size)
        ]  # fmt: skip
        return [path.read_bytes() for path in record(root, batches, bytes=1500, age=20 * SECOND).published]

    assert files(split, tmp_path / "a") == files(50, tmp_path / "b")


def test_a_file_ends_by_size_by_age_and_with_the_hour(tmp_path):
    by_size = record(tmp_path / "size", [batch_of([udp_packet(i, size=500) for i in range(20)])], bytes=2048)
    assert len(by_size.published) > 5
    assert all(path.stat().st_size < 2048 + 200 for path in by_size.published)
    times = [START, START + 9 * SECOND, START + 10 * SECOND, START + 30 * SECOND]
    by_age = record(tmp_path / "age", [batch_of([udp_packet()] * 4, ts=times)], age=10 * SECOND)
    assert [len(read(path)) for path in by_age.published] == [2, 1, 1]
    times = [START, START + HOUR]
    by_hour = record(tmp_path / "hour", [batch_of([udp_packet()] * 2, ts=times)], age=10 * HOUR)
    assert [path.parent.name for path in by_hour.published] == ["22", "23"]


def test_a_packet_bigger_than_a_file_gets_one_of_its_own(tmp_path):
    recorder = record(tmp_path, [batch_of([udp_packet(size=5000), udp_packet(size=5000)])], bytes=1000)
    assert [len(read(path)) for path in recorder.published] == [1, 1]


def test_late_packets_stay_where_they_arrive(tmp_path):
    recorder = record(tmp_path, [batch_of([udp_packet()] * 3, ts=[START + HOUR, START, START + HOUR])])
    assert len(recorder.published) == 1


def test_every_interface_is_described_once_and_link_types_do_not_mix(tmp_path):
    eth, raw = Interface("eth0", 1, 65535, 0), Interface("tun0", 101, 0, 1, "tunnel")
    first = batch_of([udp_packet()], interfaces=[eth])
    second = batch_of([udp_packet()[14:], udp_packet()], interfaces=[eth, raw], iface=[1, 0], sequence=2)
    recorder = record(tmp_path, [first, second])
    found = list(batches_of(recorder.published[0]))[-1]
    assert [(each.name, each.linktype) for each in found.interfaces] == [("eth0", 1), ("tun0", 101)]
    assert found.iface.tolist()[-2:] == [1, 0]


def test_an_existing_recording_is_never_touched(tmp_path):
    folder = tmp_path / FOLDER
    folder.mkdir(parents=True)
    (folder / "hunt-0001.pcapng").write_bytes(b"mine")
    (folder / "hunt-0002.pcapng").symlink_to(tmp_path / "elsewhere")
    recorder = record(tmp_path, [batch_of([udp_packet()])])
    assert recorder.published[0].name == "hunt-0003.pcapng"
    assert (folder / "hunt-0001.pcapng").read_bytes() == b"mine"
    assert not (tmp_path / "elsewhere").exists()


def test_a_link_in_place_of_a_folder_is_refused(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out" / "2023").symlink_to(tmp_path / "elsewhere")
    recorder = Recorder(tmp_path / "out", name="hunt")
    assert not recorder.write(batch_of([udp_packet()]), [b""]).any()
    assert recorder.fault
    assert recorder.fault.cause == "io_error"
    assert not list((tmp_path / "elsewhere").iterdir())


@pytest.mark.parametrize(("cut", "packets"), [(0, 4), (1, 3), (120, 2), (10_000, 0)])
def test_what_a_crash_left_is_recovered_up_to_its_last_whole_packet(tmp_path, cut, packets):
    final = abandon(tmp_path, cut=min(cut, 400))
    if cut > 400:
        layout.hidden_name(final).write_bytes(b"\n\r\r\n")
    (found,) = recover(tmp_path)
    assert found.packets == packets
    if packets:
        assert found.path == final
        assert len(read(final)) == packets
        assert pcapng.whole_blocks(final.read_bytes())[0] == final.stat().st_size
    assert not list(tmp_path.rglob(".*.part"))


def test_a_recording_in_progress_is_left_alone(tmp_path):
    recorder = Recorder(tmp_path, name="hunt")
    recorder.write(batch_of([udp_packet()]), [b""])
    assert recover(tmp_path) == []
    assert len(read(recorder.close())) == 1


def test_a_failing_disk_costs_packets_that_are_named_and_the_file_stays_whole(tmp_path, monkeypatch):
    recorder = Recorder(tmp_path, name="hunt")
    batch = batch_of([udp_packet(i) for i in range(10)])
    assert recorder.write(batch, [b""] * 10).all()
    real, room = os.pwrite, [250]

    def full(fd, data, offset):
        if not room[0]:
            raise OSError(28, "No space left on device")
        done = real(fd, bytes(data[: room[0]]), offset)
        room[0] -= done
        return done

    monkeypatch.setattr(os, "pwrite", full)
    kept = recorder.write(batch, [b""] * 10)
    assert kept.tolist() == [True] * 2 + [False] * 8
    assert recorder.fault
    assert recorder.fault.cause == "disk_full"
    assert not recorder.write(batch, [b""] * 10).any()
    monkeypatch.setattr(os, "pwrite", real)
    assert recorder.write(batch, [b""] * 10).all()
    assert recorder.fault is None
    assert len(read(recorder.close())) == 22


def test_a_file_that_cannot_be_made_durable_is_not_published(tmp_path, monkeypatch):
    recorder = Recorder(tmp_path, name="hunt")
    recorder.write(batch_of([udp_packet()] * 3), [b""] * 3)

    def broken(fd):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", broken)
    assert recorder.close() is None
    assert recorder.unpublished == {("", ("voice/alice",)): 3}
    assert not list(tmp_path.rglob("*.pcapng"))


def test_rows_choose_packets(tmp_path):
    recorder = Recorder(tmp_path, name="hunt")
    batch = batch_of([udp_packet(i) for i in range(6)])
    assert recorder.write(batch, [b"", b""], rows=np.array([1, 4])).tolist() == [True, True]
    assert [packet for _, packet in read(recorder.close())] == [batch.packet(1), batch.packet(4)]
