"""Who should have which shards: each member decides for itself from the same roster, and all agree.

Promise: pure. With members and leases at rest nobody moves anything; when they change, as few shards move as can, and
after a round of everybody's decisions every shard has one holder and nobody has two more than another. A shard is
never taken from a member that lives: it gives it back.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple
from zlib import crc32


class Decision(NamedTuple):
    """What a member should do now."""

    acquire: tuple[int, ...] = ()
    release: tuple[int, ...] = ()


def fair_shares(members: Collection[str], held: Mapping[str, int], shards: int) -> dict[str, int]:
    """How many shards each member should have. What does not divide goes to those that hold most already.

    >>> fair_shares(["a", "b", "c"], {"c": 16}, 16)
    {'c': 6, 'a': 5, 'b': 5}
    """
    if not members:
        return {}
    least, more = divmod(shards, len(members))
    order = sorted(members, key=lambda name: (-held.get(name, 0), name))
    return {name: least + (rank < more) for rank, name in enumerate(order)}


def decide(
    member: str, *, members: Collection[str], holders: Mapping[int, str], shards: int, mine: Collection[int]
) -> Decision:
    """Decide for `member`: `holders` by shard of leases in force, `mine` those it works on itself (a lease that it
    holds but does not work on is acquired anew)."""
    everybody = {*members, member}
    held: dict[str, int] = {}
    for shard, holder in holders.items():
        if shard < shards and holder in everybody and (holder != member or shard in mine):
            held[holder] = held.get(holder, 0) + 1
    share = fair_shares(everybody, held, shards)[member]
    own = sorted(shard for shard in mine if shard < shards)
    surplus = tuple(own[share:]) + tuple(sorted(shard for shard in mine if shard >= shards))
    free = [
        shard for shard in range(shards)
        if shard not in mine and holders.get(shard, member) == member
    ]  # fmt: skip
    start = crc32(member.encode("utf-8", "surrogatepass"))  # so that not everybody reaches for the same one first
    free.sort(key=lambda shard: (shard - start) % shards)
    return Decision(acquire=tuple(free[: max(0, share - len(own))]), release=surplus)
