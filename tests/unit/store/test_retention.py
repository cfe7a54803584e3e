"""What is too old goes, and nothing else: by hour and last write, under our names, never through a link."""

import os

import pytest

from packhound.net.facts import Fact
from packhound.processor.groups import Groups
from packhound.processor.intake.delivery import Delivery
from packhound.processor.service import Processor, ProcessorSettings
from packhound.processor.shared.sqlite import SqliteState
from packhound.processor.store import layout
from packhound.processor.store.folder import Folder
from packhound.processor.store.pending import TwoPhase
from packhound.processor.store.retention import SHELVES, Swept, file_is_over, hour_is_over, hour_named, sweep
from packhound.processor.store.segments import Recorder
from packhound.processor.store.tables import Answer, query
from tests.support.batches import SECOND, START, batch_of, batches_of, udp_packet

HOUR = layout.HOUR
NOW = START + 48 * HOUR
OLD = "2023/11/14/22"


def put(path, *, age: int = 30 * HOUR, size: int = 10):
    """A file that was last written `age` ns before NOW."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(size))
    os.utime(path, ns=(NOW - age, NOW - age))
    return path


def left(root) -> set[str]:
    return {str(each.relative_to(root)) for each in root.rglob("*") if not each.is_dir() or each.is_symlink()}


@pytest.mark.parametrize(
    ("shelf", "names", "hour"),
    [
        (SHELVES[0], ("1970", "01", "01", "05"), 5),
        (SHELVES[1], ("1970", "01", "02", "00"), 24),
        (SHELVES[2], ("date=1970-01-02", "hour=01"), 25),
        (SHELVES[0], ("2023", "02", "30", "00"), None),
        (SHELVES[0], ("2023", "11", "14", "24"), None),
        (SHELVES[0], ("２０２３", "11", "14", "22"), None),
        (SHELVES[0], ("2023", "1", "14", "22"), None),
        (SHELVES[2], ("date=2023-11-14", "22"), None),
        (SHELVES[2], ("date=20231114", "hour=22"), None),
    ],
)
def test_folders_name_an_hour_or_are_not_ours(shelf, names, hour):
    assert hour_named(shelf, names) == hour


def test_an_hour_is_over_when_it_ended_long_enough_ago_or_is_yet_to_come():
    assert hour_is_over(0, limit=HOUR, now=2 * HOUR)
    assert not hour_is_over(0, limit=HOUR, now=2 * HOUR - 1)
    assert not hour_is_over(2, limit=HOUR, now=2 * HOUR)
    assert hour_is_over(3, limit=HOUR, now=2 * HOUR)
    assert file_is_over(0, limit=5, now=5)
    assert not file_is_over(1, limit=5, now=5)


def test_what_is_too_old_goes_with_its_folders_and_all_else_stays(tmp_path):
    gone = [
        put(tmp_path / f"recordings/{OLD}/packhound-0001.pcapng", size=7),
        put(tmp_path / f"recordings/{OLD}/a-b-0002.pcapng"),
        put(tmp_path / f"recordings/calls/{OLD}/0123-call-0001.pcapng"),
        put(tmp_path / "flows/date=2023-11-14/hour=22/part-0001.parquet"),
        put(tmp_path / "alerts/date=2023-11-14/hour=22/part-0123456789abcdef-0001.parquet"),
        put(tmp_path / "recordings/2099/01/01/00/packhound-0001.pcapng"),  # a clock was wrong
    ]
    stays = [
        put(tmp_path / f"recordings/{OLD}/packhound-0003.pcapng", age=HOUR),  # read from a capture an hour ago
        put(tmp_path / "recordings/2023/11/16/21/packhound-0001.pcapng"),  # its hour is young, whatever its time says
        put(tmp_path / "recordings/2023/11/15/01/.packhound-0001.pcapng.part"),
        put(tmp_path / f"recordings/{OLD}/notes.txt"),
        put(tmp_path / f"recordings/{OLD}/mine.pcapng"),
        put(tmp_path / "recordings/2023/11/14/mine-0001.pcapng"),
        put(tmp_path / "rows/0123-0001.rows"),
        put(tmp_path / "flows/date=2023-11-14/hour=22/mine.parquet"),
        put(tmp_path / "mine/2023/11/14/22/packhound-0001.pcapng"),
        put(tmp_path / "shared.sqlite"),
    ]
    assert sweep(tmp_path, limit=24 * HOUR, now=NOW) == Swept(files=6, bytes=57)
    assert not any(path.exists() for path in gone)
    assert all(path.exists() for path in stays)
    assert not (tmp_path / "alerts/date=2023-11-14").exists()
    assert not (tmp_path / "recordings/2099").exists()
    assert sweep(tmp_path, limit=24 * HOUR, now=NOW) == Swept()


def test_without_a_limit_and_without_a_folder_nothing_happens(tmp_path):
    put(tmp_path / f"recordings/{OLD}/packhound-0001.pcapng", age=1000 * HOUR)
    before = left(tmp_path)
    assert sweep(tmp_path, limit=0, now=NOW) == Swept()
    assert sweep(tmp_path / "nowhere", limit=HOUR, now=NOW) == Swept()
    assert left(tmp_path) == before


def test_no_link_leads_out_of_the_folder(tmp_path):
    root, other = tmp_path / "out", tmp_path / "other"
    put(other / "14/22/packhound-0001.pcapng")
    put(other / "22/packhound-0001.pcapng")
    kept = put(other / "packhound-0001.pcapng")
    for path in (root / "recordings/2023/10", root / "recordings/2023/11/12", root / "recordings/2023/11/14/22",
                 root / "flows", root / "recordings/calls"):  # fmt: skip
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(other, target_is_directory=True)
    (root / "recordings/2023/11/15/00").mkdir(parents=True)
    (root / "recordings/2023/11/15/00/packhound-0001.pcapng").symlink_to(kept)
    before = left(other), left(root)
    found = sweep(root, limit=HOUR, now=NOW)
    assert (found.files, found.bytes) == (0, 0)
    assert (left(other), left(root)) == before


def test_what_cannot_be_removed_is_counted_and_named_and_the_rest_goes(tmp_path, monkeypatch):
    stuck = put(tmp_path / f"recordings/{OLD}/packhound-0001.pcapng")
    goes = put(tmp_path / f"recordings/{OLD}/packhound-0002.pcapng")
    real = os.unlink

    def unlink(name, **where):
        if name == stuck.name:
            raise PermissionError(1, "Operation not permitted", name)
        real(name, **where)

    monkeypatch.setattr(os, "unlink", unlink)
    found = sweep(tmp_path, limit=HOUR, now=NOW)
    assert (found.files, found.faults) == (1, 1)
    assert found.fault == f"recordings/{OLD}/packhound-0001.pcapng: Operation not permitted"
    assert stuck.exists()
    assert not goes.exists()


def age_all(root, age: int) -> None:
    for path in root.rglob("*"):
        if path.is_file() and not path.is_symlink():
            os.utime(path, ns=(NOW - age, NOW - age))


def test_what_a_processor_published_goes_and_what_it_writes_does_not(tmp_path):
    processor = Processor(tmp_path / "out", clock=lambda: START)
    fact = Fact("dns", {"dns.qname": ("a.example",)})
    processor.accept(batch_of([udp_packet(1)], facts=[(0, 1, START, fact)]))
    processor.close()
    writing = Processor(tmp_path / "out", clock=lambda: START)
    writing.accept(batch_of([udp_packet(2)], sequence=2))
    age_all(tmp_path / "out", 30 * HOUR)
    found = sweep(tmp_path / "out", limit=24 * HOUR, now=NOW)
    assert found.files == 2
    answer = query("SELECT count(*) FROM messages", tmp_path / "out")
    assert isinstance(answer, Answer)
    assert answer.rows == [(0,)]
    books = writing.close()
    assert books.sensor("").recorded == 1
    assert [len(batch) for path in writing.recordings for batch in batches_of(path)] == [1]


def test_a_folder_that_goes_while_a_file_is_begun_costs_no_packet(tmp_path, monkeypatch):
    recorder = Recorder(tmp_path, name="hunt")
    real, times = layout.begin, []

    def begin(where, stem, suffix):
        if len(times) < 2:
            times.append(where)
            where.rmdir()  # as a sweep does with an empty one
        return real(where, stem, suffix)

    monkeypatch.setattr(layout, "begin", begin)
    assert recorder.write(batch_of([udp_packet(1)]), [b""]).all()
    assert len(times) == 2
    assert recorder.close().exists()


def test_a_file_stays_until_a_commit_has_said_that_it_is_published(tmp_path):
    files = TwoPhase(tmp_path)
    recorder = Recorder(layout.folder(tmp_path, "recordings"), name="hunt", files=files)
    assert recorder.write(batch_of([udp_packet(1)]), [b""]).all()
    path = recorder.close()
    files.prepare()
    files.keep()
    name = str(path.relative_to(tmp_path))
    age_all(tmp_path, 30 * HOUR)
    assert files.untold(name)
    assert sweep(tmp_path, limit=HOUR, now=NOW, spared=files.untold) == Swept()
    assert files.prepare().published == {name}
    files.keep()
    assert not files.untold(name)
    assert sweep(tmp_path, limit=HOUR, now=NOW, spared=files.untold).files == 1


def test_a_sweep_changes_no_book_and_no_later_group(tmp_path):
    shared = SqliteState(tmp_path / "shared.sqlite")
    folder = Folder(tmp_path / "out")
    claimed = shared.claim(folder.id)
    processor = Processor(folder.root, ProcessorSettings(node="p1"), clock=lambda: START + 100 * SECOND)
    groups = Groups(processor, folder=folder, shared=shared, claimed=claimed)
    lease = shared.acquire("p1/x", 0)
    groups.adopt(lease)
    for sequence in (1, 2):
        batch = batch_of([udp_packet(sequence)] * 3, sequence=sequence)
        assert groups.accept(Delivery(0, batch, sequence))
        processor.seal()
        groups.settle()
        groups.settle()
        before = shared.books()
        age_all(folder.root / "recordings", 30 * HOUR)
        assert sweep(folder.root, limit=HOUR, now=NOW, spared=processor.untold).files == 1
        assert shared.books() == before
        assert not list((folder.root / "recordings").rglob("*.pcapng"))
    assert sum(count for entry, count in shared.books().items() if entry.counter == "recorded" and entry.kind == "sensor") == 6
    processor.close()
    folder.close()
    shared.close()
