# Watched media endpoints: an open-addressing set of (IP version, address, port), linear probing, backward-shift
# deletion. Grown by the Python side under the GIL, between two calls of the walk.

cdef struct Watch:
    uint8_t used
    uint8_t version
    uint16_t port
    uint8_t addr[16]

cdef struct WatchSet:
    Watch* rows
    uint32_t mask
    uint32_t count

cdef uint32_t watch_hash(uint8_t version, const uint8_t* addr, uint16_t port) noexcept nogil:
    cdef uint32_t h = 2166136261u ^ version
    cdef int i
    for i in range(16):
        h = (h ^ addr[i]) * 16777619u
    h = (h ^ (port & 0xFF)) * 16777619u
    return (h ^ (port >> 8)) * 16777619u

cdef bint watch_same(const Watch* w, uint8_t version, const uint8_t* addr, uint16_t port) noexcept nogil:
    return w.port == port and w.version == version and memcmp(w.addr, addr, 16) == 0

cdef bint watch_has(const WatchSet* s, uint8_t version, const uint8_t* addr, uint16_t port) noexcept nogil:
    cdef uint32_t at
    if s.count == 0:
        return False
    at = watch_hash(version, addr, port) & s.mask
    while s.rows[at].used:
        if watch_same(&s.rows[at], version, addr, port):
            return True
        at = (at + 1) & s.mask
    return False

cdef void watch_put(WatchSet* s, uint8_t version, const uint8_t* addr, uint16_t port) noexcept nogil:
    cdef uint32_t at = watch_hash(version, addr, port) & s.mask
    while s.rows[at].used:
        if watch_same(&s.rows[at], version, addr, port):
            return
        at = (at + 1) & s.mask
    s.rows[at].used = 1
    s.rows[at].version = version
    s.rows[at].port = port
    memcpy(s.rows[at].addr, addr, 16)
    s.count += 1

cdef int watch_add(WatchSet* s, uint8_t version, const uint8_t* addr, uint16_t port) except -1:
    cdef WatchSet grown
    cdef uint32_t i
    if s.rows == NULL or (s.count + 1) * 2 > s.mask + 1:
        grown.mask = 255 if s.rows == NULL else s.mask * 2 + 1
        grown.count = 0
        grown.rows = <Watch*>calloc(grown.mask + 1, sizeof(Watch))
        if grown.rows == NULL:
            raise MemoryError("media watches")
        if s.rows != NULL:
            for i in range(s.mask + 1):
                if s.rows[i].used:
                    watch_put(&grown, s.rows[i].version, s.rows[i].addr, s.rows[i].port)
            free(s.rows)
        s[0] = grown
    watch_put(s, version, addr, port)
    return 0

cdef void watch_remove(WatchSet* s, uint8_t version, const uint8_t* addr, uint16_t port) noexcept nogil:
    cdef uint32_t at, hole, home
    if s.count == 0:
        return
    at = watch_hash(version, addr, port) & s.mask
    while s.rows[at].used and not watch_same(&s.rows[at], version, addr, port):
        at = (at + 1) & s.mask
    if not s.rows[at].used:
        return
    s.count -= 1
    hole = at
    while True:
        at = (at + 1) & s.mask
        if not s.rows[at].used:
            break
        home = watch_hash(s.rows[at].version, s.rows[at].addr, s.rows[at].port) & s.mask
        if ((at - home) & s.mask) >= ((at - hole) & s.mask):
            s.rows[hole] = s.rows[at]
            hole = at
    s.rows[hole].used = 0
