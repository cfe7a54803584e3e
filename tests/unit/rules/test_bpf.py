"""pcap expressions: which are refused and why, what programs may hold, and what a live socket's kernel lets through."""

from __future__ import annotations

import struct

import pytest

from packhound.rules import bpf
from packhound.rules.insns import ABS, ALU, JA, JEQ, JMP, LD, LDX, MEM, ST, B, W


def compiled(text: str, **options: int) -> bpf.Program:
    found = bpf.compile_expression(text, **options)
    assert not isinstance(found, bpf.BadExpression), found
    return found


def ethernet(kind: int, rest: bytes) -> bytes:
    return bytes(12) + kind.to_bytes(2, "big") + rest


def udp(*, port: int = 53, size: int = 20, fragment: int = 0, proto: int = 17) -> bytes:
    head = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 28 + size, 1, fragment, 64, proto, 0, bytes(4), bytes(4))
    return ethernet(0x0800, head + struct.pack(">HHHH", 40000, port, 8 + size, 0) + bytes(size))


@pytest.mark.parametrize(
    "text",
    [
        "tcp", "udp port 53", "tcp port http or https", "net 10.0.0.0/8 and not ip6 host fe80::1", "vlan 5 and ip",
        "tcp[tcpflags] & (tcp-syn|tcp-fin) != 0", "ether host 00:11:22:33:44:55", "ip proto \\tcp", "len > 5",
        "icmp[icmptype] = icmp-echo", "portrange 1-2 and (udp or sctp)", "src or dst port domain", "mpls", "less 64",
        "ether proto 0x88cc", "ip && !tcp || arp", "host ::ffff:1.2.3.4", "net 1.2.3.0 mask 255.255.255.0",
    ],
)  # fmt: skip
def test_compiles(text: str) -> None:
    assert bpf.validate(compiled(text)) is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        ("tcp port 80 and ((", "syntax error"),
        ("prot tcp", "'prot' is no keyword"),
        ("host example.com", "names are not looked up"),
        ("host abc.def", "names are not looked up"),
        ("port http or tcp foo", "'foo' is no keyword"),
        ("port 70000", "70000"),
        ("inbound", "target.interfaces"),
        ("ether[-1] = 1", "only a capturing kernel knows"),
        ("ip6 protochain 6", "loop"),
        ("ip broadcast", "netmask"),
        ("tcp\0", "not ASCII"),
        ("tcp or " * 2000 + "udp", "characters"),
        ("(" * 65 + "tcp" + ")" * 65, "brackets"),
        ("tcp[0] << 40 = 1", "shift"),
    ],
)
def test_is_refused_with_its_reason(text: str, reason: str) -> None:
    found = bpf.compile_expression(text)
    assert isinstance(found, bpf.BadExpression)
    assert reason in found.reason


def test_depends_on_the_link_type() -> None:
    packet = udp()
    assert bpf.run(compiled("udp port 53"), packet, len(packet))
    assert not bpf.run(compiled("udp port 53", linktype=101), packet, len(packet))
    assert bpf.run(compiled("udp port 53", linktype=101), packet[14:], len(packet) - 14)


RETURN = (6, 0, 0, 1)


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ((), "between 1 and"),
        ((RETURN,) * 4097, "between 1 and"),
        (((LD | W | ABS, 0, 0, 0),), "ends in a return"),
        (((JMP | JEQ, 0, 1, 0), RETURN), "jump out"),
        (((JMP | JA, 0, 0, 1), RETURN), "jump out"),
        (((JMP | JA, 0, 0, 0xFFFFFFFF), RETURN), "jump out"),
        (((LD | MEM, 0, 0, 16), RETURN), "no such memory word"),
        (((ST, 0, 0, 16), RETURN), "unknown opcode"),
        (((ALU | 0x30, 0, 0, 0), RETURN), "division by zero"),
        (((ALU | 0x90, 0, 0, 0), RETURN), "division by zero"),
        (((0x0100 | LD, 0, 0, 0), RETURN), "out of range"),
        (((LDX | B | ABS, 0, 0, 0), RETURN), "unknown opcode"),
        (((0, 0, 0, 1 << 32), RETURN), "out of range"),
    ],
)
def test_a_program_that_could_go_astray_is_not_valid(program: bpf.Program, reason: str) -> None:
    assert reason in (bpf.validate(program) or "")


