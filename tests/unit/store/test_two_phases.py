"""Whatever is written, kept, undone or lost in a crash: published files hold what was kept, whole, and nothing else."""

import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from packhound.kit.errors import BadInput, NotPermitted
from packhound.processor.store import folder as folders
from packhound.processor.store import layout
from packhound.processor.store.columns import ALERTS, CALLS, FLOWS, MESSAGES
from packhound.processor.store.folder import Folder
from packhound.processor.store.journal import RowJournal
from packhound.processor.store.pending import TwoPhase
from packhound.processor.store.recovery import recover
from packhound.processor.store.segments import Limits, Recorder
from packhound.processor.store.tables import Answer, query
from tests.support.batches import START, batch_of, batches_of, udp_packet

TABLES = (FLOWS, CALLS, MESSAGES, ALERTS)


def numbers(root) -> list[int]:
    return [
        int.from_bytes(batch.packet(at)[42:46], "big")
        for path in sorted(root.rglob("*.pcapng")) for batch in batches_of(path) for at in range(len(batch))
    ]  # fmt: skip


def names(root) -> list[str]:
    found = query('SELECT "dns.qname" FROM messages ORDER BY time', root)
    assert isinstance(found, Answer), found
    return [row[0][0] for row in found.rows]


class Store:
    """A recorder and a journal in two phases; what a shared state would know of them."""

    def __init__(self, root, committed) -> None:
        self.root, self.committed = root, committed
        self.files = TwoPhase(root)
        self.recorder = Recorder(root, name="hunt", limits=Limits(bytes=1500), files=self.files)
        self.journal = RowJournal(root, TABLES, self.files, rows=5)
        self.journal.convert()

    def write(self, number: int) -> None:
        assert self.recorder.write(batch_of([udp_packet(number, size=100)]), [b""]).all()
        row = {"kind": "dns", "time_ns": START + number, "dns.qname": (f"n{number}",)}
        self.journal.tables["messages"].add_rows([row])

    def prepare(self):
        self.journal.write()
        return self.files.prepare()

    def commit(self, prepared) -> None:
        self.committed.update(prepared.files)
        for path in prepared.published:
            self.committed.pop(path, None)

    def keep(self) -> None:
        self.files.keep()
        self.journal.convert()

    def undo(self) -> None:
        self.files.undo()
        self.journal.undo()

    def die(self) -> None:
        self.files.close()


STEPS = st.lists(st.sampled_from(["write", "write", "write", "keep", "undo", "seal", "die", "die before", "die after"]), max_size=25)


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(STEPS)
def test_what_was_kept_is_there_once_and_in_order(tmp_path_factory, steps):
    root = tmp_path_factory.mktemp("store")
    committed: dict[str, int] = {}
    store = Store(root, committed)
    kept: list[int] = []
    fresh: list[int] = []
    for number, step in enumerate([*steps, "die"]):
        if step == "write":
            store.write(number)
            fresh.append(number)
        elif step == "seal":
            store.recorder.close()
            store.journal.seal()
        elif step == "undo":
            store.undo()
            fresh.clear()
        elif step == "die":
            store.die()
        else:
            prepared = store.prepare()
            if step != "die before":
                store.commit(prepared)
                kept += fresh
                fresh.clear()
            if step == "keep":
                store.keep()
            else:
                store.die()
        if step.startswith("die"):
            fresh.clear()
            recover(root, committed)
            committed.clear()
            assert not list(root.rglob(".*.part"))
            store = Store(root, committed)
            assert sorted(numbers(root)) == kept
    assert names(root) == [f"n{each}" for each in kept]
    store.die()


def test_nothing_is_published_before_it_is_kept(tmp_path):
    store = Store(tmp_path, {})
    store.write(1)
    store.recorder.close()
    prepared = store.prepare()
    assert {path.partition("/")[0] for path in prepared.files} == {"2023", "rows"}
    assert numbers(tmp_path) == []
    store.keep()
    assert numbers(tmp_path) == [1]
    told = store.files.prepare()
    assert told.files == {}
    assert {path for path in told.published if path.endswith(".pcapng")} == {"2023/11/14/22/hunt-0001.pcapng"}
    store.keep()
    assert store.files.prepare().published == frozenset()


def test_a_file_that_cannot_be_published_now_is_published_later(tmp_path, monkeypatch):
    store = Store(tmp_path, {})
    store.write(1)
    store.recorder.close()
    store.prepare()
    with monkeypatch.context() as patch:
        patch.setattr("pathlib.Path.rename", lambda *_: (_ for _ in ()).throw(OSError(5, "Input/output error")))
        store.files.keep()
        assert store.files.fault
    store.files.prepare()
    store.files.keep()
    assert store.files.fault is None
    assert numbers(tmp_path) == [1]


def test_a_journal_that_cannot_be_converted_waits_as_a_file(tmp_path, monkeypatch):
    store = Store(tmp_path, {})
    store.write(1)
    store.journal.seal()
    store.prepare()

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("packhound.processor.store.tables.TableWriter._copy", full)
        store.keep()
        assert store.journal.fault
        assert store.journal.fault.cause == "disk_full"
    store.journal.convert()
    assert names(tmp_path) == ["n1"]
    assert not list((tmp_path / "rows").iterdir())


def test_a_journal_converted_halfway_gives_every_row_once(tmp_path, monkeypatch):
    """Killed between the parts and the removal of the journal."""
    store = Store(tmp_path, {})
    store.write(1)
    store.journal.seal()
    store.prepare()
    with monkeypatch.context() as patch:
        patch.setattr("pathlib.Path.unlink", lambda *_, **__: (_ for _ in ()).throw(OSError(5, "gone")))
        store.files.keep()
        store.journal.convert()
    assert list((tmp_path / "rows").glob("*.rows"))
    again = Store(tmp_path, {})
    assert names(tmp_path) == ["n1"]
    assert not list((tmp_path / "rows").iterdir())
    again.die()


