import numpy as np
import pytest

from packhound.net.facts import Fact
from packhound.net.flow import FLOW_DTYPE
from packhound.processor.recording import Actions
from packhound.processor.service import Processor, ProcessorSettings
from packhound.processor.store.segments import Limits
from packhound.processor.store.tables import Answer, query
from packhound.wire.books import Books
from tests.support.batches import SECOND, START, abandon, batch_of, batches_of, udp_packet

BOTH = {1: ("n/keep",), 2: ("n/count",), 3: ("n/keep", "n/count")}


def sensor_side(*counts: tuple[tuple[str, ...], int]) -> Books:
    """The sensor's books for packets that all matched."""
    books = Books()
    for names, count in counts:
        books.sensor("").seen += count
        books.settle("", {names: count}, "matched")
    return books


def invite(**more) -> Fact:
    fields = {
        "sip.method": "INVITE",
        "sip.call_id": "c1@host",
        "sip.from": "<sip:alice@x>",
        "sip.user": ("alice", "bob"),
    }
    return Fact("sip", fields | more)


def rows(processor: Processor, sql: str) -> list[tuple]:
    found = query(sql, processor.out_dir)
    assert isinstance(found, Answer), found
    return found.rows


@pytest.fixture
def processor(tmp_path):
    return Processor(tmp_path / "out", clock=lambda: START)


def packets_of(processor: Processor) -> int:
    return sum(len(batch) for path in processor.recordings for batch in batches_of(path))


def test_books_balance_with_records_counted_only_and_duplicates(processor):
    processor.use({"n/count": Actions(record=False)})
    batch = batch_of([udp_packet(i) for i in range(6)], fset=[1, 2, 3, 3, 2, 1], fsets=BOTH)
    assert processor.accept(batch)
    assert not processor.accept(batch)
    books = processor.close()
    books.add(sensor_side((("n/keep",), 2), (("n/count",), 2), (("n/keep", "n/count"), 2)))
    for account in (books.sensor(""), books.filter("n/keep"), books.filter("n/count")):
        account.resent = account.duplicates_dropped
    assert books.residual() == 0
    assert books.sensor("").recorded == 4
    assert books.sensor("").processed_only == 2
    assert books.filter("n/count").recorded == 2
    assert packets_of(processor) == 4


def test_a_batch_that_cannot_be_indexed_is_lost_and_named(processor):
    batch = batch_of([udp_packet()] * 2)
    batch.blob = b""
    assert not processor.accept(batch)
    assert processor.books.sensor("").lost == {"malformed_batch": 2}


def test_messages_calls_and_flows_come_together(processor):
    facts = [(0, 9, START, invite()), (-1, 9, START + SECOND, invite(**{"sip.status": 200}))]
    processor.accept(batch_of([udp_packet()], flow=9, app=9, facts=facts, calls=["c1@host"]))
    processor.accept(batch_of([udp_packet(dport=4000)], flow=10, app=10, calls=["c1@host"], sequence=2))
    records = np.zeros(2, FLOW_DTYPE)
    records["serial"], records["app"], records["ip_version"], records["proto"] = (9, 10), (9, 10), 4, 17
    records["packets"] = (40, 2)
    records["last"] = START + 5 * SECOND
    processor.flows(records, hosts={9: "pbx"}, interfaces=["eth0"])
    processor.close()
    (call,) = rows(processor, 'SELECT "sip.call_id", "call.state", "call.rtp_packets", "call.peers", filter FROM calls')
    assert call == ("c1@host", "established", 42, ["10.0.0.1:40000", "10.0.0.2:5060"], ["voice/alice"])
    messages = rows(
        processor,
        'SELECT kind, "sip.status", "sip.user", interface, filter, "flow.community_id" FROM messages ORDER BY time',
    )
    assert [row[:5] for row in messages] == [
        ("sip", None, ["alice", "bob"], "eth0", ["voice/alice"]), ("sip", 200, ["alice", "bob"], None, ["voice/alice"]),
    ]  # fmt: skip
    assert messages[0][5].startswith("1:")
    assert rows(processor, 'SELECT "flow.id", "flow.host", filter FROM flows ORDER BY 1') == [
        (9, "pbx", ["voice/alice"]),
        (10, None, ["voice/alice"]),
    ]


