from hypothesis import given, settings
from hypothesis import strategies as st

from packhound.processor.intake.shards import Decision, decide, fair_shares

NAMES = st.sampled_from([f"p{n}" for n in range(7)])


class Fleet:
    """Members and leases; `round` lets every living member act on what it sees, in the given order."""

    def __init__(self, shards: int) -> None:
        self.shards = shards
        self.members: set[str] = set()
        self.leases: dict[int, str] = {}
        self.moves = 0

    def mine(self, member: str) -> set[int]:
        return {shard for shard, holder in self.leases.items() if holder == member}

    def decide(self, member: str) -> Decision:
        return decide(
            member, members=self.members, holders=self.leases, shards=self.shards, mine=self.mine(member)
        )  # fmt: skip

    def act(self, member: str) -> bool:
        found = self.decide(member)
        for shard in found.release:
            del self.leases[shard]
        for shard in found.acquire:
            if shard not in self.leases:
                self.leases[shard] = member
                self.moves += 1
        return found != Decision()

    def die(self, member: str) -> None:
        self.members.discard(member)
        self.leases = {shard: holder for shard, holder in self.leases.items() if holder != member}

    def round(self, order: list[str]) -> bool:
        return sum(self.act(member) for member in order) > 0

    def counts(self) -> list[int]:
        return [len(self.mine(member)) for member in self.members]


@settings(max_examples=200, deadline=None)
@given(
    st.integers(1, 40), st.lists(st.tuples(st.sampled_from(["join", "die", "round"]), NAMES), max_size=40), st.randoms()
)  # fmt: skip
def test_whatever_came_before_all_shards_are_shared_fairly_and_then_stay(shards, events, random):
    fleet = Fleet(shards)
    for event, name in events:
        if event == "join":
            fleet.members.add(name)
        elif event == "die":
            fleet.die(name)
        elif name in fleet.members:
            fleet.act(name)
    fleet.members.add("last")
    for _ in range(4):
        order = sorted(fleet.members)
        random.shuffle(order)
        fleet.round(order)
    assert set(fleet.leases) == set(range(shards))
    assert max(fleet.counts()) - min(fleet.counts()) <= 1
    assert not fleet.round(sorted(fleet.members))


@given(st.integers(1, 6), st.integers(1, 40))
def test_no_more_shards_move_than_must(members, shards):
    fleet = Fleet(shards)
    fleet.members = {f"p{n}" for n in range(members)}
    for _ in range(4):
        fleet.round(sorted(fleet.members))
    fleet.moves = 0
    fleet.members.add("new")
    for _ in range(4):
        fleet.round(sorted(fleet.members))
    assert fleet.moves == len(fleet.mine("new"))
    fleet.moves, orphaned = 0, len(fleet.mine("p0"))
    fleet.die("p0")
    for _ in range(4):
        fleet.round(sorted(fleet.members))
    assert fleet.moves == orphaned


def test_a_lone_member_takes_all_and_one_too_many_takes_none():
    assert set(decide("a", members=["a"], holders={}, shards=4, mine=()).acquire) == {0, 1, 2, 3}
    assert fair_shares(["a", "b", "c"], {}, 2) == {"a": 1, "b": 1, "c": 0}


def test_a_lease_of_ours_that_we_do_not_work_on_is_acquired_anew():
    found = decide("a", members=["a"], holders={0: "a", 1: "a"}, shards=2, mine=[1])
    assert found == Decision(acquire=(0,))


def test_a_shard_that_the_fleet_does_not_have_is_given_back():
    assert decide("a", members=["a"], holders={9: "a"}, shards=2, mine=[9, 0]).release == (9,)


def test_a_lease_in_force_of_a_member_not_heard_of_is_left_alone():
    assert decide("a", members=["a"], holders={0: "ghost"}, shards=2, mine=()).acquire == (1,)
