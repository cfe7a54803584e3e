from pathlib import Path

import duckdb
import numpy as np
import pytest

from packhound.net.facts import Malformed
from packhound.net.flow import FLOW_DTYPE
from packhound.net.flowrow import FLOW_COLUMNS, flow_columns, flow_rows
from packhound.processor.store import tables
from packhound.processor.store.columns import CALLS, FLOWS, MESSAGES, TABLES
from packhound.processor.store.tables import Answer, TableWriter, query
from tests.support.batches import SECOND, START


def flow_records(count: int = 3):
    records = np.zeros(count, FLOW_DTYPE)
    records["serial"] = np.arange(1, count + 1)
    records["ip_version"], records["proto"], records["rtt"] = 4, 6, -1
    records["src"][:, :4], records["dst"][:, :4] = (10, 0, 0, 1), (10, 0, 0, 2)
    records["sport"], records["dport"] = 40000 + np.arange(count), 443
    records["first"], records["last"] = START, START + np.arange(count) * 3600 * SECOND
    records["packets"], records["bytes"] = (3, 2), (300, 2**40)
    records["app"] = 5
    return records


def ask(sql: str, root: Path, **limits) -> Answer:
    found = query(sql, root, **limits)
    assert isinstance(found, Answer), found
    return found


def test_flows_lie_by_hour_under_their_registry_names(tmp_path):
    writer = TableWriter(tmp_path, FLOWS)
    writer.add(flow_columns(flow_records(), hosts={1: "a.example"}, filters={2: ("n/f", "n/g")}, interfaces=["eth0"]))
    writer.close()
    assert [str(path.relative_to(tmp_path)) for path in writer.published] == [
        "flows/date=2023-11-14/hour=22/part-0001.parquet",
        "flows/date=2023-11-14/hour=23/part-0001.parquet",
        "flows/date=2023-11-15/hour=00/part-0001.parquet",
    ]
    found = ask(
        'SELECT "ip.src", "port.src", "app.protocol", "flow.bytes", "flow.host", filter, time, hour '
        'FROM flows ORDER BY "flow.id"',
        tmp_path,
    )
    assert found.rows[0] == (
        "10.0.0.1",
        40000,
        "tls",
        2**40 + 300,
        "a.example",
        [],
        "2023-11-14 22:13:20.123456789",
        22,
    )
    assert found.rows[1][5] == ["n/f", "n/g"]
    part = f"read_parquet('{writer.published[0]}', hive_partitioning = false)"
    types = dict(duckdb.execute(f"SELECT column_name, column_type FROM (DESCRIBE FROM {part})").fetchall())
    assert types == dict(FLOWS.columns)
    assert set(FLOW_COLUMNS) < set(types)


def test_rows_and_columns_say_the_same():
    records = flow_records()
    rows = flow_rows(records, interfaces=["eth0"])
    columns = flow_columns(records, interfaces=["eth0"])
    assert all(row[name] == columns[name][at] for at, row in enumerate(rows) for name in row if name != "kind")
    assert rows[0]["kind"] == "flow"
    assert "flow.tcp.rtt_ns" not in rows[0]
    assert "vlan.id" not in rows[0]


def test_messages_keep_lists_text_and_survive_hostile_values(tmp_path):
    writer = TableWriter(tmp_path, MESSAGES)
    writer.add_rows([
        {"kind": "dns", "time_ns": START, "dns.qname": ("a.example", "b.example"), "dns.qtype": (1, 28)},
        {"kind": "sip", "time_ns": START, "sip.user": "x\udc80\x00'\"", "sip.cseq": 2**90, "no.such": 1},
        {"kind": "tls.client_hello", "time_ns": -5, "tls.sni": ("one", "two")},
    ])  # fmt: skip
    writer.close()
    assert writer.fault is None
    assert writer.written == 3
    found = ask(
        'SELECT kind, "dns.qname", "dns.qtype", "sip.user", "sip.cseq", "tls.sni" FROM messages ORDER BY kind', tmp_path
    )
    assert found.rows[0] == ("dns", ["a.example", "b.example"], [1, 28], None, None, None)
    assert found.rows[1] == ("sip", None, None, ["x\ufffd\x00'\""], None, None)
    assert found.rows[2][5] == "one,two"