def test_every_packet_names_its_filters_protocol_flow_and_call(processor):
    hostile = "a\x1b[2J b"
    processor.accept(batch_of([udp_packet()] * 2, fset=3, fsets=BOTH, app=9, flow=5, calls=[hostile, None]))
    processor.close()
    data = processor.recordings[0].read_bytes()
    assert b"filter=n/keep,n/count protocol=sip flow=1:" in data
    assert b"call=a\\x1b[2J\\x20b" in data
    assert b"\x1b" not in data


def test_a_set_number_that_means_other_filters_now_does_not_keep_the_old_comment(processor):
    processor.accept(batch_of([udp_packet()], fsets={1: ("n/old",)}))
    processor.accept(batch_of([udp_packet()], fsets={1: ("n/new",)}, sequence=2))
    processor.close()
    data = processor.recordings[0].read_bytes()
    assert data.count(b"filter=n/old") == data.count(b"filter=n/new") == 1


def test_a_filter_that_asks_for_it_gets_a_file_per_call_too(processor):
    processor.use({"voice/alice": Actions(per_call=True)})
    calls = ["a/../../x@h", "b@h", None]
    processor.accept(batch_of([udp_packet(i) for i in range(3)], calls=calls))
    processor.close()
    names = sorted(path.name for path in processor.recordings[1:])
    assert len(names) == 2
    assert any("x@h" in name for name in names)
    assert not any(".." in name for name in names)
    assert all("recordings/calls/2023/11/14/22" in str(path) for path in processor.recordings[1:])
    assert processor.books.sensor("").recorded == 3


def test_one_alert_per_filter_and_call(processor):
    processor.use({"n/keep": Actions(alert="high")})
    calls = ["c", "c", None, None, "c"]
    processor.accept(
        batch_of([udp_packet()] * 5, fset=[1, 3, 1, 1, 2], fsets=BOTH, flow=[1, 1, 2, 2, 1], app=9, calls=calls)
    )
    processor.close()
    sql = 'SELECT filter, "alert.severity", "alert.subject", "app.protocol" FROM alerts ORDER BY 3'
    assert rows(processor, sql) == [
        ("n/keep", "high", "call c", "sip"), ("n/keep", "high", "flow 2", "sip"),
    ]  # fmt: skip


def test_closing_twice_is_closing_once(processor):
    processor.accept(batch_of([udp_packet()]))
    assert processor.close() is processor.close()
    assert len(processor.recordings) == 1


def test_a_silent_live_wire_closes_its_file_and_publishes_rows(tmp_path):
    now = [START]
    settings = ProcessorSettings(live=True, segment=Limits(age=10 * SECOND), flush=5 * SECOND)
    processor = Processor(tmp_path, settings, clock=lambda: now[0])
    processor.accept(batch_of([udp_packet()], facts=[(0, 1, START, invite())]))
    processor.tick()
    assert processor.recordings == []
    now[0] += 20 * SECOND
    processor.tick()
    assert len(processor.recordings) == 1
    assert rows(processor, "SELECT count(*) FROM messages") == [(1,)]


def test_what_a_crash_left_is_recovered_at_start_and_said(tmp_path):
    (tmp_path / "recordings").mkdir()
    abandon(tmp_path / "recordings", cut=1)
    processor = Processor(tmp_path, clock=lambda: START)
    assert [each.reason for each in processor.conditions()] == ["recovered"]


def test_a_file_that_could_not_be_made_durable_moves_to_lost(processor, monkeypatch):
    processor.accept(batch_of([udp_packet()] * 3))
    assert processor.books.sensor("").recorded == 3

    def broken(pending):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("packhound.processor.store.layout.publish", broken)
    books = processor.close()
    books.add(sensor_side((("voice/alice",), 3)))
    assert books.sensor("").lost == {"disk_full": 3}
    assert books.residual() == 0
