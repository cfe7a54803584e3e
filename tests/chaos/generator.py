"""Sends numbered UDP packets on an interface until SIGTERM: generator.py IFACE HOST RATE SIZE LOG.

Payload: "PHCHAOS!", host (2 bytes), number (8 bytes, from 0), filling up to SIZE. 40 flows. LOG gets lines `ns number`:
at that time of the wall clock so many had been sent; the last line is written after the last packet.
"""

import signal
import socket
import struct
import sys
import time

iface, host, rate, size = sys.argv[1], *map(int, sys.argv[2:5])
log = open(sys.argv[5], "w", buffering=1)
sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
sock.bind((iface, 0))
stop = False


def halt(*_: object) -> None:
    global stop
    stop = True


signal.signal(signal.SIGTERM, halt)
FILL = bytes(2000)


def checksum(head: bytes) -> int:
    total = sum(struct.unpack(">10H", head))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def head_of(flow: int, length: int) -> bytes:
    made = struct.pack(">BBHHHBBH4s4s", 0x45, 0, length, 0, 0x4000, 64, 17, 0, bytes((10, host, 0, flow)),
                       bytes((10, 200, 0, 1)))  # fmt: skip
    return made[:10] + struct.pack(">H", checksum(made)) + made[12:]


FRAMES = []
for flow in range(40):
    body = 18 + (flow * 37) % max(1, size - 18)
    head = head_of(flow, 28 + body)
    udp = struct.pack(">HHHH", 20000 + flow, 7777, 8 + body, 0)
    FRAMES.append((bytes(12) + b"\x08\x00" + head + udp + b"PHCHAOS!" + struct.pack(">H", host), FILL[: body - 18]))

began = time.monotonic()
sent, told = 0, 0.0
while not stop:
    now = time.monotonic()
    due = int((now - began) * rate)
    while sent < due:
        front, filling = FRAMES[sent % 40]
        sock.send(front + sent.to_bytes(8, "big") + filling)
        sent += 1
    if now - told > 0.02:
        told = now
        log.write(f"{time.time_ns()} {sent}\n")
    time.sleep(0.004)
log.write(f"{time.time_ns()} {sent}\n")
log.close()
