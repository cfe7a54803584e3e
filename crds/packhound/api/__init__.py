"""The user's language: HuntFilter, ClusterHuntFilter, HuntFleet (packhound.dev/v1alpha1).

Neighbours: `rules` compiles these, the operator and `packhound run -f` load them. Does not belong here: what a filter
means on the wire, Kubernetes calls.
"""

from packhound.api.huntfilter import ClusterHuntFilter, HuntFilter, HuntFilterSpec, Leaf, Match
from packhound.api.load import BadObject, Loaded, load_text

__all__ = ["BadObject", "ClusterHuntFilter", "HuntFilter", "HuntFilterSpec", "Leaf", "Loaded", "Match", "load_text"]
