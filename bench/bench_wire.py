"""What it costs to put packets on the wire: ns per packet to encode, decode, read a header, shard; as ratios to a copy.

    python bench/bench_wire.py
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from packhound.sensor.kernel import gatherer, new_kernel
from packhound.sensor.sharder import Sharder
from packhound.wire.batch import Batch
from packhound.wire.codec import Interface, decode, encode, header
from packhound.wire.facts import Fact

RANDOM = np.random.default_rng(1)
HEAD = bytes(12) + b"\x08\x00" + bytes((0x45, 0, 0, 50, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2))


def batch(count: int, *, size: int | None = None, flows: int = 97, facts: int = 0) -> Batch:
    """Packets of an IMIX of 645 B, or of `size`; `facts` messages of 30 fields."""
    caplen = RANDOM.choice([64, 594, 1518], count, p=[0.55, 0.05, 0.40]) if size is None else np.full(count, size)
    caplen = caplen.astype(np.uint32)
    serials = np.arange(count, dtype=np.uint64) % flows + 1
    packets = [
        HEAD + int(2000 + serial).to_bytes(2, "big") + b"\x13\xc4" + bytes(int(each) - len(HEAD) - 4)
        for serial, each in zip(serials.tolist(), caplen, strict=True)
    ]
    fact = Fact("sip", {f"sip.field{i}": i if i % 3 == 0 else f"a value of text {i}" for i in range(30)})
    return Batch(
        ts=np.arange(count, dtype=np.int64) + 10**18, caplen=caplen, wirelen=caplen.copy(),
        iface=np.zeros(count, np.uint16), flow=serials, fset=np.ones(count, np.uint32),
        direction=np.zeros(count, np.uint8), app=np.zeros(count, np.uint8), blob=b"".join(packets),
        fsets={1: ("voice/alice",)}, interfaces=[Interface("eth0", 1, 262144)],
        facts=[(at, 1, 1, fact) for at in range(facts)], sequence=1,
    )  # fmt: skip


def best(work: Callable[[], object], *, rounds: int = 9, times: int = 60) -> float:
    """Seconds of one call: the best round."""
    found = []
    for _ in range(rounds):
        start = time.perf_counter()
        for _ in range(times):
            work()
        found.append((time.perf_counter() - start) / times)
    return min(found)


def main() -> None:
    for name, made in (("IMIX", batch(512)), ("64 B", batch(512, size=64))):
        data = encode(made)
        copy = best(lambda held=made.blob: held[1:]) / 512 * 1e9
        there = best(lambda held=made: encode(held)) / 512 * 1e9
        back = best(lambda held=data: decode(held)) / 512 * 1e9
        print(f"512 packets, {name}: encode {there:.0f} ns, decode {back:.0f} ns a packet; one copy {copy:.0f} ns; "
              f"header {best(lambda held=data: header(held)) * 1e6:.1f} us; {len(data) / len(made.blob):.2f} of the bytes")  # fmt: skip
    single = batch(1)
    each = best(lambda: encode(single)) * 1e9
    print(f"one packet a message: encode {each:.0f} ns, {each / there:.0f} times as much")
    bare, full = batch(64), batch(64, facts=64)
    cost = (best(lambda: encode(full)) - best(lambda: encode(bare))) / 64 * 1e6
    read, plain = encode(full), encode(bare)
    cost_back = (best(lambda: decode(read)) - best(lambda: decode(plain))) / 64 * 1e6
    print(f"a message of 30 fields: encode {cost:.1f} us, decode {cost_back:.1f} us")
    sharder = Sharder(sensor="n1", epoch=1, gather=gatherer(new_kernel()))
    big = batch(4096)
    print(f"sharder, 4096 packets of 97 flows into 16 shards: {best(lambda: sharder.batch(big), times=10) / 4096 * 1e9:.0f} "
          "ns a packet, encoded")  # fmt: skip


if __name__ == "__main__":
    main()
