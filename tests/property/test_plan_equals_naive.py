"""Whatever the filters and the facts: matcher, latch and prefilter agree with the naive evaluation."""

from __future__ import annotations

import struct
from ipaddress import ip_address

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from packhound.fields import FIELDS, HEADER
from packhound.net import dns, http1
from packhound.net.facts import Fact, Malformed
from packhound.net.sessions.tls import TlsStream
from packhound.rules.compile import plan_of
from packhound.rules.evaluate import Selector, evaluate, leaf_test, values_of
from packhound.rules.latch import Matcher
from packhound.rules.literals import LiteralSet
from packhound.rules.plan import CompiledFilter, LeafSpec, Mode, Node, leaves
from packhound.rules.prefilter import touches
from tests.support.hellos import client_hello, handshake, record, sni

# few letters, so that filters and facts meet; look-alikes of ASCII letters, escapes and separators among them
WORD = st.text("abkKsS\u212a\u017f\u00df\u0130.*?\\-/ 1:", min_size=1, max_size=8)
NAME = st.text("abkKcom.\u212a", min_size=1, max_size=12)
PHONE = st.text("0146+-7 ", min_size=1, max_size=14) | st.builds(
    lambda prefix, digits: prefix + digits, st.sampled_from(["", "+", "00", "011"]),
    st.sampled_from(["42", "112", "1234567", "46701234567", "0701234567", "701234567"]),
)  # fmt: skip
ADDRESSES = ["10.0.0.1", "10.0.0.2", "10.9.0.1", "::ffff:10.0.0.1", "2001:db8::1", "2001:db8:1::1", "fe80::1"]
NETWORKS = [*ADDRESSES, "10.0.0.0/8", "10.0.0.0/30", "::ffff:10.0.0.0/104", "2001:db8::/32", "::/0", "0.0.0.0/0"]
SMALL = st.integers(0, 40)
RANGE = st.builds(lambda a, b: f"{min(a, b)}-{max(a, b)}", SMALL, SMALL)


def values_for(field: str, operator: str) -> st.SearchStrategy[object]:
    kind = FIELDS[field].type
    if kind == "address":
        return st.sampled_from(NETWORKS if operator == "in" else ADDRESSES)
    if kind == "number":
        return SMALL | RANGE if operator == "in" else SMALL
    if kind == "bool":
        return st.booleans()
    if operator == "number":
        return PHONE
    if operator == "regex":
        return st.sampled_from(["a+", "^k", "s$", "(a|b)k", "[.]", "K"])
    if kind == "name":
        return NAME | st.builds(lambda n: "." + n, NAME) | st.builds(lambda n: "*." + n, NAME)
    return PHONE if kind == "phone" else WORD


FACT_VALUES = {
    "address": st.sampled_from(ADDRESSES), "number": SMALL, "bool": st.booleans(), "phone": PHONE, "name": NAME,
    "string": WORD,
}  # fmt: skip
USED = (
    "ip.addr", "ip.src", "port", "port.dst", "ip.proto", "vlan.id", "sip.user", "phone.number", "sip.status", "dns.qname",
    "dns.response", "tls.sni", "tls.alpn", "http.host", "http.url", "http.user_agent", "flow.bytes",
)  # fmt: skip


BYTES = ("flow.bytes", "tls.sni")


@st.composite
def leaf(draw: st.DrawFn, fields: tuple[str, ...] = USED) -> Node:
    field = draw(st.sampled_from(fields))
    operator = draw(st.sampled_from(FIELDS[field].operators))
    values = tuple(draw(st.lists(values_for(field, operator), min_size=1, max_size=3)))
    spec = LeafSpec(field, operator, values, draw(st.booleans()), draw(st.sampled_from([1, 3, 7])))
    try:
        leaf_test(spec)
    except Exception:  # a value that the compiler would refuse
        assume(False)
    return Node("leaf", leaf=spec)


def tree(fields: tuple[str, ...] = USED) -> st.SearchStrategy[Node]:
    return st.recursive(
        leaf(fields),
        lambda below: st.one_of(
            st.builds(lambda b: Node("not", (b,)), below),
            st.builds(lambda kind, bs: Node(kind, tuple(bs)), st.sampled_from(["any", "all"]),
                      st.lists(below, min_size=1, max_size=3)),
        ),
        max_leaves=5,
    )  # fmt: skip


def filters(scope: str, fields: tuple[str, ...] = USED) -> st.SearchStrategy[list[CompiledFilter]]:
    return st.lists(tree(fields), min_size=1, max_size=6).map(
        lambda trees: [CompiledFilter(f"f{i}", scope, each) for i, each in enumerate(trees)]  # type: ignore[arg-type]
    )


