"""rtnetlink messages become values; what does not parse is skipped."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from packhound.sensor.tap import links
from packhound.sensor.tap.links import DONE, Address, Gone, Link


def _attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", len(value) + 4, kind) + value + bytes(-len(value) % 4)


def _message(kind: int, body: bytes) -> bytes:
    body += bytes(-len(body) % 4)
    return struct.pack("=IHHII", 16 + len(body), kind, 0, 1, 0) + body


def _link(
    kind: int, *, index: int = 7, arphrd: int = 1, flags: int = 1, family: int = 0, name: bytes = b"eth0\0"
) -> bytes:
    head = struct.pack("=BxHiII", family, arphrd, index, flags, 0)
    return _message(
        kind, head + _attribute(3, name) + _attribute(4, struct.pack("=I", 1400)) + _attribute(1, b"\2" * 6)
    )


def test_links_come_go_and_have_addresses() -> None:
    address = _message(links.NEW_ADDRESS, struct.pack("=BBBBI", 2, 24, 0, 0, 7) + _attribute(2, bytes([10, 0, 0, 1])))
    data = _link(links.NEW_LINK) + address + _link(links.DEL_LINK) + _message(DONE, b"\0\0\0\0")
    assert list(links.parse(data)) == [
        Link(7, "eth0", 1, 1, 1400, b"\2" * 6),
        Address(7, "10.0.0.1/24"),
        Gone(7, "eth0"),
        DONE,
    ]


def test_a_bridge_port_leaving_its_bridge_is_not_an_interface_that_goes() -> None:
    assert list(links.parse(_link(links.DEL_LINK, family=7))) == []


def test_link_types_of_hardware_kinds() -> None:
    kinds = {1: 1, 772: 1, 0xFFFE: 101, 776: 101, 512: 113, 778: 113, 803: 127}
    assert {kind: Link(1, "x", kind, 1).linktype for kind in kinds} == kinds
    assert Link(1, "can0", 280, 1).strange == "CAN"


@given(st.binary(max_size=200), st.integers(0, 200), st.integers(0, 255))
def test_any_bytes_are_parsed_to_an_end(noise: bytes, where: int, value: int) -> None:
    list(links.parse(noise))
    data = bytearray(_link(links.NEW_LINK) * 2)
    data[where % len(data)] = value
    list(links.parse(bytes(data)))
