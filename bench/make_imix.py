"""Generates the IMIX capture that the spine bench reads: thousands of interleaved flows of the usual protocols.

    python bench/make_imix.py [--bytes 1100000000] [--flows 20000] [--seed 1] [--out bench/data/imix.pcap]

Deterministic for a seed. About 773 B a packet: 38 % small, 14 % medium, 48 % full-sized; by packets about 45 % TLS,
15 % QUIC, 12 % RTP, 10 % HTTP, 3 % DNS, 2 % SSH, 1 % SIP, the rest TCP and UDP that is nothing in particular.
"""

from __future__ import annotations

import argparse
import os
import random
import struct
from pathlib import Path

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from packhound.net.quic_crypto import initial_keys

HELLO_HOST = b"host-%06d.example.net"
SHARES = {"tls": 45, "quic": 15, "rtp": 12, "http": 10, "dns": 3, "ssh": 2, "sip": 1, "tcp": 8, "udp": 4}
PACKETS = {"tls": 120, "quic": 300, "rtp": 120, "http": 60, "dns": 2, "ssh": 60, "sip": 6, "tcp": 60, "udp": 40}
SIZES = ((40, 38), (540, 14), (1400, 48))


def client_hello(name: bytes) -> bytes:
    """A plain TLS 1.2 style ClientHello with a server name."""
    sni = struct.pack("!HHBH", len(name) + 3, len(name), 0, 0)
    sni = struct.pack("!H", len(name) + 3) + b"\0" + struct.pack("!H", len(name)) + name
    extensions = struct.pack("!HH", 0, len(sni)) + sni + struct.pack("!HHHHHH", 10, 4, 2, 29, 0xFF01, 1) + b"\0"
    body = b"\x03\x03" + b"R" * 32 + b"\0" + struct.pack("!H", 4) + b"\x13\x01\x13\x02" + b"\x01\0"
    body += struct.pack("!H", len(extensions)) + extensions
    message = b"\x01" + len(body).to_bytes(3, "big") + body
    return b"\x16\x03\x01" + struct.pack("!H", len(message)) + message


def quic_initial(hello: bytes, number: int) -> bytes:
    """A client's first Initial packet (RFC 9001), really protected: what a reader decrypts costs what it costs."""
    dcid = number.to_bytes(8, "big")
    keys = initial_keys(dcid, 1)
    assert keys is not None
    crypto = b"\x06\0" + struct.pack("!H", 0x4000 | len(hello)) + hello
    plain = crypto.ljust(1162, b"\0")
    head = b"\xc3\0\0\0\x01\x08" + dcid + b"\0\0" + struct.pack("!H", 0x4000 | (4 + len(plain) + 16)) + b"\0\0\0\0"
    sealed = AESGCM(keys[0].key).encrypt(keys[0].iv, plain, head)
    mask = Cipher(algorithms.AES(keys[0].hp), modes.ECB()).encryptor().update(sealed[:16])  # sample: 4 after the number
    first = bytes([head[0] ^ (mask[0] & 0x0F)])
    return first + head[1:-4] + bytes(a ^ b for a, b in zip(head[-4:], mask[1:5], strict=True)) + sealed


