"""What becomes of a filter, for the person who wrote it: what is decided where, and what it costs.

Promise: values only; sentences hold what the user wrote, nothing from the wire.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from packhound.rules.plan import CompiledFilter, HuntPlan, LeafSpec, Mode, Node, leaves
from packhound.rules.prefilter import MIN_LITERAL, PLAIN, is_header, is_message, literals_of, modes_of, protocols_of
from packhound.rules.values import text_of

SHOWN_VALUES = 4
_SCOPES = {
    "packet": "each packet that matches",
    "flow": "every packet of a flow once anything of it matches, from its first packet kept",
    "call": "signalling and media of a call once any of its messages matches, from its first packet kept",
}


@dataclass(frozen=True, slots=True)
class Explanation:
    """One filter: what it takes, and where each part is decided. `kernel`: before packets are copied out of the
    capture; `engine`: compiled code, on addresses, ports, counts and literals; `fields`: on dissected messages;
    `warnings`: what may surprise."""

    name: str
    active: bool
    scope: str
    takes: str
    match: str
    kernel: tuple[str, ...]
    engine: tuple[str, ...]
    fields: tuple[str, ...]
    warnings: tuple[str, ...]


def explain(plan: HuntPlan, *, notes: Callable[[str], Iterable[str]] | None = None) -> list[Explanation]:
    """Explain every filter of a plan; `notes` adds warnings to the filter of that name."""
    return [
        explain_filter(each, notes=tuple(notes(each.name)) if notes else ()) for each in plan.filters
    ]


def explain_filter(each: CompiledFilter, *, notes: tuple[str, ...] = ()) -> Explanation:
    """Explain one filter; `notes` of whoever loaded it are added to its warnings."""
    found = () if each.tree is None else tuple(dict.fromkeys(leaf for leaf, _ in leaves(each.tree)))
    return Explanation(
        name=each.name,
        active=each.active,
        scope=each.scope,
        takes="each packet that passes pcapFilter" if each.tree is None else _SCOPES[each.scope],
        match="" if each.tree is None else text_of_tree(each.tree),
        kernel=_kernel(each),
        engine=tuple(_engine(each, found)),
        fields=tuple(_fields(each, found)),
        warnings=(*_warnings(each), *notes),
    )


def _kernel(each: CompiledFilter) -> tuple[str, ...]:
    if each.pcap_filter is None:
        return ()
    why = "run by the engine, so that flows and books count what it rejects (run --bpf filters in the socket)"
    return (f"pcapFilter {each.pcap_filter!r}: {why}",)


def _engine(each: CompiledFilter, found: Iterable[LeafSpec]) -> Iterable[str]:
    for leaf in found:
        if is_header(leaf):
            yield f"{text_of_leaf(leaf)}: once a flow, by table"
        elif leaf.field == "flow.bytes":
            yield f"{text_of_leaf(leaf)}: when a flow passes a threshold"
        elif leaf.field == "app.protocol":
            yield f"{text_of_leaf(leaf)}: when the protocol of a flow is known"
    modes, literals = modes_of([replace(each, active=True)])
    for app, mode in sorted(modes.items()):
        if mode == Mode.PREFILTER:
            shown = ", ".join(repr(text.decode()) for text in sorted(literals[app])[:SHOWN_VALUES])
            more = f" and {len(literals[app]) - SHOWN_VALUES} more" if len(literals[app]) > SHOWN_VALUES else ""
            yield f"{app}: only messages that hold {shown}{more} are dissected"
        elif mode == Mode.ALWAYS:
            yield f"{app}: every message is dissected"


def _fields(each: CompiledFilter, found: Iterable[LeafSpec]) -> Iterable[str]:
    negated = {leaf for leaf, no in leaves(each.tree) if no} if each.tree is not None else set()
    for leaf in found:
        if is_message(leaf):
            protocols = ", ".join(protocols_of(each, leaf))
            why = _why_all(leaf) if leaf not in negated else "what is absent can only be told from all messages"
            yield f"{text_of_leaf(leaf)} of {protocols}" + (f" ({why})" if why else "")


def _why_all(leaf: LeafSpec) -> str:
    if literals_of(leaf) is not None:
        return ""
    if leaf.operator == "regex":
        return "a regular expression names no text to look for first"
    if leaf.row.type in ("number", "bool", "address", "phone"):
        return "its values have no one spelling on the wire"
    if leaf.field not in PLAIN:
        return "its text may be escaped, hashed or divided on the wire"
    return f"no text of {MIN_LITERAL} characters that must stand in the raw message"


def _warnings(each: CompiledFilter) -> Iterable[str]:
    if each.suspended:
        yield "suspended: it matches nothing"
    elif not each.active:
        yield "its ttl is over: it matches nothing"
    if each.sample < 1:
        yield f"takes {each.sample:.2%} of what matches, by hash of flow or call"
    if each.payload != "full":
        yield f"keeps payload: {each.payload}"
    if each.tree is not None and any(no for _, no in leaves(each.tree)):
        yield "not: true as soon as a message has the field and does not match, or when it can no longer come"
    for leaf, _ in leaves(each.tree) if each.tree is not None else ():
        if leaf.operator == "glob" and all(set(text_of(value)) <= {"*"} for value in leaf.values):
            yield f"{text_of_leaf(leaf)}: true of any value"


def text_of_leaf(leaf: LeafSpec) -> str:
    """A leaf in a few words."""
    shown = ", ".join(text_of(value) for value in leaf.values[:SHOWN_VALUES])
    more = f" and {len(leaf.values) - SHOWN_VALUES} more" if len(leaf.values) > SHOWN_VALUES else ""
    case = " (with case)" if leaf.case else ""
    return f"{leaf.field} {leaf.operator} {shown}{more}{case}"


def text_of_tree(node: Node) -> str:
    """A tree as a sentence."""
    if node.leaf is not None:
        return text_of_leaf(node.leaf)
    if node.kind == "not":
        return f"not ({text_of_tree(node.branches[0])})"
    word = " or " if node.kind == "any" else " and "
    parts = [text_of_tree(branch) for branch in node.branches[:SHOWN_VALUES]]
    if len(node.branches) > SHOWN_VALUES:
        parts.append(f"{len(node.branches) - SHOWN_VALUES} more")
    return parts[0] if len(parts) == 1 else word.join(f"({part})" for part in parts)
