# Walkers: where each packet of a capture buffer lies. No packet byte is read here, only record headers.
# Every function writes rows from `row` on and returns (rows used in all, next position, why it stopped).
# The same walks in Python: packhound.sensor.tap.index. Codes are those of that module.
cdef enum:
    WALK_FULL = 0           # enough rows or bytes for one block
    WALK_MORE = 1           # what is left is less than one record
    WALK_SPECIAL = 2        # a pcapng block that changes how the next ones are read
    WALK_HUGE = 3           # record longer than allowed
    WALK_SHORT = 4          # a length too small for what it should hold
    WALK_TRAILER = 5        # the two lengths of a pcapng block differ
    WALK_INTERFACE = 6      # a packet of an interface that the section never described

cdef extern from *:
    """
    #include <stdint.h>
    #include <string.h>
    static inline uint32_t ph_load32(const uint8_t *p, int swapped) {
        uint32_t v;
        memcpy(&v, p, 4);
        return swapped ? __builtin_bswap32(v) : v;
    }
    static inline uint16_t ph_load16(const uint8_t *p, int swapped) {
        uint16_t v;
        memcpy(&v, p, 2);
        return swapped ? __builtin_bswap16(v) : v;
    }
    /* ticks of a pcapng clock -> ns since the epoch, saturating: ticks * mul / div, or >> shift where div is 0 */
    static inline int64_t ph_ticks(uint64_t ticks, uint64_t mul, uint64_t div, uint32_t shift, int64_t offset) {
        const __int128 top = INT64_MAX;
        unsigned __int128 wide = (unsigned __int128)ticks * mul;
        wide = div == 1 ? wide : div ? wide / div : shift < 128 ? wide >> shift : 0;
        __int128 ns = (wide > (unsigned __int128)top ? top : (__int128)wide) + offset;
        return ns > top ? INT64_MAX : ns < -top ? -INT64_MAX : (int64_t)ns;
    }
    static inline uint32_t ph_acquire32(const uint32_t *p) { return __atomic_load_n(p, __ATOMIC_ACQUIRE); }
    static inline void ph_store32(uint32_t *p, uint32_t v) { __atomic_store_n(p, v, __ATOMIC_RELAXED); }
    static inline void ph_release32(uint32_t *p, uint32_t v) { __atomic_store_n(p, v, __ATOMIC_RELEASE); }
    """
    uint32_t ph_load32(const uint8_t* p, int swapped) noexcept nogil
    uint16_t ph_load16(const uint8_t* p, int swapped) noexcept nogil
    int64_t ph_ticks(uint64_t ticks, uint64_t mul, uint64_t div, uint32_t shift, int64_t offset) noexcept nogil
    uint32_t ph_acquire32(const uint32_t* p) noexcept nogil
    void ph_store32(uint32_t* p, uint32_t v) noexcept nogil
    void ph_release32(uint32_t* p, uint32_t v) noexcept nogil


cdef struct Rows:
    uint64_t* offset
    uint32_t* caplen
    uint32_t* wirelen
    int64_t* ts
    uint16_t* iface
    uint32_t used
    uint32_t size


cdef Rows rows_of(uint64_t[::1] offset, uint32_t[::1] caplen, uint32_t[::1] wirelen, int64_t[::1] ts,
                  uint16_t[::1] iface, uint32_t used) except *:
    cdef Rows r
    r.size = <uint32_t>min(offset.shape[0], caplen.shape[0], wirelen.shape[0], ts.shape[0], iface.shape[0])
    if r.size == 0 or used > r.size:
        raise ValueError("no room for rows")
    r.offset, r.caplen, r.wirelen, r.ts, r.iface = &offset[0], &caplen[0], &wirelen[0], &ts[0], &iface[0]
    r.used = used
    return r


cdef inline void add_row(Rows* r, uint64_t offset, uint32_t caplen, uint32_t wirelen, int64_t ts,
                         uint16_t iface) noexcept nogil:
    r.offset[r.used] = offset
    r.caplen[r.used] = caplen
    r.wirelen[r.used] = wirelen
    r.ts[r.used] = ts
    r.iface[r.used] = iface
    r.used += 1


cdef int walk_pcap(const uint8_t* buf, uint64_t* pos, uint64_t end, uint64_t budget, Rows* r, bint swapped,
                   uint32_t unit, uint32_t header, uint32_t longest, uint16_t iface, int lengths) noexcept nogil:
    cdef uint64_t at = pos[0], start = pos[0]
    cdef uint32_t caplen, wirelen, spare
    cdef int code = WALK_FULL
    while r.used < r.size and at - start < budget:
        if end - at < header:
            code = WALK_MORE
            break
        caplen = ph_load32(buf + at + 8, swapped)
        wirelen = ph_load32(buf + at + 12, swapped)
        if lengths == 2 or (lengths == 1 and caplen > wirelen):
            spare = caplen
            caplen = wirelen
            wirelen = spare
        if caplen > longest:
            code = WALK_HUGE
            break
        if end - at - header < caplen:
            code = WALK_MORE
            break
        add_row(r, at + header, caplen, wirelen,
                <int64_t>ph_load32(buf + at, swapped) * 1000000000 + <int64_t>ph_load32(buf + at + 4, swapped) * unit,
                iface)
        at += header + caplen
    pos[0] = at
    return code


