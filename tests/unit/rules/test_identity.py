"""Leaves on pods become leaves on their addresses; where no pods are known they are refused by their path."""

from __future__ import annotations

from packhound.rules.compile import compile_plan
from packhound.rules.evaluate import evaluate
from packhound.wire.pods import Pod, PodBook, PodTable
from tests.support.hunts import hunt


def compiled(match, *pods):
    book = None
    if pods:
        book = PodBook()
        book.take(PodTable("n1", 1, (), pods))
    return compile_plan([hunt(match)], revision=1, now=0, check_pcap=lambda _: None, identity=book)


WEB = Pod("shop", "web-1", "u1", "n1", ("10.1.0.5",), {"app": "web"})
DB = Pod("shop", "db-1", "u2", "n1", ("10.1.0.6",), {"app": "db"})


def test_a_name_means_its_addresses():
    plan = compiled({"field": "k8s.pod.name", "glob": "web-*"}, WEB, DB).plan
    assert evaluate(plan.filters[0].tree, {"ip.addr": ("10.1.0.5", "1.2.3.4")})
    assert not evaluate(plan.filters[0].tree, {"ip.addr": ("10.1.0.6", "1.2.3.4")})
    assert not plan.headers.always


def test_a_name_that_nobody_has_matches_nothing_and_its_negation_everything():
    match = {"field": "k8s.pod.label", "equals": "app=cache"}
    assert not evaluate(compiled(match, WEB).plan.filters[0].tree, {"ip.addr": ("10.1.0.5",)})
    assert evaluate(compiled({"not": match}, WEB).plan.filters[0].tree, {"ip.addr": ("10.1.0.5",)})


def test_without_pods_the_leaf_is_refused_by_its_path():
    result = compiled({"all": [{"field": "port", "equals": 80}, {"field": "k8s.namespace", "equals": "shop"}]})
    assert [(r.path, r.reason) for r in result.refused] == [
        (("spec", "match", "all", 1, "field"), "k8s.namespace is known in a cluster only: there are no pods here")
    ]