def test_counts_of_a_call_are_a_map(tmp_path):
    writer = TableWriter(tmp_path, CALLS)
    writer.add_rows([{"sip.call_id": "c", "call.last_ns": START, "call.responses": {"200 INVITE": 2}}])
    writer.close()
    assert ask("SELECT \"call.responses\"['200 INVITE'] FROM calls", tmp_path).rows == [(2,)]


@pytest.mark.parametrize("table", TABLES)
def test_without_files_a_view_is_empty_and_has_its_columns(tmp_path, table):
    found = ask(f"SELECT * FROM {table.name}", tmp_path)
    assert found.rows == []
    assert found.columns == ["time", *table.columns, "date", "hour"]


def test_parts_of_an_older_layout_still_read(tmp_path):
    folder = tmp_path / "flows" / "date=2020-01-01" / "hour=03"
    folder.mkdir(parents=True)
    duckdb.execute(
        f'COPY (SELECT 1::UBIGINT AS "flow.id", 5::BIGINT AS "flow.last_ns") '
        f"TO '{folder}/part-0001.parquet' (FORMAT parquet)"
    )
    assert ask('SELECT "flow.id", "ip.src", date, hour FROM flows', tmp_path).rows == [(1, None, "2020-01-01", 3)]


@pytest.fixture
def filled(tmp_path):
    writer = TableWriter(tmp_path / "out", FLOWS)
    (tmp_path / "out").mkdir()
    writer.add(flow_columns(flow_records(20)))
    writer.close()
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "out" / "inside.txt").write_text("secret")
    return tmp_path / "out"


@pytest.mark.parametrize("sql", [
    "SELECT * FROM read_text('{root}/../secret.txt')", "SELECT * FROM read_text('{root}/inside.txt')",
    "SELECT * FROM read_csv('/etc/passwd')", "SELECT * FROM glob('/*')", "SELECT * FROM '{root}/inside.txt'",
    "COPY flows TO '{root}/x.parquet'", "COPY (SELECT 1) TO '/tmp/x'", "ATTACH '{root}/a.db'", "INSTALL httpfs",
    "SET enable_external_access = true", "CREATE TABLE t (a INT)", "DROP VIEW flows", "SELECT 1; SELECT 2", "",
    "EXPLAIN ANALYZE COPY flows TO '{root}/x'", "PRAGMA version", "EXPORT DATABASE '{root}/e'", "SELEC 1",
    "SELECT * FROM enable_logging(storage := 'file', storage_path := '{root}/log')", "CALL enable_logging()",
])  # fmt: skip
def test_a_query_can_neither_write_nor_read_elsewhere(filled, sql):
    before = sorted(filled.rglob("*"))
    assert isinstance(query(sql.format(root=filled), filled), Malformed)
    assert sorted(filled.rglob("*")) == before


def test_a_link_to_another_file_is_not_a_part(filled):
    (filled / "flows" / "evil.parquet").symlink_to(next(filled.rglob("part-*.parquet")))
    assert ask("SELECT count(*) FROM flows", filled).rows == [(20,)]


def test_rows_are_limited_and_the_answer_says_so(filled):
    found = ask("FROM flows", filled, limit=7)
    assert len(found.rows) == 7
    assert found.truncated
    assert not ask("FROM flows", filled, limit=20).truncated


def test_rows_wait_while_the_disk_is_full_and_are_lost_only_past_the_bound(tmp_path, monkeypatch):
    writer = TableWriter(tmp_path, FLOWS, rows=10, max_rows=15)

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(tables.TableWriter, "_copy", full)
        writer.add(flow_columns(flow_records(10)))
        assert writer.fault
        assert writer.fault.cause == "disk_full"
        assert writer.pending == 10
        assert not writer.lost
        writer.add(flow_columns(flow_records(10)))
        writer.flush()
        assert 0 < writer.pending <= 15
        assert writer.lost["disk_full"] == 20 - writer.pending
    kept = writer.pending
    writer.close()
    assert ask("SELECT count(*) FROM flows", tmp_path).rows == [(kept,)]
    assert not list(tmp_path.rglob(".*"))
