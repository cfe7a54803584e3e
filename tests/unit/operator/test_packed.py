"""Plans that are put together from bytes are those that the wire would make; kept targets are those of a fresh look."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from packhound.api.huntfilter import ClusterHuntFilter, HuntFilter
from packhound.operator.targeting import NOWHERE, Targets, Wanted, plans_of
from packhound.wire.plans import PlanMessage, assemble, digest_of, joined, node_scope
from packhound.wire.pods import Pod

NODES = ("n1", "n2", "n3")


def wanted(name, space, selector, generation):
    kind = "HuntFilter" if space else "ClusterHuntFilter"
    raw = {"apiVersion": "packhound.dev/v1alpha1", "kind": kind,
           "metadata": {"name": name, "generation": generation, **({"namespace": space} if space else {})},
           "spec": {"pcapFilter": "udp", "purpose": "ä\u2028\"x", "target": {"podSelector": {"matchLabels": selector}}}}  # fmt: skip
    return Wanted.of(raw, (HuntFilter if space else ClusterHuntFilter).model_validate(raw), 7)


def test_the_bytes_are_those_of_the_message():
    rows = [wanted("a", "s", {}, 3), wanted("b", None, {}, 1)]
    guards = [("10.0.0.1", "fd00::1"), None]
    filters = joined(each.packed(guard) for each, guard in zip(rows, guards, strict=True))
    plain = [each.row(guard) for each, guard in zip(rows, guards, strict=True)]
    made = PlanMessage.of(plain, revision=9, created_ns=5, scope=node_scope("n\u00e41"), previous=8, publisher="op",
                          traceparent="00-" + "1" * 32 + "-" + "2" * 16 + "-01")  # fmt: skip
    data = assemble(filters, digest=digest_of(plain), revision=9, created_ns=5, scope=made.scope, previous=8,
                    publisher="op", traceparent=made.traceparent)  # fmt: skip
    assert data == made.encode()
    assert PlanMessage.decode(data) == made


FILTERS = st.tuples(st.just("filter"), st.sampled_from("abcd"), st.sampled_from(["s", "t", None]),
                    st.sampled_from([{}, {"x": "1"}, {"x": "2"}]), st.booleans())  # fmt: skip
PODS = st.tuples(st.just("pod"), st.sampled_from("pqrs"), st.sampled_from(["s", "t"]), st.sampled_from(NODES),
                 st.sampled_from([{}, {"x": "1"}, {"x": "2"}]), st.integers(1, 9), st.booleans(), st.booleans())  # fmt: skip


@settings(max_examples=150)
@given(st.lists(st.one_of(FILTERS, PODS), max_size=30), st.data())
def test_kept_up_to_date_is_the_same_as_made_anew(steps, data):
    targets, filters, pods = Targets(), {}, {}
    told = {node: targets.plan(node) for node in NODES}
    for generation, step in enumerate(steps, 1):
        if step[0] == "filter":
            _, name, space, selector, there = step
            full = f"{space}/{name}" if space else name
            filters.pop(full, None)
            if there:
                filters[full] = wanted(name, space, selector, generation)
            targets.want(full, filters.get(full))
        else:
            _, name, space, node, labels, host, hostnet, there = step
            pods.pop(name, None)
            if there:
                pods[name] = Pod(space, name, name, node, (f"10.0.0.{host}",), labels, hostnet)
            targets.see(name, pods.get(name))
        if data.draw(st.booleans()):
            changes = targets.settle()
            now = {node: targets.plan(node) for node in NODES}
            assert changes.everywhere or {node for node in NODES if now[node] != told[node]} <= changes.nodes
            told = now
    targets.settle()
    fresh = plans_of(filters.values(), pods=pods.values(), nodes=NODES)
    assert {node: targets.plan(node) for node in NODES} == fresh
    nowhere = set(targets.unplaced(NODES))
    assert nowhere == filters.keys() - {entry.name for plan in fresh.values() for entry in plan.entries}
    assert set(targets.packed(NOWHERE, targets.unplaced(NODES)).generations) == nowhere


def test_what_is_too_much_for_one_sensor_is_left_out_the_youngest_first():
    targets = Targets()
    for n in range(70):
        raw = {"apiVersion": "packhound.dev/v1alpha1", "kind": "ClusterHuntFilter", "metadata": {"name": f"f{n:02}", "generation": 1},
               "spec": {"pcapFilter": f"port {n % 66}"}}  # fmt: skip
        each = Wanted.of(raw, ClusterHuntFilter.model_validate(raw), 1000 - n if n < 66 else 2000 + n)
        targets.want(each.name, each)
    targets.settle()
    made = targets.packed("n1", targets.carries("n1"))
    assert set(made.left) == {"f00", "f01", "f66", "f67"}  # 66 expressions: those of the two youngest are too many
    assert len(made.generations) == 66
    assert "64 different pcapFilters" in made.left["f00"]