def index_pcap(const uint8_t[::1] buf, uint64_t pos, uint64_t end, uint64_t budget, uint64_t[::1] offset,
               uint32_t[::1] caplen, uint32_t[::1] wirelen, int64_t[::1] ts, uint16_t[::1] iface_out, *,
               bint swapped, uint32_t unit, uint32_t header, uint32_t longest, uint16_t iface, int lengths):
    """Walk pcap records of `buf[pos:end]` until the arrays are full, `budget` bytes are walked or a record is cut.

    `unit`: ns per tick of the sub-second field; `header`: bytes of a record header (16, 24 in modified captures);
    `longest`: biggest captured length believed; `lengths`: 0 as they stand, 1 swap the two where captured > original,
    2 always swapped (files older than version 2.3).
    """
    cdef Rows r = rows_of(offset, caplen, wirelen, ts, iface_out, 0)
    cdef int code = WALK_MORE
    if header < 16:
        raise ValueError("record header of less than 16 bytes")
    if end > <uint64_t>buf.shape[0]:
        end = <uint64_t>buf.shape[0]
    if pos < end:
        with nogil:
            code = walk_pcap(&buf[0], &pos, end, budget, &r, swapped, unit, header, longest, iface, lengths)
    return r.used, pos, code


cdef struct Clocks:         # one row per interface of the section
    const uint64_t* mul
    const uint64_t* div
    const uint8_t* shift
    const int64_t* offset   # ns
    const uint32_t* snaplen
    const uint16_t* iface   # index in the tap's table
    uint32_t count


cdef int walk_pcapng(const uint8_t* buf, uint64_t* pos, uint64_t end, uint64_t budget, Rows* r, const Clocks* c,
                     bint swapped, uint32_t longest, int64_t* last) noexcept nogil:
    cdef uint64_t at = pos[0], start = pos[0], ticks
    cdef uint32_t kind, total, padded, body, caplen, wirelen, who
    while r.used < r.size and at - start < budget:
        if end - at < 12:
            pos[0] = at
            return WALK_MORE
        kind = ph_load32(buf + at, swapped)
        pos[0] = at
        if kind == 0x0A0D0D0A or kind == 1 or kind == 5:
            return WALK_SPECIAL
        total = ph_load32(buf + at + 4, swapped)
        if total < 12:
            return WALK_SHORT
        if total > longest:
            return WALK_HUGE
        padded = (total + 3) & <uint32_t>0xFFFFFFFC
        if end - at < padded:
            return WALK_MORE
        if ph_load32(buf + at + padded - 4, swapped) != total:
            return WALK_TRAILER
        body = total - 12
        if kind == 6 or kind == 2:      # enhanced packet; packet (obsolete)
            if body < 20:
                return WALK_SHORT
            who = ph_load32(buf + at + 8, swapped) if kind == 6 else ph_load16(buf + at + 8, swapped)
            if who >= c.count:
                return WALK_INTERFACE
            caplen = ph_load32(buf + at + 20, swapped)
            wirelen = ph_load32(buf + at + 24, swapped)
            if caplen > body - 20:
                return WALK_SHORT
            ticks = <uint64_t>ph_load32(buf + at + 12, swapped) << 32 | ph_load32(buf + at + 16, swapped)
            last[0] = ph_ticks(ticks, c.mul[who], c.div[who], c.shift[who], c.offset[who])
            add_row(r, at + 28, caplen, wirelen, last[0], c.iface[who])
        elif kind == 3:                 # simple packet: interface 0, no time of its own
            if body < 4:
                return WALK_SHORT
            if c.count == 0:
                return WALK_INTERFACE
            wirelen = ph_load32(buf + at + 8, swapped)
            caplen = wirelen
            if c.snaplen[0] and caplen > c.snaplen[0]:
                caplen = c.snaplen[0]
            if caplen > body - 4:
                return WALK_SHORT
            add_row(r, at + 12, caplen, wirelen, last[0], c.iface[0])
        at += padded
    pos[0] = at
    return WALK_FULL


def index_pcapng(const uint8_t[::1] buf, uint64_t pos, uint64_t end, uint64_t budget, uint64_t[::1] offset,
                 uint32_t[::1] caplen, uint32_t[::1] wirelen, int64_t[::1] ts, uint16_t[::1] iface_out, *,
                 uint32_t row, bint swapped, uint32_t longest, int64_t last, const uint64_t[::1] mul,
                 const uint64_t[::1] div, const uint8_t[::1] shift, const int64_t[::1] tsoffset,
                 const uint32_t[::1] snaplen, const uint16_t[::1] iface, uint32_t count):
    """Walk pcapng blocks of `buf[pos:end]` within one section, from `row` on; stop at blocks that Python must read.

    The clock arrays have one row for each of the section's `count` interfaces; `last` is the time that a packet
    without one gets (that of the packet before it). Returns (rows, position, code, last).
    """
    cdef Rows r = rows_of(offset, caplen, wirelen, ts, iface_out, row)
    cdef Clocks c
    cdef int code = WALK_MORE
    memset(&c, 0, sizeof(c))
    c.count = <uint32_t>min(count, mul.shape[0], div.shape[0], shift.shape[0], tsoffset.shape[0], snaplen.shape[0],
                            iface.shape[0])
    if c.count:
        c.mul, c.div, c.shift, c.offset = &mul[0], &div[0], &shift[0], &tsoffset[0]
        c.snaplen, c.iface = &snaplen[0], &iface[0]
    if end > <uint64_t>buf.shape[0]:
        end = <uint64_t>buf.shape[0]
    if pos < end:
        with nogil:
            code = walk_pcapng(&buf[0], &pos, end, budget, &r, &c, swapped, longest, &last)
    return r.used, pos, code, last