def test_a_load_behind_the_packet_rejects() -> None:
    program = compiled("udp[100] = 0")
    assert bpf.run(program, udp(size=120), 200)
    assert not bpf.run(program, udp(size=20), 200)


# joined programs -----------------------------------------------------------------------------------------------------


def test_a_union_accepts_what_any_part_accepts() -> None:
    program = bpf.union((compiled("udp port 53"), compiled("udp port 5060"), compiled("tcp")))
    assert bpf.validate(program) is None
    for packet, wanted in ((udp(port=53), 1), (udp(port=5060), 1), (udp(port=99), 0), (udp(proto=6), 1)):
        assert bool(bpf.run(program, packet, len(packet))) == bool(wanted)


def test_a_part_that_reads_behind_the_packet_does_not_hide_the_next() -> None:
    packet = udp(size=20)
    alone = [compiled("udp[100] = 0"), compiled("udp port 53")]
    assert [bool(bpf.run(each, packet, len(packet))) for each in alone] == [False, True]
    assert bpf.run(bpf.union(alone), packet, len(packet))


def test_no_part_means_everything() -> None:
    assert bpf.run(bpf.union(()), b"", 0)


def test_a_union_that_grows_too_long_accepts_everything() -> None:
    parts = [compiled(f"tcp[{i}:4] = {i} and udp[{i}:2] = 3 or port {i}") for i in range(200)]
    program = bpf.union(parts)
    assert len(program) <= bpf.MAX_INSNS
    assert bpf.run(program, b"", 0)


def test_far_jumps_are_written_out() -> None:
    text = " or ".join(f"udp port {port}" for port in range(1000, 1400))
    parts = (compiled(text), compiled("tcp port 9"))
    program = bpf.union(parts)
    assert 300 < len(program) < bpf.MAX_INSNS
    assert bpf.validate(program) is None
    for packet, wanted in ((udp(port=1399), True), (udp(port=1400), False), (udp(port=9, proto=6), True)):
        assert bool(bpf.run(program, packet, len(packet))) == wanted


def live(text: str, packet: bytes, *, tagged: bool = False, linktype: int = bpf.EN10MB) -> bool:
    """Run a live program as a kernel would: the load of the VLAN flag answers `tagged`."""
    program = bpf.live_program(compiled(text, linktype=linktype), linktype=linktype)
    assert bpf.validate(program) is None
    flag = tuple((0, 0, 0, int(tagged)) if insn[3] == bpf.VLAN_TAG_PRESENT else insn for insn in program)
    assert flag != program
    return bool(bpf.run(flag, packet, len(packet)))


def test_a_live_program_lets_through_what_only_user_space_can_decide() -> None:
    assert live("udp port 53", udp(port=53))
    assert not live("udp port 53", udp(port=54))
    assert live("udp port 53", udp(port=54), tagged=True)
    assert live("udp port 53", udp(port=54, fragment=0x2000))
    assert live("udp port 53", udp(port=54, fragment=0x00B9))
    assert not live("udp port 53", udp(port=54, fragment=0x4000)), "don't-fragment is no fragment"
    assert live("tcp", ethernet(0x86DD, bytes(6) + b"\x2c" + bytes(60)))
    assert not live("tcp", ethernet(0x86DD, bytes(6) + b"\x11" + bytes(60)))
    assert not live("tcp", ethernet(0x0806, bytes(28)))
    assert live("arp", ethernet(0x0806, bytes(28)))
    assert live("arp", ethernet(0x0806, b"")), "shorter than any IP header"
    assert live("ip", ethernet(0x0800, b"\x45"))


def test_a_live_program_for_raw_ip() -> None:
    assert live("udp port 53", udp(port=53)[14:], linktype=101)
    assert not live("udp port 53", udp(port=54)[14:], linktype=101)
    assert live("udp port 53", udp(port=54, fragment=1)[14:], linktype=101)
    assert live("udp port 53", b"\x60" + bytes(5) + b"\x2c" + bytes(60), linktype=101)
    assert not live("udp port 53", b"", linktype=101)
    assert live("udp port 53", b"", linktype=113, tagged=True)
    assert live("udp port 53", udp(port=53)[14:], linktype=14)
