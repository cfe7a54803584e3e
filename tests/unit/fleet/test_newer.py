"""Which of two plans is the newer one: revisions within a bucket, time across a bucket that was lost."""

from __future__ import annotations

from packhound.fleet.plans import announced_on, is_newer, key_of
from packhound.wire.plans import ALL, PlanMessage, node_scope
from packhound.wire.subjects import Subjects


def plan(revision: int, created: int) -> PlanMessage:
    return PlanMessage.of([], revision=revision, created_ns=created)


def test_the_first_is_newer_than_none():
    assert is_newer(plan(1, 0), None)


def test_higher_revisions_replace_lower_ones_whatever_the_clocks_say():
    assert is_newer(plan(3, 5), plan(2, 900))


def test_what_is_held_or_older_is_not_taken():
    assert not is_newer(plan(2, 5), plan(2, 5))
    assert not is_newer(plan(1, 4), plan(2, 5))


def test_a_bucket_that_was_lost_and_filled_again_counts():
    assert is_newer(plan(1, 6), plan(42, 5))
    assert is_newer(plan(42, 6), plan(42, 5))


def test_keys_and_subjects_of_scopes():
    names = Subjects("x")
    assert (key_of(names, ALL), announced_on(names, ALL)) == ("all", "ph.x.plan.all")
    scope = node_scope("n.1")
    assert (key_of(names, scope), announced_on(names, scope)) == ("node.n_1", "ph.x.plan.n_1")
