"""What a flow is: its record, its states, why it ended.

Promise: values only; the native table exports the same layout byte for byte (kernel/_flow_types.pxi).
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np

#: One flow. Index 0 of a pair is from the initiator (`src`), 1 from the responder. Times are ns since the epoch,
#: `bytes` whole original frame lengths, `payload` transport payload by the headers, `rtt` the handshake
#: SYN -> SYN-ACK -> ACK in ns (-1: not seen). Addresses are 16 bytes (IPv4 in the first four). `slot` is where it
#: lived, `serial` its name for ever (from 1, in order of creation). `scratch` belongs to detection. The order of the
#: fields keeps what every packet touches within three cache lines.
FLOW_DTYPE = np.dtype(
    [
        ("serial", "u8"),
        ("src", "u1", 16),
        ("dst", "u1", 16),
        ("sport", "u2"),
        ("dport", "u2"),
        ("tenant", "u4"),
        ("ip_version", "u1"),
        ("proto", "u1"),
        ("state", "u1"),
        ("app", "u1"),
        ("flags", "u2"),
        ("vlan", "u2"),
        ("iface", "u2"),
        ("tcp_flags", "u1", 2),
        ("has_isn", "u1", 2),
        ("end", "u1"),
        ("confidence", "u1"),
        ("packets", "u8", 2),
        ("bytes", "u8", 2),
        ("payload", "u8", 2),
        ("payload_packets", "u4", 2),
        ("last", "i8"),
        ("first", "i8"),
        ("rtt", "i8"),
        ("isn", "u4", 2),
        ("retransmissions", "u4", 2),
        ("out_of_order", "u4", 2),
        ("zero_window", "u4", 2),
        ("syn", "u4"),
        ("fin", "u4"),
        ("rst", "u4"),
        ("slot", "i4"),
        ("fset", "u4", 2),
        ("scratch", "u4", 4),
        ("method", "u1"),
        ("spare", "u1", 7),
    ]
)

#: Fields with one value per direction, exchanged when the initiator turns out to be the other side.
PAIRS = (
    "packets", "bytes", "payload", "payload_packets", "tcp_flags", "has_isn", "isn", "retransmissions", "out_of_order",
    "zero_window", "fset",
)  # fmt: skip

# Flow.flags. MEDIA: media (or signalling) of a live call, set and cleared by whoever tracks calls. DRAINING: a QUIC
# connection was seen to close. REFINED: STUN that turned out to carry something else.
HOLD, QUIET, STREAM, MEDIA, SAMPLED, DETECT_DONE, EVER_WANTED, WATCHED, DRAINING, REFINED = (
    1 << bit for bit in range(10)
)


class State(IntEnum):
    """TCP connection state as the packets show it (RFC 9293); ACTIVE for everything that is not TCP."""

    ACTIVE = 0
    SYN_SENT = 1
    SYN_RECV = 2
    ESTABLISHED = 3
    MIDSTREAM = 4  #: first packet seen was no SYN
    FIN_WAIT = 5  #: one side sent FIN
    CLOSE_WAIT = 6  #: one side sent FIN, the other acknowledged it and may still send
    LAST_ACK = 7  #: both sides sent FIN
    TIME_WAIT = 8  #: both FINs are acknowledged
    CLOSED = 9  #: reset


class End(IntEnum):
    """Why a flow ended."""

    LIVE = 0
    IDLE = 1
    FIN = 2
    RST = 3
    PORT_REUSE = 4
    EVICTED = 5
    SHUTDOWN = 6


class Method(IntEnum):
    """How the application protocol was found."""

    NONE = 0
    CONTENT = 1
    CONTENT_TWO_PACKETS = 2
    EXPECTED = 3
    PORT = 4
