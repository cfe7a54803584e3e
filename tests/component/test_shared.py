"""The shared state keeps its promises in SQLite and in a real Redis alike."""

from __future__ import annotations

import multiprocessing
import signal
import threading
import time

import pytest

from packhound.kit.errors import BadInput, Usage
from packhound.processor.shared.redis import RedisSettings, RedisState, check_files
from packhound.processor.shared.sqlite import SqliteState
from packhound.processor.shared.state import (
    MILLISECOND,
    Commit,
    Committed,
    Displaced,
    Entry,
    Fenced,
    ShardChange,
    Unavailable,
)
from tests.support.redis_server import needs_redis, redis_server

LEASE = 300 * MILLISECOND
EPOCH = 2**63 - 5


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with redis_server(tmp_path_factory.mktemp("redis")) as started:
        yield started


@pytest.fixture(params=["sqlite", pytest.param("redis", marks=needs_redis)])
def opened(request, tmp_path):
    """Opens the same state again and again, as other processes do."""
    made = []
    if request.param == "redis":
        server = request.getfixturevalue("server")
        RedisState(RedisSettings(server.url), fleet="t")._client.flushall()

    def make(lease_ns=LEASE):
        if request.param == "redis":
            made.append(RedisState(RedisSettings(server.url), fleet="t", lease_ns=lease_ns))
        else:
            made.append(SqliteState(tmp_path / "state.db", lease_ns=lease_ns))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def state(opened):
    return opened()


def group(number, claim, shards=None, **more):
    return Commit("f", claim, number, shards=shards or {}, **more)


def test_a_shard_has_one_holder_until_its_lease_ends_and_its_token_grows(state):
    first = state.acquire("a", 3)
    assert first.holder == "a"
    assert state.acquire("b", 3) is None
    time.sleep(LEASE / 1e9 + 0.05)
    second = state.acquire("b", 3)
    assert second.token > first.token
    assert state.acquire("a", 3) is None


def test_renewing_keeps_a_lease_and_the_roster_tells_who_is_there(state):
    lease = state.acquire("a", 0)
    for _ in range(4):
        time.sleep(LEASE / 2e9)
        roster = state.beat("a", {0: lease.token})
    assert roster.members == ("a",)
    assert roster.leases[0].token == lease.token
    assert roster.now_ns < roster.leases[0].expires_ns
    assert state.beat("b", {}).members == ("a", "b")
    time.sleep(LEASE / 1e9 + 0.05)
    late = state.beat("b", {})
    assert late.members == ("b",)
    assert late.leases == {}
    state.leave("b")
    assert state.beat("a", {}).members == ("a",)


def test_nobody_renews_the_lease_of_another(state):
    lease = state.acquire("a", 0)
    time.sleep(LEASE / 2e9)
    before = state.beat("b", {0: lease.token}).leases[0]
    assert (before.holder, before.expires_ns) == ("a", lease.expires_ns)
    time.sleep(LEASE / 1.8e9)
    other = state.acquire("b", 0)
    assert state.beat("a", {0: lease.token}).leases[0].token == other.token


def test_a_lease_given_back_is_free_at_once_and_fenced(state):
    claim = state.claim("f").claim
    lease = state.acquire("a", 0)
    state.release(lease)
    assert state.commit(group(1, claim, {0: ShardChange(lease.token)})) == Fenced(frozenset({0}))
    other = state.acquire("b", 0)
    assert other.token > lease.token
    state.release(lease)
    assert state.beat("b", {0: other.token}).leases[0].token == other.token


def test_a_commit_is_seen_whole_and_once(opened):
    state = opened()
    claim = state.claim("f").claim
    one, two = state.acquire("a", 1), state.acquire("a", 2)
    counts = {Entry("sensor", "n\udc80", EPOCH, "lost", "disk_full"): 3, Entry("filter", "n/f", 0, "recorded"): 2}
    commit = group(
        1, claim,
        {1: ShardChange(one.token, {b"k\0": b"\xff", b"": b""}), 2: ShardChange(two.token, {b"k": b"2"})},
        files={"x/\udcff.pcapng": 10, "y": 20}, counts=counts,
    )  # fmt: skip
    assert state.commit(commit) == Committed()
    assert state.commit(commit) == Committed(again=True)
    assert opened().load(1) == {b"k\0": b"\xff", b"": b""}
    assert opened().load(2) == {b"k": b"2"}
    assert opened().load(3) == {}
    assert opened().books() == counts
    more = group(
        2, claim, {1: ShardChange(one.token, {b"new": b"1"}, frozenset({b"k\0"}))},
        files={"y": 21}, published=frozenset({"x/\udcff.pcapng"}), counts={Entry("filter", "n/f", 0, "recorded"): -2},
    )  # fmt: skip
    assert state.commit(more) == Committed()
    assert opened().load(1) == {b"": b"", b"new": b"1"}
    assert Entry("filter", "n/f", 0, "recorded") not in opened().books()
    found = opened().claim("f")
    assert (found.group, dict(found.files), found.known) == (2, {"y": 21}, True)
    assert found.claim > claim


