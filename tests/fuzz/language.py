"""What users write: HuntFilters as YAML, pcap expressions; and BPF programs through three interpreters."""

from __future__ import annotations

from packhound.api.load import load_text
from packhound.rules import bpf
from packhound.rules.compile import compile_plan
from tests.fuzz import seeds
from tests.fuzz.target import ROOT, Broken, Target
from tests.fuzz.turns import pack, unpack

try:
    from packhound.sensor.kernel import _scan as native
except ImportError:
    native = None  # type: ignore[assignment]

WORDS = tuple(word.encode() for word in (
    "match:", "any:", "all:", "not:", "field: ", "equals: ", "glob: ", "regex: ", "cidr: ", "in: [", "spec:", "metadata:",
    "kind: HuntFilter", "\n---\n", "&a ", "*a", "!!python/object:os.system ", "!!binary ", "|\n", ">\n", "? ", "<<: ", "{", "}",
    "[", "]", "[" * 40, "{a: " * 40, "\t", "'", '"', "\\x00", "%YAML 1.2\n", "99999999999999999999", "1e999", ".inf", "~", "\ufeff",
    "(a+)+$", "(?:x{1000}){1000}", "\\p{L}", "[[:alpha:]]", "\ud7ff", "null", "true", "window: 1h", "sample: 0.5", "budget:",
))  # fmt: skip
PCAP_WORDS = tuple(word.encode() for word in (
    "and ", "or ", "not ", "host ", "net ", "port ", "portrange 1-2 ", "src ", "dst ", "ip ", "ip6 ", "tcp ", "udp ", "vlan ",
    "mpls ", "ether proto ", "proto \\tcp ", "protochain 6 ", "len > 5 ", "ip[0] & 0xf ", "tcp[tcpflags] & tcp-syn != 0 ", "10.0.0.0/8 ",
    "::1 ", "(", ")", "[", "]", "!", "0x", "4294967296 ", "1.2.3.4.5", "host example.com", "inbound", "ifname eth0", "less 5", "geneve ",
    "pppoes ", "icmp6[0] = 135 ", "ether[0:4] = 1 ", "wlan type mgt ", "+ 1 ", "/ 0 ", "<< 33 ", "- -1 ", "llc ", "\\", "gateway a",
))  # fmt: skip
EXPRESSIONS = (
    "udp port 53", "tcp and port 80 or not host 10.0.0.1", "ip6 and net fe80::/10", "vlan 5 and (udp or icmp)", "len > 100",
    "tcp[tcpflags] & (tcp-syn|tcp-ack) == tcp-syn", "ether host 00:11:22:33:44:55", "portrange 5060-5070", "mpls and ip[9] = 6",
    "ip protochain 6", "less 64 or greater 1500", "ether proto 0x88cc", "sctp", "icmp[icmptype] = icmp-echo",
)  # fmt: skip


def _yaml(data: bytes) -> None:
    text = data.decode("utf-8", "replace") if data[:1] != b"\xff" else data[1:].decode("utf-8", "surrogateescape")
    loaded = load_text(text, file="f")
    for each in loaded.bad:
        if not each.reason or each.line < 0 or len(str(each)) > 8192 + 4 * len(text):
            raise Broken(f"a bad reason {each!r}")
    if len(loaded.objects) != len(loaded.lines):
        raise Broken("an object without lines")
    filters = [each for each in loaded.objects if each.kind != "HuntFleet"]
    if filters:
        compile_plan(filters, revision=1, now=0, check_pcap=lambda _: None)  # type: ignore[arg-type]


def _yaml_seeds() -> list[bytes]:
    found = [path.read_bytes() for path in sorted((ROOT / "examples").rglob("*.yaml")) if path.stat().st_size < 6000]
    found.append(
        b"apiVersion: packhound.dev/v1alpha1\nkind: HuntFilter\nmetadata: {name: a, namespace: t}\nspec:\n  match:\n"
        b"    all:\n    - {field: dns.qname, glob: ['*.x.org']}\n    - not: {field: ip.src, in: [10.0.0.0/8, '::1']}\n"
        b"    - {field: sip.from.user, regex: ['^\\+49']}\n    - {field: port, equals: [53, 80]}\n  pcapFilter: udp port 53\n"
    )
    return found


def _expression(data: bytes) -> None:
    text = data.decode("latin-1")
    for linktype in (1, 101):
        found = bpf.compile_expression(text, linktype=linktype)
        if isinstance(found, bpf.BadExpression):
            if not found.reason:
                raise Broken("no reason")
            continue
        if bpf.validate(found) is not None:
            raise Broken(f"an invalid program: {bpf.validate(found)}")
        for packet in PACKETS:
            _run(found, packet, len(packet))


def _run(program: bpf.Program, packet: bytes, wirelen: int) -> None:
    ours = bpf.run(program, packet, wirelen)
    if native is not None and native.bpf_one(program, packet, wirelen) != ours:
        raise Broken(f"interpreters differ: {program} over {packet.hex()}")


PACKETS = (b"", bytes(13), bytes(12) + b"\x08\x00E" + bytes(40), bytes(12) + b"\x86\xdd`" + bytes(60))


def _program(data: bytes) -> None:
    """Eight bytes an instruction, as in the kernel; those that are valid run over the rest of the turns."""
    turns = unpack(data)
    if not turns:
        return
    text = turns[0].data[: 8 * 64]
    program = tuple(
        (text[at + 1] if turns[0].order & 1 else _CODES[text[at + 1] % len(_CODES)], text[at + 2] % 8, text[at + 3] % 8,
         int.from_bytes(text[at + 4 : at + 8], "big") >> (0, 16, 24, 28)[turns[0].order >> 1 & 3])
        for at in range(0, len(text) - 7, 8)
    )  # fmt: skip
    if program:
        program = (*program, (bpf.RET | 0x10, 0, 0, 0))
    if bpf.validate(program) is not None:
        return
    for turn in turns[1:5]:
        _run(program, turn.data, len(turn.data) + turn.order)


_CODES = (
    0x20, 0x28, 0x30, 0x40, 0x48, 0x50, 0x80, 0x00, 0x60, 0x01, 0x61, 0x81, 0xB1, 0x02, 0x03, 0x04, 0x0C, 0x14, 0x1C, 0x24, 0x2C,
    0x34, 0x3C, 0x44, 0x4C, 0x54, 0x5C, 0x64, 0x6C, 0x74, 0x7C, 0x84, 0x94, 0x9C, 0xA4, 0xAC, 0x05, 0x15, 0x1D, 0x25, 0x2D, 0x35,
    0x3D, 0x45, 0x4D, 0x07, 0x87, 0x06, 0x16,
)  # fmt: skip


def _program_seeds() -> list[bytes]:
    found = []
    packets = [data for _, several in seeds.frames(60) for data in several[:1]][:3]
    for text in EXPRESSIONS:
        program = bpf.compile_expression(text)
        if isinstance(program, tuple):
            code = b"".join(bytes((0, c, jt, jf)) + k.to_bytes(4, "big") for c, jt, jf, k in program)
            found.append(pack([(1, code), *((0, packet) for packet in packets)]))
    return found


def targets() -> list[Target]:
    """What takes a user's text."""
    return [
        Target("yaml-filters", _yaml, _yaml_seeds, group="language", words=WORDS, turns=False, size=3000),
        Target("pcap-expression", _expression, lambda: [each.encode() for each in EXPRESSIONS], group="language",
               words=PCAP_WORDS, turns=False, size=400),
        Target("bpf-program", _program, _program_seeds, group="language"),
    ]  # fmt: skip


