"""How long a flow may be silent before it is over, by protocol, state and application; what is given up first.

Promise: values only. The native table loads the same tables (`BY_STATE`, `by_app`), so both sides agree by
construction. "Active / idle" of an established connection comes to one number: a connection silent for a minute is
idle, so the timeout of the idle ones is what ends it.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass
from enum import IntEnum

from packhound.net.detect import App
from packhound.net.flow import State

SECOND = 1_000_000_000
IDLE_AFTER = 60 * SECOND
"""A live flow silent for this long counts as idle when flows must be given up."""
TCP, UDP = 6, 17


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Idle timeouts in ns, by class."""

    closed: int = 5 * SECOND  #: TCP after RST
    time_wait: int = 30 * SECOND  #: TCP after FIN both ways
    draining: int = 10 * SECOND  #: QUIC after CONNECTION_CLOSE
    opening: int = 60 * SECOND  #: TCP before the handshake is complete
    closing: int = 60 * SECOND  #: TCP after a FIN
    other: int = 60 * SECOND  #: anything that is not TCP or UDP
    dns: int = 30 * SECOND  #: DNS over UDP
    udp: int = 60 * SECOND  #: UDP, RTP outside calls among it
    quic_opening: int = 60 * SECOND  #: QUIC before both sides have sent twice
    quic: int = 300 * SECOND
    tcp: int = 300 * SECOND  #: TCP established, protocol without a longer rule
    web: int = 600 * SECOND  #: HTTP or TLS over TCP (keep-alive)
    sip: int = 600 * SECOND  #: SIP over TCP
    ssh: int = 1800 * SECOND  #: SSH, TCP and UDP
    media: int = 600 * SECOND  #: flows marked MEDIA: a call without any packet for this long is over itself


class Class(IntEnum):
    """Timeout classes, by position in `Timeouts`. Up to DRAINING a flow is finished; MEDIA is given up last."""

    CLOSED = 0
    TIME_WAIT = 1
    DRAINING = 2
    OPENING = 3
    CLOSING = 4
    OTHER = 5
    DNS = 6
    UDP = 7
    QUIC_OPENING = 8
    QUIC = 9
    TCP = 10
    WEB = 11
    SIP = 12
    SSH = 13
    MEDIA = 14


DEFAULT = Timeouts()

BY_STATE = {
    State.SYN_SENT: Class.OPENING,
    State.SYN_RECV: Class.OPENING,
    State.FIN_WAIT: Class.CLOSING,
    State.CLOSE_WAIT: Class.CLOSING,
    State.LAST_ACK: Class.CLOSING,
    State.TIME_WAIT: Class.TIME_WAIT,
    State.CLOSED: Class.CLOSED,
}
"""TCP states that decide the class by themselves; the others leave it to the application."""

_TCP_APPS: dict[int, Class] = {App.TLS: Class.WEB, App.HTTP: Class.WEB, App.SIP: Class.SIP, App.SSH: Class.SSH}
_UDP_APPS: dict[int, Class] = {App.DNS: Class.DNS, App.QUIC: Class.QUIC, App.SSH: Class.SSH}


def by_app(proto: int) -> list[Class]:
    """The classes of live flows of TCP (6) or UDP (17), by application id (256 entries)."""
    apps, otherwise = {TCP: (_TCP_APPS, Class.TCP), UDP: (_UDP_APPS, Class.UDP)}[proto]
    return [apps.get(number, otherwise) for number in range(256)]


def as_array(timeouts: Timeouts) -> tuple[int, ...]:
    """The timeouts in ns, by class. Raises ValueError for one that is no positive time."""
    values: tuple[int, ...] = astuple(timeouts)
    for each, value in zip(Class, values, strict=True):
        if not 0 < value < 1 << 62:
            raise ValueError(f"the {each.name.lower()} timeout must be a positive number of ns, not {value}")
    return values
