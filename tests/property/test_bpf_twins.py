"""One pcap expression, three interpreters: ours in Python, ours in C, libpcap's; unions against their parts."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from importlib import import_module
from itertools import islice
from typing import Any

import pcapy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from packhound.rules import bpf
from tests.support.corpus import CORPUS, needs_corpus

EXPRESSIONS = (
    "tcp", "udp port 53", "tcp port 80 or 443", "ip6", "arp", "icmp", "host 10.0.0.1", "net 192.168.0.0/16",
    "vlan", "vlan and udp", "mpls", "len > 100", "less 64", "tcp[tcpflags] & tcp-syn != 0", "udp[8:2] = 0x1234",
    "ip[0] & 0xf > 5", "tcp[((tcp[12] & 0xf0) >> 2):4] = 0x47455420", "ip[2:2] / ip[8] > 10", "ip[2:2] % ip[8] = 1",
    "ether[udp[0]] = 3", "portrange 1000-2000", "not ip", "ip proto 47", "ether multicast", "ip[10] * 3 - 1 > 0xff",
    "udp[100] = 0", "ip6[6] = 17", "src port 53 and dst net 10", "-ip[8] < 5",
)  # fmt: skip
PROGRAMS = {text: bpf.compile_expression(text) for text in EXPRESSIONS}
FILTERS = {text: pcapy.compile(1, 262144, text, 1, 0xFFFFFFFF) for text in EXPRESSIONS}


@st.composite
def packets(draw: st.DrawFn) -> bytes:
    """Ethernet with something that is IP more often than chance would have it, cut anywhere."""
    ethertype = draw(st.sampled_from([0x0800, 0x0800, 0x0800, 0x86DD, 0x0806, 0x8100, 0x8847, 0x1234]))
    rest = bytearray(draw(st.binary(max_size=160)))
    if ethertype == 0x0800 and len(rest) >= 20:
        rest[0] = 0x40 | draw(st.integers(5, 15))
        rest[6:8] = struct.pack(">H", draw(st.sampled_from([0, 0, 0x4000, 0x2000, 1])))
        rest[9] = draw(st.sampled_from([6, 17, 1, 47]))
    return draw(st.binary(min_size=12, max_size=12)) + ethertype.to_bytes(2, "big") + bytes(rest)


def native() -> Any:
    try:
        return import_module("packhound.sensor.kernel._scan").bpf_one
    except ImportError:
        pytest.skip("the native kernel is not built")


def agree(packet: bytes) -> None:
    for text in EXPRESSIONS:
        program = PROGRAMS[text]
        assert not isinstance(program, bpf.BadExpression), text
        assert bool(bpf.run(program, packet, len(packet))) == bool(FILTERS[text].filter(packet)), text


@given(packet=st.one_of(packets(), st.binary(max_size=80)))
@settings(max_examples=150, deadline=None)
def test_the_interpreter_agrees_with_libpcap(packet: bytes) -> None:
    agree(packet)


@given(packet=st.one_of(packets(), st.binary(max_size=80)), extra=st.integers(0, 2000))
@settings(max_examples=150, deadline=None)
def test_native_is_portable(packet: bytes, extra: int) -> None:
    one = native()
    for text, program in PROGRAMS.items():
        assert one(program, packet, len(packet) + extra) == bpf.run(program, packet, len(packet) + extra), text


insns = st.one_of(
    st.tuples(st.sampled_from([0x20, 0x28, 0x30, 0x40, 0x48, 0x50, 0xB1]), st.just(0), st.just(0), st.integers(0, 40)),
    st.tuples(st.sampled_from([0x00, 0x01, 0x80, 0x81]), st.just(0), st.just(0), st.integers(0, 0xFFFFFFFF)),
    st.tuples(st.sampled_from([0x02, 0x03, 0x60, 0x61]), st.just(0), st.just(0), st.integers(0, 15)),
    st.tuples(st.sampled_from([0x04 | op | x for op in range(0, 0xB0, 0x10) for x in (0, 8)]), st.just(0), st.just(0),
              st.one_of(st.integers(1, 40), st.integers(1, 0xFFFFFFFF))),
    st.tuples(st.sampled_from([0x15, 0x25, 0x35, 0x45, 0x1D, 0x2D, 0x3D, 0x4D]), st.integers(0, 3), st.integers(0, 3),
              st.integers(0, 300)),
    st.tuples(st.sampled_from([0x07, 0x87, 0x06]), st.just(0), st.just(0), st.integers(0, 2)),
)  # fmt: skip
programs = st.lists(insns, max_size=24).map(lambda body: (*body, *((6, 0, 0, 0),) * 3, (6, 0, 0, 7)))


@given(program=programs, packet=st.binary(max_size=64), extra=st.integers(0, 9))
@settings(max_examples=400, deadline=None)
def test_native_is_portable_on_any_valid_program(program: bpf.Program, packet: bytes, extra: int) -> None:
    if bpf.validate(program) is None:
        assert native()(program, packet, len(packet) + extra) == bpf.run(program, packet, len(packet) + extra)


@given(parts=st.lists(programs, min_size=1, max_size=4), packet=st.binary(max_size=64))
@settings(max_examples=400, deadline=None)
def test_a_union_of_any_programs_is_their_or(parts: list[bpf.Program], packet: bytes) -> None:
    valid = [each for each in parts if bpf.validate(each) is None]
    joined = bpf.union(valid)
    assert bpf.validate(joined) is None
    wanted = any(bpf.run(each, packet, len(packet)) for each in valid) if valid else True
    assert bool(bpf.run(joined, packet, len(packet))) == wanted


@given(packet=packets(), texts=st.lists(st.sampled_from(EXPRESSIONS), min_size=1, max_size=8))
@settings(max_examples=150, deadline=None)
def test_a_union_of_expressions_is_their_or(packet: bytes, texts: list[str]) -> None:
    joined = bpf.union([PROGRAMS[text] for text in texts])
    assert bool(bpf.run(joined, packet, len(packet))) == any(FILTERS[text].filter(packet) for text in texts)


def readable(reader: Any) -> Iterator[bytes]:
    """Packets until the end of the file, or the first thing in it that libpcap does not take."""
    while True:
        try:
            header, packet = reader.next()
        except pcapy.PcapError:
            return
        if header is None:
            return
        yield packet


@needs_corpus
def test_they_agree_on_real_packets() -> None:
    one, seen = native(), 0
    for path in sorted(CORPUS.rglob("*.pcap"))[::40]:
        reader = pcapy.open_offline(str(path))
        if reader.datalink() != bpf.EN10MB:
            continue
        for packet in islice(readable(reader), 40):
            if packet:
                agree(packet)
                for program in PROGRAMS.values():
                    assert one(program, packet, len(packet)) == bpf.run(program, packet, len(packet))
                seen += 1
    assert seen > 100