@st.composite
def facts(draw: st.DrawFn, fields: tuple[str, ...] = USED) -> dict[str, object]:
    out: dict[str, object] = {}
    for field in draw(st.lists(st.sampled_from(fields), unique=True)):
        value = FACT_VALUES[FIELDS[field].type]
        out[field] = draw(
            value if field == "flow.bytes" else value | st.lists(value, min_size=1, max_size=3).map(tuple)
        )
    return out


def naive(plan: list[CompiledFilter], found: dict[str, object]) -> frozenset[int]:
    return frozenset(i for i, each in enumerate(plan) if each.tree and evaluate(each.tree, found))  # type: ignore[arg-type]


@given(filters("packet"), facts())
@settings(max_examples=400, deadline=None)
def test_the_matcher_says_of_a_packet_what_naive_evaluation_says(rows, found):
    assert Matcher(plan_of(rows, revision=1)).packet(found) == naive(rows, found)


@given(filters("flow") | filters("flow", BYTES), st.lists(facts() | facts(BYTES), min_size=1, max_size=4))
@settings(max_examples=400, deadline=None)
def test_a_latch_that_learns_everything_at_once_agrees_with_naive_evaluation(rows, flows):
    matcher = Matcher(plan_of(rows, revision=1))
    for found in flows:  # one flow after the other: the matcher remembers, and must not mix them up
        latch = matcher.open("flow")
        latch.learn(found)
        growing = latch.verdict()
        latch.finish()
        verdict = latch.verdict()
        assert verdict.wanted == naive(rows, found)
        assert not verdict.undecided
        assert growing.wanted <= verdict.wanted <= growing.wanted | growing.undecided


@given(filters("flow"), st.lists(facts(), max_size=4), st.sampled_from(["tls", "sip", "unknown"]))
@settings(max_examples=200, deadline=None)
def test_a_latch_only_grows_and_is_decided_when_finished(rows, messages, app):
    latch = Matcher(plan_of(rows, revision=1)).open("flow")
    wanted = frozenset()
    for found in [*messages, None]:
        if found is None:
            latch.close(app)
        else:
            latch.learn(found)
        verdict = latch.verdict()
        assert wanted <= verdict.wanted
        assert not verdict.wanted & verdict.undecided
        wanted = verdict.wanted
    latch.finish()
    assert wanted <= latch.verdict().wanted
    assert not latch.verdict().undecided


@given(filters("flow"), st.lists(facts(), min_size=1, max_size=3))
@settings(max_examples=200, deadline=None)
def test_a_latch_without_negation_wants_what_all_messages_together_say(rows, messages):
    rows = [each for each in rows if not any(no for _, no in leaves(each.tree))]
    assume(rows)
    latch = Matcher(plan_of(rows, revision=1)).open("flow")
    every: dict[str, tuple[object, ...]] = {}
    for found in messages:
        latch.learn(found)
        for name, value in found.items():
            every[name] = every.get(name, ()) + values_of(value)
    # the latest byte count is the one that counts, so a flow may have been wanted on the way
    assert latch.verdict().wanted >= naive(rows, every | _last_bytes(messages))


def _last_bytes(messages):
    counts = [found["flow.bytes"] for found in messages if "flow.bytes" in found]
    return {"flow.bytes": counts[-1]} if counts else {}


@given(st.data())
@settings(max_examples=400, deadline=None)
def test_selection_never_misses_a_leaf(data):
    field = data.draw(st.sampled_from(USED))
    specs = [each.leaf for each in data.draw(st.lists(leaf((field,)) | leaf(), min_size=1, max_size=25))]
    found = data.draw(facts()) | {field: data.draw(FACT_VALUES[FIELDS[field].type])}
    selector = Selector(specs)
    true = selector.satisfied(found)
    for spec in specs:
        expected = any(leaf_test(spec)(each) for each in values_of(found.get(spec.field)))
        assert (selector.number[spec] in true) == expected


HEADERS = tuple(name for name in USED if HEADER in FIELDS[name].filled_by)


@given(filters("packet", HEADERS), st.sampled_from(ADDRESSES), st.sampled_from(ADDRESSES), SMALL, SMALL, SMALL, SMALL)
@settings(max_examples=400, deadline=None)
def test_a_header_that_matches_touches_the_header_sets(rows, src, dst, sport, dport, proto, vlan):
    plan = plan_of(rows, revision=1)
    found = {
        "ip.src": src, "ip.addr": (src, dst), "port": (sport, dport), "port.dst": dport, "ip.proto": proto,
        "vlan.id": vlan,
    }  # fmt: skip
    if naive(rows, found):
        ends = [address for text in (src, dst) for address in _as_seen(text)]
        assert touches(plan.headers, addresses=ends, ports=(sport, dport), proto=proto, vlan=vlan)


def _as_seen(text):
    """An address as the engine looks it up: as it is, and a v4-mapped one as IPv4 too."""
    address = ip_address(text)
    mapped = getattr(address, "ipv4_mapped", None)
    return [address, mapped] if mapped else [address]


