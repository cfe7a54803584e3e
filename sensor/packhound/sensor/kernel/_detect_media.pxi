# Real-time media. Native twin of packhound.net.signatures.media.

cdef enum:
    TS_NEAR = 16
    FEEDBACK = 0x40000000
    SEQ_NEAR = 64


cdef bint stun_attributes(const uint8_t* p, uint32_t n) noexcept nogil:
    cdef uint32_t at = 20, kind, size
    while at + 4 <= n:
        kind = det16(p + at)
        size = det16(p + at + 2)
        if not (0 < kind <= 0x30 or 0x8000 <= kind <= 0x8080) or size > 763:
            return False
        at += 4 + ((size + 3) & ~<uint32_t>3)
    return at == n


cdef bint stun_message(const Look* l, uint32_t start, Found* o) noexcept nogil:
    cdef const uint8_t* p = l.p + start
    cdef uint32_t n = l.n - start, kind, size, method
    if l.n < start + 20 or p[0] > 3:
        return False
    kind = det16(p)
    size = det16(p + 2)
    if size % 4 or size + 20 > n:
        return False
    method = kind & 15 | (kind & 0xE0) >> 1 | (kind & 0x3E00) >> 2
    if det32(p + 4) == 0x2112A442:
        return yes(o, APP_TURN if method == 3 or method == 4 or 6 <= method <= 9 else APP_STUN, 95)
    if (kind != 1 and kind != 0x101 and kind != 0x111) or size + 20 != n or start:
        return False
    if on_port(l, 3478) or on_port(l, 3479):
        return yes(o, APP_STUN, 80)
    return size and stun_attributes(p, n) and yes(o, APP_STUN, 80)


cdef bint sig_stun(const Look* l, Found* o) noexcept nogil:
    return stun_message(l, 0, o)


cdef bint sig_stun_tcp(const Look* l, Found* o) noexcept nogil:
    if l.n >= 8 and det32(l.p + 4) == 0x2112A442:
        return stun_message(l, 0, o)
    return (l.n >= 22 and det16(l.p) == l.n - 2 and det32(l.p + 6) == 0x2112A442
            and stun_message(l, 2, o))


cdef bint rtcp_compound(const uint8_t* p, uint32_t n) noexcept nogil:
    cdef uint32_t at = 0
    while at + 4 <= n:
        if p[at] >> 6 != 2 or p[at + 1] < 200 or p[at + 1] > 207:
            return False
        at += 4 * (det16(p + at + 2) + 1)
    return at == n


cdef bint sig_rtcp(const Look* l, Found* o) noexcept nogil:
    cdef const uint8_t* p = l.p
    cdef uint32_t words, needed, slot, source
    if l.sport < 1024 or l.dport < 1024 or l.n < 8 or p[0] >> 6 != 2 or not 200 <= p[1] <= 207:
        return False
    words = det16(p + 2)
    needed = 6 * <uint32_t>(p[0] & 31) + (6 if p[1] == 200 else 1)
    if p[1] <= 201:
        if words >= needed and rtcp_compound(p, l.n):
            return yes(o, APP_RTCP, 90)
        return words == needed and 4 * (words + 1) <= l.n and yes(o, APP_RTCP, 80)
    if not rtcp_compound(p, l.n):
        return False
    slot = 2 * (l.direction & 1)
    source = det32(p + 4)
    if l.scratch[slot + 1] == FEEDBACK and l.scratch[slot] == source:
        return yes_twice(o, APP_RTCP, 85)
    l.scratch[slot] = source
    l.scratch[slot + 1] = FEEDBACK
    return False


cdef bint sig_rtp(const Look* l, Found* o) noexcept nogil:
    cdef const uint8_t* p = l.p
    cdef uint32_t kind, source, sequence, time, slot, before, step, drift
    if l.sport < 1024 or l.dport < 1024 or l.n < 12 or p[0] >> 6 != 2:
        return False
    kind = p[1] & 0x7F
    if l.n < 12 + 4 * <uint32_t>(p[0] & 15) or 34 < kind < 96:
        return False
    source = det32(p + 8)
    sequence = det16(p + 2)
    time = det32(p + 4) >> 17 & 0x7FFF
    slot = 2 * (l.direction & 1)
    before = l.scratch[slot + 1]
    if before & 0x80000000u and source and l.scratch[slot] == source:
        step = (sequence - before) & 0xFFFF
        drift = (time - (before >> 16) + TS_NEAR) & 0x7FFF
        if 0 < step < SEQ_NEAR and drift <= 2 * TS_NEAR:
            return yes_twice(o, APP_RTP, 90)
    l.scratch[slot] = source
    l.scratch[slot + 1] = 0x80000000u | time << 16 | sequence
    return False
