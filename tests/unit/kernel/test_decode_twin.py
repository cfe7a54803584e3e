"""The compiled decoder says of every packet exactly what the portable one says."""

from __future__ import annotations

import dataclasses
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from packhound.net.frame import DecodeConfig, Frame, decode
from tests.support.corpus import CORPUS, captures, needs_corpus
from tests.support.headers import SAMPLES
from tests.support.raw_packets import packets

kernel = pytest.importorskip("packhound.sensor.kernel._scan", reason="the native kernel is not built")

CONFIGS = (DecodeConfig(), DecodeConfig(max_depth=1, vlan_is_tenant=True, vxlan_ports=(53,), gtpu_ports=()))
FOLDERS = sorted({name.split("/")[1] for name in captures()})


def native(data: bytes, linktype: int, config: DecodeConfig) -> dict[str, Any]:
    found: dict[str, Any] = kernel.decode_one(data, linktype, config)
    return found


def portable(data: bytes, linktype: int, config: DecodeConfig) -> dict[str, Any]:
    return dataclasses.asdict(decode(data, linktype=linktype, config=config))


def test_the_twins_have_the_same_fields() -> None:
    assert list(native(b"", 1, CONFIGS[0])) == [field.name for field in dataclasses.fields(Frame)]


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_twins_agree_on_every_sample_cut_at_every_length(name: str, config: DecodeConfig) -> None:
    linktype, data = SAMPLES[name]
    for size in range(len(data) + 1):
        assert native(data[:size], linktype, config) == portable(data[:size], linktype, config), size


@pytest.mark.parametrize("linktype", [*range(300), 0xFFFF])
def test_twins_read_the_same_link_types(linktype: int) -> None:
    for _, data in SAMPLES.values():
        assert native(data, linktype, CONFIGS[0]) == portable(data, linktype, CONFIGS[0])


@needs_corpus
@pytest.mark.parametrize("folder", FOLDERS)
def test_twins_agree_on_every_packet_of_the_corpus(folder: str) -> None:
    for name in captures():
        if name.split("/")[1] != folder:
            continue
        for number, packet in enumerate(packets(CORPUS / name), 1):
            ours = portable(packet.data, packet.linktype, CONFIGS[0])
            assert native(packet.data, packet.linktype, CONFIGS[0]) == ours, (name, number)


def _corpus_packets(count: int) -> list[tuple[int, bytes]]:
    """Pick packets from all over the corpus, the same ones every time."""
    if not CORPUS.is_dir():
        return list(SAMPLES.values())
    chosen: list[tuple[int, bytes]] = []
    for name in random.Random(1).sample(captures(), 200):
        for packet in packets(CORPUS / name):
            chosen.append((packet.linktype, packet.data[:400]))
            if len(chosen) % 7 == 0:
                break
    return chosen[:count]


PACKETS = [*SAMPLES.values(), *_corpus_packets(600)]


@settings(max_examples=500, deadline=None)
@given(
    packet=st.sampled_from(PACKETS),
    seed=st.integers(0, 2**32),
    changes=st.integers(0, 6),
    config=st.sampled_from(CONFIGS),
)
def test_twins_agree_on_mutated_and_cut_packets(
    packet: tuple[int, bytes], seed: int, changes: int, config: DecodeConfig
) -> None:
    linktype, data = packet
    chance = random.Random(seed)
    blob = bytearray(data)
    for _ in range(changes if blob else 0):
        blob[min(int(chance.expovariate(1 / 40)), len(blob) - 1)] = chance.choice(
            (0, 1, 4, 6, 0x45, 0xFF, chance.randrange(256))
        )
    if chance.random() < 0.5:
        del blob[chance.randrange(len(blob) + 1) :]
    assert native(bytes(blob), linktype, config) == portable(bytes(blob), linktype, config)


@settings(max_examples=200, deadline=None)
@given(
    data=st.binary(max_size=200),
    linktype=st.sampled_from([0, 1, 8, 9, 51, 100, 101, 104, 105, 107, 113, 123, 127, 274, 276]),
)
def test_twins_agree_on_noise(data: bytes, linktype: int) -> None:
    assert native(data, linktype, CONFIGS[0]) == portable(data, linktype, CONFIGS[0])