# payload that really holds the fields ------------------------------------------------------------------------------

LABEL = st.text("abkKcom\u212a-\\.", min_size=1, max_size=10)
VALUE = st.text("abkKs1 ./:-", min_size=1, max_size=14).map(str.strip).filter(bool)


@st.composite
def dns_message(draw: st.DrawFn) -> bytes:
    labels = draw(st.lists(LABEL, min_size=1, max_size=4))
    name = b"".join(bytes([len(b)]) + b for b in (label.encode()[:63] for label in labels)) + b"\0"
    alias = draw(LABEL).encode()[:63]
    record = b"\xc0\x0c" + struct.pack("!HHIH", 5, 1, 60, len(alias) + 3) + bytes([len(alias)]) + alias + b"\xc0\x0c"
    answers = draw(st.integers(0, 1))
    return struct.pack("!6H", 1, 0x8180, 1, answers, 0, 0) + name + b"\0\1\0\1" + record * answers


@st.composite
def http_head(draw: st.DrawFn) -> bytes:
    target = "/" + draw(VALUE).replace(" ", "")
    if draw(st.booleans()):
        target = "http://" + draw(VALUE).replace(" ", "").replace("/", "") + target
    fold = draw(st.sampled_from(["", "\r\n "]))
    agent = draw(VALUE) + fold + draw(VALUE)
    lines = [f"GET {target} HTTP/1.1", f"Host: {draw(VALUE)}{fold}", f"User-Agent: {agent}", "", ""]
    return "\r\n".join(lines).encode()


@st.composite
def hello_record(draw: st.DrawFn) -> bytes:
    name = draw(st.text("abkKcom.\u212a", min_size=1, max_size=20))
    return record(22, handshake(1, client_hello((0x1301,), sni(name))))


def read(app: str, payload: bytes) -> list[Fact]:
    if app == "dns":
        message = dns.parse(payload)
        return [] if isinstance(message, Malformed) else [dns.dns_fact(message)]
    if app == "http":
        head = http1.parse(payload)
        return [] if isinstance(head, Malformed) else [http1.http_fact(head)]
    return [each for each in TlsStream(max_bytes=65536).feed(0, payload, now=0) if isinstance(each, Fact)]


PAYLOADS = st.one_of(
    st.tuples(st.just("dns"), dns_message()), st.tuples(st.just("http"), http_head()),
    st.tuples(st.just("tls"), hello_record()),
)  # fmt: skip
SPOKEN = ("dns.qname", "dns.cname", "tls.sni", "http.host", "http.path", "http.url", "http.user_agent", "port")


@st.composite
def aimed(draw: st.DrawFn, found: dict[str, object]) -> Node:
    """A leaf cut out of a value that is there."""
    name = draw(st.sampled_from(sorted(found)))
    value = str(draw(st.sampled_from(values_of(found[name]))))
    operator = draw(st.sampled_from(FIELDS[name].operators))
    start = draw(st.integers(0, max(len(value) - 1, 0)))
    end = draw(st.integers(start, len(value)))
    cut = {"prefix": value[:end], "suffix": value[start:], "contains": value[start:end], "glob": _glob(value, start, end),
           "domain": value[start:].swapcase(), "regex": "a"}.get(operator, value.swapcase())  # fmt: skip
    spec = LeafSpec(name, operator, (cut or value,))
    try:
        leaf_test(spec)
    except Exception:
        assume(False)
    return Node("leaf", leaf=spec)


def _glob(value: str, start: int, end: int) -> str:
    return "*" + "".join("\\" + char if char in "*?\\" else char for char in value[start:end]) + "*"


@given(st.data(), PAYLOADS)
@settings(max_examples=600, deadline=None)
def test_a_message_that_matches_is_never_passed_over(data, spoken):
    app, payload = spoken
    for fact in read(app, payload):
        found = {name: value for name, value in fact.fields.items() if name in SPOKEN}
        assume(found)
        trees = [data.draw(aimed(found)), data.draw(tree(SPOKEN))]
        trees += [Node("all", tuple(trees)), Node("not", (trees[0],)), Node("any", tuple(trees))]
        rows = [CompiledFilter(f"f{i}", "flow", each) for i, each in enumerate(trees)]
        for some in (rows, rows[:2], *([each] for each in rows)):
            plan = plan_of(some, revision=1)
            latch = Matcher(plan).open("flow")
            latch.learn({"ip.proto": 6, "port": (1, 2)})
            before = latch.verdict().wanted
            latch.learn(fact.fields)
            if latch.verdict().wanted - before:
                mode = plan.modes.get(app, Mode.NONE)
                assert mode == Mode.ALWAYS or LiteralSet(plan.literals.get(app, ())).hit(payload)
