"""Sends numbered UDP packets on an interface: generator.py IFACE HOST FIRST RATE SECONDS OUT.

Payload: "PHCHAOS!", host (2 bytes), number (6 bytes), filling. 40 flows; every fifth packet of a flow of RTP-looking media.
"""

import signal
import socket
import struct
import sys
import time
from pathlib import Path

iface, host, first, rate, seconds, out = sys.argv[1], *map(int, sys.argv[2:5]), float(sys.argv[5]), Path(sys.argv[6])
sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
sock.bind((iface, 0))
stop = False


def halt(*_: object) -> None:
    global stop
    stop = True


signal.signal(signal.SIGTERM, halt)
FILL = bytes(700)


def packet(number: int) -> bytes:
    flow = number % 40
    body = b"PHCHAOS!" + struct.pack(">HQ", host, number) + FILL[: number * 13 % 700]
    udp = struct.pack(">HHHH", 20000 + flow, 7777, 8 + len(body), 0) + body
    ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), number & 0xFFFF, 0x4000, 64, 17, 0,
                     bytes((10, host, 0, flow)), bytes((10, 200, 0, 1)))  # fmt: skip
    return bytes(12) + b"\x08\x00" + ip + udp


began = time.monotonic()
sent = 0
while not stop and time.monotonic() - began < seconds:
    due = int((time.monotonic() - began) * rate)
    while sent < due:
        sock.send(packet(first + sent))
        sent += 1
    time.sleep(0.005)
out.write_text(str(sent))
