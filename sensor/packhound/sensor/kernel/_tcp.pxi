# TCP as a bystander sees it. Native twin of packhound.net.tcp: see there for the reasons.

cdef enum:
    TCP_FIN = 1
    TCP_SYN = 2
    TCP_RST = 4
    TCP_ACK = 16

cdef enum:
    STATE_ACTIVE = 0
    STATE_SYN_SENT = 1
    STATE_SYN_RECV = 2
    STATE_ESTABLISHED = 3
    STATE_MIDSTREAM = 4
    STATE_FIN_WAIT = 5
    STATE_CLOSE_WAIT = 6
    STATE_LAST_ACK = 7
    STATE_TIME_WAIT = 8
    STATE_CLOSED = 9

cdef enum:
    SEQ_WINDOW = 65535
    SEQ_JUMP = 1073741824
    HOLE_SHIFT = 10
    HOLE_REORDERED = 2929       # 3 ms in units of 2^10 ns


cdef inline int32_t seq_diff(uint32_t a, uint32_t b) noexcept nogil:
    return <int32_t>(a - b)


cdef inline bint marked(const Flow* flow, uint16_t mark, uint8_t d) noexcept nogil:
    return (flow.marks & (mark << d)) != 0


cdef inline bint closed_by_fin(const Flow* flow) noexcept nogil:
    return flow.marks & (3 * MARK_FIN) == 3 * MARK_FIN


cdef bint tcp_is_reuse(const Flow* flow, const Frame* f, uint8_t d) noexcept nogil:
    cdef bint known = flow.has_isn[d] != 0
    cdef int32_t behind
    if f.tcp_flags & (TCP_SYN | TCP_ACK | TCP_RST) != TCP_SYN:
        return False
    if flow.state == STATE_TIME_WAIT or flow.state == STATE_LAST_ACK:
        return True
    if known and flow.isn[d] == f.seq:
        return flow.state == STATE_CLOSED and flow.has_isn[1 - d]
    if flow.state == STATE_CLOSED:
        return True
    if known and (flow.state == STATE_SYN_SENT or flow.state == STATE_SYN_RECV):
        return True
    if not marked(flow, MARK_NEXT, d):
        return flow.state == STATE_MIDSTREAM
    behind = seq_diff(flow.next_seq[d], f.seq + 1)
    return behind > SEQ_WINDOW or behind < -SEQ_WINDOW


cdef inline bint tcp_is_turned(const Flow* flow, const Frame* f, uint8_t d) noexcept nogil:
    if (flow.state != STATE_MIDSTREAM or flow.has_isn[0] or flow.has_isn[1]
            or f.tcp_flags & (TCP_SYN | TCP_RST) != TCP_SYN):
        return False
    return d == (0 if f.tcp_flags & TCP_ACK else 1)


cdef void set_next(Flow* flow, uint8_t d, uint32_t number) noexcept nogil:
    flow.next_seq[d] = number
    flow.marks |= MARK_NEXT << d


cdef void tcp_opening(Flow* flow, const Frame* f, uint8_t d, int64_t ts) noexcept nogil:
    if not f.tcp_flags & TCP_ACK and d == 0:
        flow.syn_ts = ts
        flow.marks &= ~MARK_SYN_TS
        if ts >= 0:
            flow.marks |= MARK_SYN_TS
    if flow.has_isn[d]:
        if flow.isn[d] == f.seq:
            flow.retransmissions[d] += 1
            return
        if flow.state > STATE_SYN_RECV:
            return
        flow.marks &= ~(MARK_NEXT << d)
    flow.isn[d] = f.seq
    flow.has_isn[d] = 1
    if not marked(flow, MARK_NEXT, d):
        set_next(flow, d, f.seq + 1 + f.payload_wire)
    if f.tcp_flags & TCP_ACK and not marked(flow, MARK_NEXT, 1 - d):
        set_next(flow, 1 - d, f.ack)


cdef void fill_hole(Hole* holes, int number, uint32_t start, uint32_t end) noexcept nogil:
    cdef Hole* hole = &holes[number]
    cdef Hole* other = &holes[1 - number]
    cdef uint32_t low = hole.low
    cdef bint reaches = seq_diff(end, hole.high) >= 0
    if start == low:
        if reaches:
            hole.low = hole.high = 0
        else:
            hole.low = end
    elif reaches:
        hole.high = start
    else:
        hole.low = end
        if other.low == other.high:
            other.low = low
            other.high = start


cdef void tcp_behind(Flow* flow, const Frame* f, uint8_t d, int32_t ahead, int64_t ts) noexcept nogil:
    cdef int i
    cdef Hole* hole
    cdef int64_t limit = HOLE_REORDERED
    if ahead == -1 and f.payload_wire <= 1 and not f.tcp_flags & TCP_FIN:
        return
    for i in range(2):
        hole = &flow.holes[d][i]
        if hole.low != hole.high and seq_diff(f.seq, hole.low) >= 0 and seq_diff(f.seq, hole.high) < 0:
            fill_hole(flow.holes[d], i, f.seq, f.seq + f.payload_wire)
            if flow.rtt > 0:
                limit = flow.rtt >> HOLE_SHIFT
                if limit > 0x7FFFFFFF:
                    limit = 0x7FFFFFFF
            if seq_diff(<uint32_t>(ts >> HOLE_SHIFT), flow.hole_at[d]) < limit:
                flow.out_of_order[d] += 1
                return
            break
    flow.retransmissions[d] += 1