def test_a_fenced_commit_does_nothing_at_all(state):
    claim = state.claim("f").claim
    mine, lost = state.acquire("a", 1), state.acquire("a", 2)
    time.sleep(LEASE / 1e9 + 0.05)
    theirs = state.acquire("b", 2)
    counts = {Entry("filter", "n/f", 0, "recorded"): 2}
    shards = {1: ShardChange(mine.token, {b"k": b"1"}), 2: ShardChange(lost.token, {b"k": b"2"})}
    assert state.commit(group(1, claim, shards, counts=counts, files={"x": 1})) == Fenced(frozenset({2}))
    assert state.load(1) == state.load(2) == state.books() == {}
    assert state.commit(group(1, claim, {1: shards[1]})) == Committed()  # ran out, but is nobody else's
    other = state.claim("g").claim
    assert state.commit(Commit("g", other, 1, {2: ShardChange(theirs.token, {b"k": b"3"})})) == Committed()
    assert state.load(2) == {b"k": b"3"}
    assert dict(state.claim("f").files) == {}


def test_who_lost_the_folder_commits_nothing_more(state):
    first = state.claim("f")
    assert first.known is False
    state.commit(group(1, first.claim, files={"x": 5}))
    second = state.claim("f")
    assert (second.group, dict(second.files)) == (1, {"x": 5})
    assert state.commit(group(2, first.claim, files={"x": 9})) == Displaced()
    assert not state.recovered("f", first.claim, group=1, files={})
    assert state.recovered("f", second.claim, group=7, files={"left": 3})
    assert state.commit(group(8, second.claim)) == Committed()
    third = state.claim("f")
    assert (third.group, dict(third.files)) == (8, {"left": 3})


def test_a_folder_nobody_claimed_is_nobodys(state):
    assert state.commit(group(1, 1)) == Displaced()


def test_old_epochs_of_a_sensor_are_folded_into_one(state):
    claim = state.claim("f").claim
    counts = {
        Entry("sensor", "n", epoch, counter): 1 for epoch in (0, 5, 6) for counter in ("recorded", "delivered")
    } | {Entry("sensor", "other", 5, "recorded"): 1, Entry("filter", "n", 0, "recorded"): 1}  # fmt: skip
    state.commit(group(1, claim, counts=counts))
    for epoch in (5, 5, 0, 99):
        state.fold("n", epoch)
    assert state.books() == {
        Entry("sensor", "n", 0, "recorded"): 2, Entry("sensor", "n", 0, "delivered"): 2,
        Entry("sensor", "n", 6, "recorded"): 1, Entry("sensor", "n", 6, "delivered"): 1,
        Entry("sensor", "other", 5, "recorded"): 1, Entry("filter", "n", 0, "recorded"): 1,
    }  # fmt: skip


def test_looking_at_the_roster_does_not_make_one_a_member(state):
    state.acquire("a", 1)
    state.beat("a", {})
    roster = state.roster()
    assert roster.members == ("a",)
    assert roster.leases[1].holder == "a"


def test_what_is_no_commit_is_a_bug(state):
    for commit in (group(0, 1), group(1, 1, files={"x": -1}), group(1, 1, {2000: ShardChange(1)})):
        with pytest.raises(ValueError, match=r"shared state|shard|commit"):
            state.commit(commit)


def test_many_keys_are_loaded_whole(state):
    claim, lease = state.claim("f").claim, state.acquire("a", 0)
    put = {f"k{n}".encode(): b"v" * 50 for n in range(5000)}
    assert state.commit(group(1, claim, {0: ShardChange(lease.token, put)})) == Committed()
    assert state.load(0) == put


def test_many_threads_that_want_one_shard_get_it_once(opened):
    states = [opened() for _ in range(8)]
    won = []
    threads = [
        threading.Thread(target=lambda s=s, n=n: won.append(s.acquire(f"m{n}", 5))) for n, s in enumerate(states)
    ]  # fmt: skip
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert sum(lease is not None for lease in won) == 1


