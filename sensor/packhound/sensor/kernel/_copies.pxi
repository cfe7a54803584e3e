# Copies: the same packet seen on several interfaces (veth, bridge, uplink) counts once. Native side of copies.py, which
# says what a copy is. The key is a hash under a secret: nobody can make a packet look like a copy of another.

cdef enum:
    COPY_WAYS = 4
    COPY_SETS = 16384           # 4 MiB in all
    COPY_PORTS = 11             # interfaces of one packet that are counted apart
    COPY_MOST = 0xFFFF

cdef struct Copy:               # one cache line
    uint64_t key
    int64_t last
    uint16_t used               # 0: nothing here
    uint16_t pad
    uint16_t iface[COPY_PORTS]
    uint16_t count[COPY_PORTS]

cdef struct Copies:
    uint64_t window             # ns; 0: off
    uint64_t secret[2]
    void* room
    Copy* rows


cdef inline uint64_t word_at(const uint8_t* p) noexcept nogil:
    cdef uint64_t found
    memcpy(&found, p, 8)
    return found


cdef uint64_t copy_hash(const Copies* c, uint64_t h, const uint8_t* p, uint32_t n) noexcept nogil:
    """Hash `n` bytes at `p` into `h`: two lanes of 16 bytes a step."""
    cdef uint64_t other = h ^ c.secret[1]
    cdef uint32_t left = n
    cdef uint8_t rest[32]
    while left >= 32:
        h = packhound_mix(word_at(p) ^ c.secret[0], word_at(p + 8) ^ h)
        other = packhound_mix(word_at(p + 16) ^ c.secret[1], word_at(p + 24) ^ other)
        p += 32
        left -= 32
    memset(rest, 0, 32)
    memcpy(rest, p, left)
    h = packhound_mix(word_at(rest) ^ c.secret[0], word_at(rest + 8) ^ h)
    other = packhound_mix(word_at(rest + 16) ^ c.secret[1], word_at(rest + 24) ^ other)
    return packhound_mix(h ^ n, other ^ c.secret[0])


cdef uint64_t copy_key(const Copies* c, const Frame* f, const uint8_t* p, uint32_t n) noexcept nogil:
    """What stays the same of a packet on its way through a node; 0: none of our business."""
    cdef uint64_t head[8]
    cdef uint64_t h
    cdef uint32_t start, end, size, cut, skip
    if f.l3 == 0:
        return 0
    head[0] = (<uint64_t>f.ip_version | <uint64_t>f.proto << 8 | <uint64_t>f.frag_more << 16 | <uint64_t>f.vlan << 32)
    head[1] = f.tenant
    head[2] = <uint64_t>f.frag_id << 32 | f.frag_offset
    if f.ip_version == 4:
        head[1] |= <uint64_t>be16(p + f.l3 + 4) << 32
    memcpy(&head[3], f.src, 16)
    memcpy(&head[5], f.dst, 16)
    end = n
    if f.l4:
        start = f.l4
        if f.payload >= f.l4:
            end = f.payload + f.payload_len
    elif f.ip_version == 4:
        start = f.l3 + 20
        size = be16(p + f.l3 + 2)
        if size and f.l3 + size < n:
            end = f.l3 + size
    elif f.ip_version == 6:
        start = f.l3 + 40
        size = be16(p + f.l3 + 4)
        if size and start + size < n:
            end = start + size
    else:
        start = f.l3
    if start > end:
        start = end
    head[7] = end - start
    h = copy_hash(c, c.secret[0], <const uint8_t*>head, 64)
    cut = skip = 0              # the checksum, which a card may still have to write
    if f.l4 and f.proto == 6:
        cut, skip = 16, 2
    elif f.l4 and f.proto == 17:
        cut, skip = 6, 2
    elif f.l4 and f.proto == 132:
        cut, skip = 8, 4
    if skip and end - start >= cut + skip:
        h = copy_hash(c, h, p + start, cut)
        start += cut + skip
    h = copy_hash(c, h, p + start, end - start)
    return h if h else 1


cdef bint copy_seen(Copies* c, const Frame* f, const uint8_t* p, uint32_t n, int64_t ts, uint16_t iface) noexcept nogil:
    """Note a packet; tell whether it is a copy of one that was seen on another interface."""
    cdef uint64_t key = copy_key(c, f, p, n), away
    cdef Copy* row
    cdef Copy* found = NULL
    cdef Copy* oldest
    cdef uint32_t i
    cdef uint16_t most = 0
    cdef uint32_t at = COPY_PORTS
    if key == 0:
        return False
    row = &c.rows[(key & (COPY_SETS - 1)) * COPY_WAYS]
    oldest = row
    for i in range(COPY_WAYS):
        if row[i].used and row[i].key == key:
            found = &row[i]
            break
        if oldest.used and (not row[i].used or row[i].last < oldest.last):
            oldest = &row[i]
    if found != NULL:
        away = <uint64_t>ts - <uint64_t>found.last if ts > found.last else <uint64_t>found.last - <uint64_t>ts
        if away <= c.window:
            for i in range(found.used):
                if found.count[i] > most:
                    most = found.count[i]
                if found.iface[i] == iface:
                    at = i
            if at == COPY_PORTS or found.count[at] < COPY_MOST:
                if ts > found.last:
                    found.last = ts
                if at < COPY_PORTS:
                    found.count[at] += 1
                    return found.count[at] <= most
                if found.used < COPY_PORTS:
                    found.iface[found.used] = iface
                    found.count[found.used] = 1
                    found.used += 1
                return True
        oldest = found
    oldest.key = key
    oldest.last = ts
    oldest.used = 1
    oldest.iface[0] = iface
    oldest.count[0] = 1
    return False


cdef int copies_set(Copies* c, uint64_t window, bytes secret) except -1:
    """Look for copies within `window` ns; 0: do not."""
    cdef uint64_t room
    if window == 0:
        copies_free(c)
        return 0
    if c.room == NULL:
        c.room = calloc(COPY_SETS * COPY_WAYS + 1, sizeof(Copy))
        if c.room == NULL:
            raise MemoryError("copies")
        room = (<uint64_t>c.room + 63) & ~<uint64_t>63
        c.rows = <Copy*>room
        memcpy(c.secret, <const char*>secret, 16)
    c.window = window
    return 0


cdef void copies_free(Copies* c) noexcept:
    free(c.room)
    memset(c, 0, sizeof(Copies))
