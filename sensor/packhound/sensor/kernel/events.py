"""What the kernel tells Python: one event per packet of interest, in packet order.

Promise: the native and the portable kernel emit the same events for the same packets. A packet that no filter
could want leaves no event, only a count.
"""

from __future__ import annotations

import numpy as np

#: One row: packet index in its block, flow slot (-1: none, as of an ARP frame) and serial (0: none), why,
#: direction (0 from the initiator, 1 from the responder, 255 unknown), app id, filter set of that direction, pcap
#: programs passed (bit i = program i of the plan), offsets of transport header and payload in the packet, payload bytes
#: captured and on the wire, TCP sequence number of the packet.
EVENT_DTYPE = np.dtype(
    [
        ("flow", "u8"),
        ("mask", "u8"),
        ("pkt", "u4"),
        ("slot", "i4"),
        ("fset", "u4"),
        ("l4", "u4"),
        ("payload", "u4"),
        ("payload_len", "u4"),
        ("payload_wire", "u4"),
        ("seq", "u4"),
        ("flags", "u2"),
        ("dir", "u1"),
        ("app", "u1"),
        ("proto", "u1"),
        ("tcp_flags", "u1"),
        ("pad", "u2"),
    ]
)

# Why there is an event. FORWARD and UNHOLD are carried out as they stand; the others stop the walk (YIELDS): Python
# decides the fate of that packet before the next one is judged.
FORWARD = 1  #: the flow is wanted: ship the packet
UNHOLD = 4  #: the flow is wanted and nothing more can decide it: ship what is kept back of it
NEW = 8  #: a new flow (or the first packet after a plan change) that touches a header set of the plan
DISSECT = 16  #: the payload is to be dissected
WATCH = 32  #: one end of the flow is a watched media endpoint
MARK = 64  #: the flow's bytes crossed a threshold of the plan
FRAGMENT = 128  #: a piece of an IP datagram: reassemble, then `scan_one`
YIELDS = NEW | DISSECT | WATCH | MARK | FRAGMENT

#: IP protocols whose header is part of the message (ICMP, ICMPv6): they are judged and dissected from there on.
WHOLE = frozenset({1, 58})

# Flow.flags, shared with the flow table.
F_HOLD = 1
F_QUIET = 2
F_STREAM = 4
F_MEDIA = 8
F_SAMPLED = 16
F_DETECT_DONE = 32
F_EVER_WANTED = 64
F_WATCHED = 128
F_REFINED = 512
F_EARLY = 1024  #: and 2048 for direction 1: data of a TCP flow came before the first of its direction

#: Payload packets per direction that are looked at beyond the limit of a flow's protocol when it began as another.
REFINED_MORE = 64