def _commit_forever(path, claim, token):
    state = SqliteState(path)
    for number in range(1, 10**6):
        value = str(number).encode()
        entry = Entry("filter", "n/f", 0, "recorded")
        state.commit(group(number, claim, {0: ShardChange(token, {b"a": value, b"b": value})}, counts={entry: 1}))


def test_sqlite_survives_the_death_of_a_writer_at_any_moment(tmp_path):
    state = SqliteState(tmp_path / "s.db")
    claim, lease = state.claim("f").claim, state.acquire("a", 0)
    process = multiprocessing.get_context("spawn").Process(
        target=_commit_forever, args=(tmp_path / "s.db", claim, lease.token), daemon=True
    )
    process.start()
    while not state.load(0):
        time.sleep(0.01)
    time.sleep(0.1)
    process.kill()
    process.join()
    found, last = state.load(0), state.claim("f").group
    assert found[b"a"] == found[b"b"] == str(last).encode()
    assert state.books() == {Entry("filter", "n/f", 0, "recorded"): last}


def test_sqlite_that_is_locked_or_cannot_be_opened_is_unavailable(tmp_path):
    state = SqliteState(tmp_path / "s.db", wait_seconds=0.05)
    holder = SqliteState(tmp_path / "s.db")
    with holder._step(), pytest.raises(Unavailable, match="locked"):
        state.acquire("a", 0)
    with holder._step():
        state.load(0)
    assert state.load(0) == {}
    with pytest.raises(Unavailable):
        SqliteState(tmp_path / "missing" / "s.db")


def test_a_clock_set_back_does_not_make_a_lease_last_for_ever(tmp_path):
    now = [10**18]
    state = SqliteState(tmp_path / "s.db", clock=lambda: now[0])
    first = state.acquire("a", 0)
    now[0] -= 3600 * 10**9
    second = state.acquire("b", 0)
    assert second.token > first.token


@needs_redis
def test_redis_killed_keeps_what_it_answered_to_and_is_unavailable_meanwhile(tmp_path):
    with redis_server(tmp_path) as server:
        state = RedisState(RedisSettings(server.url, timeout=0.5), fleet="t")
        assert state.caution() == ""
        claim, lease = state.claim("f").claim, state.acquire("a", 0)
        for number in range(1, 50):
            value = str(number).encode()
            assert state.commit(group(number, claim, {0: ShardChange(lease.token, {b"k": value})})) == Committed()
        server.kill()
        with pytest.raises(Unavailable):
            state.load(0)
        server.start()
        assert state.load(0) == {b"k": b"49"}
        again = group(49, claim, {0: ShardChange(lease.token, {b"k": b"49"})})
        assert state.commit(again) == Committed(again=True)


@needs_redis
def test_redis_emptied_fences_whoever_held_a_shard(tmp_path):
    with redis_server(tmp_path) as server:
        state = RedisState(RedisSettings(server.url), fleet="t")
        claim, lease = state.claim("f").claim, state.acquire("a", 0)
        server.restart(empty=True)
        assert state.commit(group(1, claim, {0: ShardChange(lease.token)})) == Displaced()
        fresh = state.claim("f")
        assert not fresh.known
        assert state.commit(group(1, fresh.claim, {0: ShardChange(lease.token)})) == Fenced(frozenset({0}))
        assert state.acquire("b", 0).token > lease.token


@needs_redis
def test_redis_that_hangs_is_unavailable_within_its_timeout(tmp_path):
    with redis_server(tmp_path) as server:
        state = RedisState(RedisSettings(server.url, timeout=0.3), fleet="t")
        state.load(0)
        server.signal(signal.SIGSTOP)
        began = time.monotonic()
        with pytest.raises(Unavailable):
            state.load(0)
        assert time.monotonic() - began < 15
        server.signal(signal.SIGCONT)
        assert state.load(0) == {}


@needs_redis
def test_redis_asks_for_its_password_from_a_file_that_may_change(tmp_path):
    with redis_server(tmp_path / "r", password="right") as server:
        secret = tmp_path / "secret"
        secret.write_text("wrong\n")
        settings = RedisSettings(f"redis://127.0.0.1:{server.port}/0", password_file=str(secret))
        state = RedisState(settings, fleet="t")
        with pytest.raises(Unavailable):
            state.load(0)
        secret.write_text("right\n")
        assert state.load(0) == {}
        with pytest.raises(BadInput):
            check_files(RedisSettings(server.url.replace(":right@", ""), password_file="/no/such/file"))


@pytest.mark.parametrize("url", ["http://x", "redis://user:secret@host/0", "host:6379", "redis://"])
def test_an_address_that_is_none_is_a_users_mistake(url):
    with pytest.raises(Usage):
        RedisSettings(url)