def first_payloads(kind: str, number: int) -> list[tuple[int, bytes]]:
    """What a flow starts with: (direction, payload)."""
    host = HELLO_HOST % number
    if kind == "tls":
        return [(0, client_hello(host)), (1, b"\x16\x03\x03\0\x30\x02\0\0\x2c\x03\x03" + b"S" * 42)]
    if kind == "http":
        head = b"GET /item/%d HTTP/1.1\r\nHost: %s\r\nUser-Agent: bench\r\n\r\n" % (number, host)
        return [(0, head), (1, b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 99999999\r\n\r\n")]
    if kind == "dns":
        name = b"".join(bytes([len(p)]) + p for p in host.split(b".")) + b"\0"
        ask = struct.pack("!HHHHHH", number & 0xFFFF, 0x0100, 1, 0, 0, 0) + name + b"\0\x01\0\x01"
        answer = ask[:2] + b"\x81\x80" + ask[4:6] + b"\0\x01" + ask[8:] + b"\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\x7f\0\0\x01"
        return [(0, ask), (1, answer)]
    if kind == "ssh":
        return [(0, b"SSH-2.0-OpenSSH_9.6\r\n"), (1, b"SSH-2.0-OpenSSH_9.2\r\n")]
    if kind == "sip":
        text = b"%s sip:u%d@example.net SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK%d\r\nFrom: <sip:a%d@x>;tag=1\r\n" \
               b"To: <sip:u%d@example.net>\r\nCall-ID: c%d@x\r\nCSeq: 1 %s\r\nContent-Length: 0\r\n\r\n"
        return [(0, text % (m, number, number, number, number, number, m)) for m in (b"OPTIONS", b"MESSAGE")]
    if kind == "quic":
        return [(0, quic_initial(client_hello(host)[5:], number))]
    return []


class Flow:
    """One flow: addresses, what it says first, counters."""

    def __init__(self, kind: str, number: int, rng: random.Random) -> None:
        self.kind = kind
        self.udp = kind in ("dns", "sip", "quic", "rtp", "udp")
        self.ends = (
            struct.pack("!I", 0x0A000000 + rng.randrange(1 << 16)) + struct.pack("!H", 20000 + rng.randrange(40000)),
            struct.pack("!I", 0xC0A80000 + rng.randrange(1 << 14))
            + struct.pack("!H", {"tls": 443, "quic": 443, "http": 80, "dns": 53, "ssh": 22, "sip": 5060}.get(kind, 30000)),
        )
        self.left = max(2, int(PACKETS[kind] * rng.uniform(0.4, 1.6)))
        self.seq = [rng.randrange(1 << 32), rng.randrange(1 << 32)]
        self.script = first_payloads(kind, number)
        if not self.udp:
            self.script = [(0, b"SYN"), (1, b"SYN"), *self.script]
        self.ssrc = rng.randrange(1, 1 << 32)
        self.count = 0

    def next(self, rng: random.Random, noise: bytes) -> bytes:
        """Bytes of the next packet."""
        self.count += 1
        if self.script:
            direction, payload = self.script.pop(0)
        else:
            direction = self.count & 1 if self.kind == "rtp" else int(rng.random() < 0.7)
            size = 160 if self.kind == "rtp" else rng.choices([s for s, _ in SIZES], [w for _, w in SIZES])[0]
            at = rng.randrange(len(noise) - 2000)
            payload = noise[at : at + size]
            if self.kind == "tls":
                payload = b"\x17\x03\x03" + struct.pack("!H", size) + payload
            elif self.kind == "rtp":
                payload = struct.pack("!BBHII", 0x80, 8, self.count & 0xFFFF, self.count * 160, self.ssrc + direction) + payload
            elif self.kind == "quic":
                payload = b"\x43" + payload
        return self._packet(direction, payload)

    def _packet(self, direction: int, payload: bytes) -> bytes:
        src, dst = self.ends[direction], self.ends[1 - direction]
        if self.udp:
            transport = src[4:] + dst[4:] + struct.pack("!HH", 8 + len(payload), 0) + payload
        else:
            flags = 0x18
            if payload == b"SYN":
                payload, flags = b"", 0x02 if direction == 0 else 0x12
            seq = self.seq[direction]
            self.seq[direction] = (seq + len(payload) + (flags & 2 == 2)) & 0xFFFFFFFF
            head = struct.pack("!IIBBHHH", seq, self.seq[1 - direction], 0x50, flags, 65000, 0, 0)
            transport = src[4:] + dst[4:] + head + payload
        ip = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(transport), 0, 0x4000, 64, 17 if self.udp else 6, 0) + src[:4] + dst[:4]
        return b"\x02\0\0\0\0\x01\x02\0\0\0\0\x02\x08\0" + ip + transport


def generate(path: Path, *, size: int, flows: int, seed: int) -> tuple[int, int]:
    """Write the capture; packets and bytes of it."""
    rng = random.Random(seed)
    noise = rng.randbytes(1 << 20)
    kinds, weights = list(SHARES), [SHARES[k] / PACKETS[k] for k in SHARES]
    live: list[Flow] = []
    number = packets = written = 0
    ts = 1_700_000_000 * 10**6
    path.parent.mkdir(parents=True, exist_ok=True)
    hidden = path.with_suffix(".part")
    with hidden.open("wb", buffering=1 << 22) as out:
        out.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1))
        while written < size:
            while len(live) < flows // 10:
                live.append(Flow(rng.choices(kinds, weights)[0], number, rng))
                number += 1
            at = rng.randrange(len(live))
            packet = live[at].next(rng, noise)
            live[at].left -= 1
            if live[at].left <= 0:
                live[at] = live[-1]
                live.pop()
            ts += 5
            out.write(struct.pack("<IIII", ts // 10**6, ts % 10**6, len(packet), len(packet)) + packet)
            packets += 1
            written += 16 + len(packet)
    os.replace(hidden, path)
    return packets, number


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bytes", type=int, default=1_100_000_000)
    parser.add_argument("--flows", type=int, default=20_000, help="about ten times as many flows as live at once")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "data" / "imix.pcap")
    args = parser.parse_args()
    count, made = generate(args.out, size=args.bytes, flows=args.flows, seed=args.seed)
    print(f"{args.out}: {count} packets, {made} flows, {args.out.stat().st_size / count:.0f} B a packet")