# ---- TPACKET_V3 (linux/if_packet.h): block header, then packets chained by tp_next_offset
cdef void walk_ring(uint8_t* base, uint64_t size, Rows* r, uint16_t iface, uint32_t snaplen, int mode,
                    bint incoming_only) noexcept nogil:
    cdef uint32_t packets = ph_load32(base + 12, 0), step, status, n, caplen, wirelen, mac, tag_at
    cdef uint64_t at = ph_load32(base + 16, 0), first
    cdef uint8_t* p
    for n in range(packets):
        if r.used >= r.size or at + 80 > size:
            break
        p = base + at                   # struct tpacket3_hdr, struct sockaddr_ll at 48
        step = ph_load32(p, 0)
        mac = ph_load16(p + 24, 0)
        caplen = ph_load32(p + 12, 0)
        wirelen = ph_load32(p + 16, 0)
        status = ph_load32(p + 20, 0)
        first = at + mac
        if mac >= 92 and first + caplen <= size and not (incoming_only and p[58] == 4):
            tag_at = 12
            if mode == 2:               # cooked: a Linux SLL header in the room before the network header
                first -= 16
                caplen += 16
                wirelen += 16
                cooked_header(base + first, p + 48)
                tag_at = 14
            if status & 0x10 and mode and caplen >= tag_at:      # TP_STATUS_VLAN_VALID: put the tag back
                memmove(base + first - 4, base + first, tag_at)
                first -= 4
                caplen += 4
                wirelen += 4
                put_tag(base + first + tag_at, ph_load16(p + 36, 0) if status & 0x40 else 0x8100,
                        ph_load32(p + 32, 0))
            if snaplen and caplen > snaplen:
                caplen = snaplen
            add_row(r, first, caplen, wirelen,
                    <int64_t>ph_load32(p + 4, 0) * 1000000000 + ph_load32(p + 8, 0), iface)
        if step == 0:
            break
        at += step


cdef inline void put_tag(uint8_t* p, uint32_t tpid, uint32_t tci) noexcept nogil:
    p[0] = <uint8_t>(tpid >> 8)
    p[1] = <uint8_t>(tpid & 0xFF)
    p[2] = <uint8_t>(tci >> 8 & 0xFF)
    p[3] = <uint8_t>(tci & 0xFF)


cdef inline void cooked_header(uint8_t* p, const uint8_t* sll) noexcept nogil:
    cdef uint16_t hatype = ph_load16(sll + 8, 0)
    p[0] = 0
    p[1] = sll[10]                      # packet type
    p[2] = <uint8_t>(hatype >> 8)
    p[3] = <uint8_t>(hatype & 0xFF)
    p[4] = 0
    p[5] = sll[11] if sll[11] < 8 else 8
    memcpy(p + 6, sll + 12, 8)
    memcpy(p + 14, sll + 2, 2)          # protocol, network order on both sides


def index_ring(uint64_t addr, uint64_t size, uint64_t[::1] offset, uint32_t[::1] caplen, uint32_t[::1] wirelen,
               int64_t[::1] ts, uint16_t[::1] iface_out, *, uint16_t iface, uint32_t snaplen, int mode,
               bint incoming_only):
    """Index one retired TPACKET_V3 block of `size` bytes at address `addr`, putting VLAN tags back into the frames.

    `mode`: 0 raw IP (no place for a tag), 1 Ethernet, 2 cooked (a Linux SLL header is written before the packet);
    `snaplen` 0: as captured. The socket must reserve at least 24 bytes (PACKET_RESERVE). Returns the rows used.
    """
    cdef Rows r = rows_of(offset, caplen, wirelen, ts, iface_out, 0)
    if size < 48:
        raise ValueError("ring block of less than its header")
    with nogil:
        walk_ring(<uint8_t*>addr, size, &r, iface, snaplen, mode, incoming_only)
    return r.used


def ring_status(uint64_t addr):
    """block_status of the ring block at `addr` (bit 0: ours), read before anything else of the block."""
    return ph_acquire32(<const uint32_t*>(addr + 8))


def ring_release(uint64_t addr):
    """Hand the ring block at `addr` back to the kernel, after everything that was read of it."""
    ph_store32(<uint32_t*>(addr + 12), 0)
    ph_release32(<uint32_t*>(addr + 8), 0)
