"""TCP as a bystander sees it: state of the connection, loss and reordering per direction (RFC 9293).

Promise: pure; sequence arithmetic is modulo 2^32; a fixed amount of memory per flow. Portable side of
kernel/_tcp.pxi, which says the same to the byte.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from packhound.net.flow import State
from packhound.net.frame import Frame

FIN, SYN, RST, ACK = 1, 2, 4, 16
MASK = 0xFFFFFFFF
WINDOW = 65535
"""A SYN this near to the data of a connection is taken for a stray of that connection, not for a new one."""
JUMP = 1 << 30
"""No window is larger (RFC 7323): numbers farther off start the account anew."""
TIME_SHIFT = 10
"""Times of holes are kept in units of 2^10 ns."""
REORDERED = 3_000_000 >> TIME_SHIFT
"""A hole filled within this time (or within the handshake's round trip) was reordering; later, a retransmission."""
NO_HOLE = (0, 0)


@dataclass(slots=True)
class Tracking:
    """What the table keeps of a connection beside its record; pairs are by direction.

    `next_seq` (None: unknown) follows the newest byte seen, `fin_end` the number after a FIN. `holes` are the two
    newest ranges that were skipped, newest first; `hole_at` when the newest was noticed. `shut`: the last window
    offered was zero.
    """

    next_seq: list[int | None] = field(default_factory=lambda: [None, None])
    fin_end: list[int | None] = field(default_factory=lambda: [None, None])
    fin_acked: list[bool] = field(default_factory=lambda: [False, False])
    shut: list[bool] = field(default_factory=lambda: [False, False])
    holes: list[list[tuple[int, int]]] = field(default_factory=lambda: [[NO_HOLE, NO_HOLE], [NO_HOLE, NO_HOLE]])
    hole_at: list[int] = field(default_factory=lambda: [0, 0])
    syn_ts: int | None = None

    def turn(self) -> None:
        """Exchange the directions."""
        for pair in (self.next_seq, self.fin_end, self.fin_acked, self.shut, self.holes, self.hole_at):
            pair.reverse()

    def closed_by_fin(self) -> bool:
        """Tell whether both sides sent FIN."""
        return None not in self.fin_end


def signed(number: int) -> int:
    """A 32-bit difference as a signed number."""
    number &= MASK
    return number - (1 << 32) if number & 0x80000000 else number


def is_reuse(row: Any, tracking: Tracking, f: Frame, direction: int) -> bool:
    """Tell whether this packet opens a new connection on the addresses and ports of flow `row`."""
    if f.tcp_flags & (SYN | ACK | RST) != SYN:
        return False
    state = row["state"]
    if state in (State.TIME_WAIT, State.LAST_ACK):
        return True
    known = bool(row["has_isn"][direction])
    if known and int(row["isn"][direction]) == f.seq:
        return bool(state == State.CLOSED and row["has_isn"][1 - direction])
    if state == State.CLOSED:
        return True
    if state in (State.SYN_SENT, State.SYN_RECV) and known:
        return True
    after = tracking.next_seq[direction]
    if after is None:
        return bool(state == State.MIDSTREAM)
    return abs(signed(after - f.seq - 1)) > WINDOW


def is_turned(row: Any, f: Frame, direction: int) -> bool:
    """Tell whether a late SYN or SYN-ACK shows that the flow was opened by the side taken for the responder."""
    if row["state"] != State.MIDSTREAM or row["has_isn"].any() or not f.tcp_flags & SYN or f.tcp_flags & RST:
        return False
    return direction == (0 if f.tcp_flags & ACK else 1)


def follow(row: Any, tracking: Tracking, f: Frame, direction: int, ts: int) -> None:
    """Account for one segment: flags, loss, window, handshake time, state."""
    flags = f.tcp_flags
    row["tcp_flags"][direction] |= flags
    if flags & (SYN | FIN | RST):
        row["syn"] += bool(flags & SYN)
        row["fin"] += bool(flags & FIN)
        row["rst"] += bool(flags & RST)
    if not flags & RST:
        if flags & SYN:
            _opening(row, tracking, f, direction, ts)
        else:
            _sequence(row, tracking, f, direction, ts)
    row["state"] = _next_state(row, tracking, f, direction, ts)


def _opening(row: Any, t: Tracking, f: Frame, d: int, ts: int) -> None:
    if not f.tcp_flags & ACK and d == 0:
        t.syn_ts = ts if ts >= 0 else None
    if row["has_isn"][d]:
        if int(row["isn"][d]) == f.seq:
            row["retransmissions"][d] += 1
            return
        if row["state"] > State.SYN_RECV:
            return
        t.next_seq[d] = None
    row["isn"][d], row["has_isn"][d] = f.seq, 1
    if t.next_seq[d] is None:
        t.next_seq[d] = (f.seq + 1 + f.payload_wire) & MASK
    if f.tcp_flags & ACK and t.next_seq[1 - d] is None:
        t.next_seq[1 - d] = f.ack


def _sequence(row: Any, t: Tracking, f: Frame, d: int, ts: int) -> None:
    if f.tcp_flags & ACK:
        t.shut[d] = f.window == 0
    if f.window == 0 and not f.tcp_flags & FIN:
        row["zero_window"][d] += 1
    length = f.payload_wire + (f.tcp_flags & FIN)
    end, after = (f.seq + length) & MASK, t.next_seq[d]
    ahead = 0 if after is None else signed(f.seq - after)
    if after is None or abs(ahead) > JUMP:
        if length:
            t.next_seq[d], t.holes[d] = end, [NO_HOLE, NO_HOLE]
        return
    if not length and ahead <= 0:
        return
    if ahead < 0:
        _behind(row, t, f, d, ts)
    elif ahead > 0:  # an empty segment shows a hole too
        t.holes[d] = [(after, f.seq), t.holes[d][0] if t.holes[d][0] != NO_HOLE else t.holes[d][1]]
        t.hole_at[d] = (ts >> TIME_SHIFT) & MASK
    elif f.payload_wire == 1 and length == 1 and t.shut[1 - d]:
        return  # a window probe: the byte may come again
    if signed(end - after) > 0:
        t.next_seq[d] = end


def _behind(row: Any, t: Tracking, f: Frame, d: int, ts: int) -> None:
    after = t.next_seq[d]
    assert after is not None
    if signed(f.seq - after) == -1 and f.payload_wire <= 1 and not f.tcp_flags & FIN:
        return  # keep-alive
    for number, (low, high) in enumerate(t.holes[d]):
        if low != high and signed(f.seq - low) >= 0 and signed(f.seq - high) < 0:
            _fill(t.holes[d], number, f.seq, (f.seq + f.payload_wire) & MASK)
            limit = min(int(row["rtt"]) >> TIME_SHIFT, 0x7FFFFFFF) if row["rtt"] > 0 else REORDERED
            if signed((ts >> TIME_SHIFT) - t.hole_at[d]) < limit:
                row["out_of_order"][d] += 1
                return
            break
    row["retransmissions"][d] += 1


def _fill(holes: list[tuple[int, int]], number: int, start: int, end: int) -> None:
    low, high = holes[number]
    reaches = signed(end - high) >= 0
    if start == low:
        holes[number] = NO_HOLE if reaches else (end, high)
    elif reaches:
        holes[number] = (low, start)
    else:
        holes[number] = (end, high)
        if holes[1 - number] == NO_HOLE:
            holes[1 - number] = (low, start)


def _next_state(row: Any, t: Tracking, f: Frame, d: int, ts: int) -> int:
    state, flags = int(row["state"]), f.tcp_flags
    if flags & RST:
        return State.CLOSED
    if flags & SYN:
        return _state_after_syn(state, flags, d)
    if state == State.CLOSED:
        return state
    if state == State.ACTIVE:
        state = State.MIDSTREAM
    elif state == State.SYN_RECV and d == 0 and flags & ACK:
        state = State.ESTABLISHED
        if t.syn_ts is not None and ts >= t.syn_ts:
            row["rtt"] = ts - t.syn_ts
    elif state in (State.SYN_SENT, State.SYN_RECV) and (f.payload_wire or (d == 0 and flags & ACK)):
        state = State.ESTABLISHED
    return _closing(state, t, f, d)


def _state_after_syn(state: int, flags: int, d: int) -> int:
    if state == State.MIDSTREAM:
        return State.ESTABLISHED
    if flags & ACK:
        return State.SYN_RECV if state in (State.ACTIVE, State.SYN_SENT) else state
    if state in (State.ACTIVE, State.CLOSED):  # CLOSED: refused before; any other SYN were a new flow (is_reuse)
        return State.SYN_SENT
    return State.SYN_RECV if state == State.SYN_SENT and d == 1 else state


def _closing(state: int, t: Tracking, f: Frame, d: int) -> int:
    if f.tcp_flags & FIN:
        t.fin_end[d] = (f.seq + f.payload_wire + 1) & MASK
    theirs = t.fin_end[1 - d]
    if f.tcp_flags & ACK and theirs is not None and signed(f.ack - theirs) >= 0:
        t.fin_acked[1 - d] = True
    if t.fin_end == [None, None]:
        return state
    if t.closed_by_fin():
        return State.TIME_WAIT if all(t.fin_acked) else State.LAST_ACK
    return State.CLOSE_WAIT if any(t.fin_acked) else State.FIN_WAIT