cdef void tcp_ahead(Flow* flow, const Frame* f, uint8_t d, int64_t ts) noexcept nogil:
    cdef Hole* holes = flow.holes[d]
    if holes[0].low != holes[0].high:
        holes[1] = holes[0]
    holes[0].low = flow.next_seq[d]
    holes[0].high = f.seq
    flow.hole_at[d] = <uint32_t>(ts >> HOLE_SHIFT)


cdef void tcp_sequence(Flow* flow, const Frame* f, uint8_t d, int64_t ts) noexcept nogil:
    cdef uint32_t length = f.payload_wire + (f.tcp_flags & TCP_FIN)
    cdef uint32_t end = f.seq + length
    cdef int32_t ahead = 0
    if f.tcp_flags & TCP_ACK:
        flow.marks &= ~(MARK_SHUT << d)
        if f.window == 0:
            flow.marks |= MARK_SHUT << d
    if f.window == 0 and not f.tcp_flags & TCP_FIN:
        flow.zero_window[d] += 1
    if marked(flow, MARK_NEXT, d):
        ahead = seq_diff(f.seq, flow.next_seq[d])
    if not marked(flow, MARK_NEXT, d) or ahead > SEQ_JUMP or ahead < -SEQ_JUMP:
        if length:
            set_next(flow, d, end)
            memset(flow.holes[d], 0, 2 * sizeof(Hole))
        return
    if length == 0 and ahead <= 0:
        return
    if ahead < 0:
        tcp_behind(flow, f, d, ahead, ts)
    elif ahead > 0:
        tcp_ahead(flow, f, d, ts)
    elif f.payload_wire == 1 and length == 1 and marked(flow, MARK_SHUT, 1 - d):
        return
    if seq_diff(end, flow.next_seq[d]) > 0:
        flow.next_seq[d] = end


cdef uint8_t tcp_after_syn(const Flow* flow, uint8_t flags, uint8_t d) noexcept nogil:
    cdef uint8_t state = flow.state
    if state == STATE_MIDSTREAM:
        return STATE_ESTABLISHED
    if flags & TCP_ACK:
        return STATE_SYN_RECV if state == STATE_ACTIVE or state == STATE_SYN_SENT else state
    if state == STATE_ACTIVE or state == STATE_CLOSED:
        return STATE_SYN_SENT
    return STATE_SYN_RECV if state == STATE_SYN_SENT and d == 1 else state


cdef uint8_t tcp_closing(Flow* flow, const Frame* f, uint8_t state, uint8_t d) noexcept nogil:
    if f.tcp_flags & TCP_FIN:
        flow.fin_end[d] = f.seq + f.payload_wire + 1
        flow.marks |= MARK_FIN << d
    if not flow.marks & (3 * MARK_FIN):
        return state
    if (f.tcp_flags & TCP_ACK and marked(flow, MARK_FIN, 1 - d)
            and seq_diff(f.ack, flow.fin_end[1 - d]) >= 0):
        flow.marks |= MARK_FIN_ACKED << (1 - d)
    if closed_by_fin(flow):
        return STATE_TIME_WAIT if flow.marks & (3 * MARK_FIN_ACKED) == 3 * MARK_FIN_ACKED else STATE_LAST_ACK
    return STATE_CLOSE_WAIT if flow.marks & (3 * MARK_FIN_ACKED) else STATE_FIN_WAIT


cdef uint8_t tcp_next_state(Flow* flow, const Frame* f, uint8_t d, int64_t ts) noexcept nogil:
    cdef uint8_t state = flow.state
    cdef uint8_t flags = f.tcp_flags
    if flags & TCP_RST:
        return STATE_CLOSED
    if flags & TCP_SYN:
        return tcp_after_syn(flow, flags, d)
    if state == STATE_CLOSED:
        return state
    if state == STATE_ACTIVE:
        state = STATE_MIDSTREAM
    elif state == STATE_SYN_RECV and d == 0 and flags & TCP_ACK:
        state = STATE_ESTABLISHED
        if flow.marks & MARK_SYN_TS and ts >= flow.syn_ts:
            flow.rtt = ts - flow.syn_ts
    elif ((state == STATE_SYN_SENT or state == STATE_SYN_RECV)
            and (f.payload_wire or (d == 0 and flags & TCP_ACK))):
        state = STATE_ESTABLISHED
    return tcp_closing(flow, f, state, d)


cdef void tcp_follow(Flow* flow, const Frame* f, uint8_t d, int64_t ts) noexcept nogil:
    cdef uint8_t flags = f.tcp_flags
    flow.tcp_flags[d] |= flags
    if flags & (TCP_SYN | TCP_FIN | TCP_RST):
        flow.syn += (flags & TCP_SYN) != 0
        flow.fin += (flags & TCP_FIN) != 0
        flow.rst += (flags & TCP_RST) != 0
    if not flags & TCP_RST:
        if flags & TCP_SYN:
            tcp_opening(flow, f, d, ts)
        else:
            tcp_sequence(flow, f, d, ts)
    flow.state = tcp_next_state(flow, f, d, ts)