def test_rows_of_every_type_come_through_a_journal_as_they_would_without(tmp_path):
    rows = [
        {"kind": "sip", "time_ns": START, "sip.user": "x\udc80\x00'\"", "sip.cseq": 2**62, "dns.qtype": (1, 28)},
        {"kind": "tls", "time_ns": -5, "tls.sni": ("one", "two"), "tls.ja4": None},
    ]
    call = {"sip.call_id": "c", "call.last_ns": START, "call.responses": {"200 INVITE": 2}, "call.is_call": True}
    store = Store(tmp_path, {})
    store.journal.tables["messages"].add_rows(rows)
    store.journal.tables["calls"].add_rows([call])
    store.journal.tables["flows"].add({name: np.array([START], np.int64) for name in ("flow.last_ns", "flow.first_ns")})
    store.journal.seal()
    store.prepare()
    store.keep()
    found = query('SELECT kind, "sip.user", "sip.cseq", "dns.qtype", "tls.sni" FROM messages ORDER BY kind', tmp_path)
    assert isinstance(found, Answer), found
    assert found.rows == [
        ("sip", ["x\ufffd\x00'\""], 2**62, [1, 28], None), ("tls", None, None, None, "one,two"),
    ]  # fmt: skip
    found = query("SELECT \"call.responses\"['200 INVITE'], \"call.is_call\" FROM calls", tmp_path)
    assert found.rows == [(2, True)]
    assert store.journal.tables["messages"].written == 2


def test_a_spoilt_journal_is_kept_aside_for_a_person(tmp_path):
    store = Store(tmp_path, {})
    for number in (1, 2):
        store.write(number)
        store.prepare()
    store.journal.seal()
    store.prepare()
    store.files.keep()
    (path,) = (tmp_path / "rows").glob("*.rows")
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)
    store.journal.convert()
    assert names(tmp_path) == ["n1"]
    assert [each.name for each in store.journal.bad] == [f"{path.name}.bad"]


def test_bytes_that_were_settled_and_are_missing_are_told(tmp_path):
    committed: dict[str, int] = {}
    store = Store(tmp_path, committed)
    for number in range(3):
        store.write(number)
    store.commit(store.prepare())
    store.die()
    (path,) = tmp_path.rglob(".*.pcapng.part")
    os.truncate(path, path.stat().st_size - 10)
    found = {each.name: each for each in recover(tmp_path, committed)}
    (recording,) = (each for name, each in found.items() if name.endswith(".pcapng"))
    assert recording.packets == 2
    assert recording.missing > 0
    assert "missing" in str(recording)


def test_a_name_that_somebody_took_leaves_the_file_hidden_for_later(tmp_path):
    committed: dict[str, int] = {}
    store = Store(tmp_path, committed)
    store.write(1)
    store.commit(store.prepare())
    store.die()
    (name,) = (name for name in committed if name.endswith(".pcapng"))
    (tmp_path / name).write_bytes(b"somebody's")
    (found,) = (each for each in recover(tmp_path, committed) if each.name == name)
    assert found.hidden
    (tmp_path / name).unlink()
    recover(tmp_path, {name: committed[name]})
    assert numbers(tmp_path) == [1]


# the folder itself


def test_a_folder_has_one_processor_and_keeps_its_identity(tmp_path):
    first = Folder(tmp_path / "out")
    with pytest.raises(NotPermitted, match="in use"):
        Folder(tmp_path / "out")
    first.close()
    second = Folder(tmp_path / "out")
    assert second.id == first.id
    assert folders.is_fleets(tmp_path / "out")
    second.close()
    (tmp_path / "out" / folders.MARK).write_bytes(b"something else")
    with pytest.raises(BadInput):
        Folder(tmp_path / "out")


def test_a_folder_remembers_what_was_settled_also_when_its_last_line_is_torn(tmp_path):
    folder = Folder(tmp_path)
    folder.settle(7, {"a": 1, "b": 2}, frozenset())
    folder.settle(8, {"a": 5}, frozenset({"b"}))
    folder.close()
    with (tmp_path / folders.NOTE).open("ab") as handle:
        handle.write(b'{"group": 9, "fi')
    again = Folder(tmp_path)
    assert again.note == (8, {"a": 5})
    again.settle(9, {"c": 3}, frozenset())
    assert dict(again.settled) == {"a": 5, "c": 3}
    again.close()
    assert Folder(tmp_path).note == (9, {"a": 5, "c": 3})


def test_the_note_of_a_folder_does_not_grow_without_end(tmp_path, monkeypatch):
    monkeypatch.setattr(folders, "MAX_NOTE", 2000)
    folder = Folder(tmp_path)
    for group in range(1, 500):
        folder.settle(group, {"a": group}, frozenset())
    assert (tmp_path / folders.NOTE).stat().st_size < 3000
    folder.close()
    assert Folder(tmp_path).note == (499, {"a": 499})


def test_a_link_in_place_of_the_mark_is_refused(tmp_path):
    (tmp_path / "elsewhere").write_bytes(b"")
    (tmp_path / folders.MARK).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic"):
        Folder(tmp_path)


def test_a_part_begun_under_a_name_replaces_only_what_is_hidden(tmp_path):
    final = tmp_path / "part-1.parquet"
    layout.hidden_name(final).write_bytes(b"torn")
    pending = layout.begin_as(final)
    assert pending
    layout.publish(pending)
    assert layout.begin_as(final) is None
