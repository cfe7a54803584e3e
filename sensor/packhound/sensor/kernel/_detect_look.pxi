# Bounded reads shared by the signatures. Native twin of packhound.net.signatures.look.

cdef enum:
    FIRST_LINE = 1024
    SAID_220 = 1
    SAID_OK = 2
    SAID_STAR = 3
    SAID_NICK = 4
    SAID_SOCKS = 5
    SAID_NETBIOS = 6
    SAID_TELNET = 7
    SAID_PING = 8


cdef inline bint yes(Found* o, uint8_t app, uint8_t confidence) noexcept nogil:
    o.app = app
    o.confidence = confidence
    o.method = METHOD_CONTENT
    return True


cdef inline bint yes_twice(Found* o, uint8_t app, uint8_t confidence) noexcept nogil:
    o.app = app
    o.confidence = confidence
    o.method = METHOD_TWO_PACKETS
    return True


cdef inline bint on_port(const Look* l, uint16_t port) noexcept nogil:
    return l.sport == port or l.dport == port


cdef inline uint32_t det16(const uint8_t* p) noexcept nogil:
    return <uint32_t>p[0] << 8 | p[1]


cdef inline uint32_t det24(const uint8_t* p) noexcept nogil:
    return <uint32_t>p[0] << 16 | <uint32_t>p[1] << 8 | p[2]


cdef inline uint32_t det32(const uint8_t* p) noexcept nogil:
    return <uint32_t>p[0] << 24 | <uint32_t>p[1] << 16 | <uint32_t>p[2] << 8 | p[3]


cdef inline uint32_t det32le(const uint8_t* p) noexcept nogil:
    return <uint32_t>p[3] << 24 | <uint32_t>p[2] << 16 | <uint32_t>p[1] << 8 | p[0]


cdef inline bint begins(const uint8_t* p, uint32_t n, const char* text, uint32_t size) noexcept nogil:
    return n >= size and memcmp(p, text, size) == 0


cdef bint begins_upper(const uint8_t* p, uint32_t n, const char* text, uint32_t size) noexcept nogil:
    """`text` is in capitals; letters of `p` compare without case."""
    cdef uint32_t i
    cdef uint8_t c
    if n < size:
        return False
    for i in range(size):
        c = p[i]
        if 97 <= c <= 122:
            c -= 32
        if c != <uint8_t>text[i]:
            return False
    return True


cdef inline bint ends(const uint8_t* p, uint32_t n, const char* text, uint32_t size) noexcept nogil:
    return n >= size and memcmp(p + n - size, text, size) == 0


cdef bint holds(const uint8_t* p, uint32_t n, const char* text, uint32_t size) noexcept nogil:
    cdef uint32_t i
    if n < size:
        return False
    for i in range(n - size + 1):
        if p[i] == <uint8_t>text[0] and memcmp(p + i, text, size) == 0:
            return True
    return False


cdef bint holds_upper(const uint8_t* p, uint32_t n, const char* text, uint32_t size) noexcept nogil:
    cdef uint32_t i
    if n < size:
        return False
    for i in range(n - size + 1):
        if begins_upper(p + i, n - i, text, size):
            return True
    return False


cdef inline uint32_t at_most(uint32_t n, uint32_t limit) noexcept nogil:
    return n if n < limit else limit


cdef uint32_t first_line(const uint8_t* p, uint32_t n, bint* whole) noexcept nogil:
    """Length of the first line without its end."""
    cdef uint32_t i, limit = at_most(n, FIRST_LINE)
    for i in range(limit):
        if p[i] == 10:
            whole[0] = True
            return i - 1 if i and p[i - 1] == 13 else i
    whole[0] = False
    return limit


cdef bint zeros(const uint8_t* p, uint32_t size) noexcept nogil:
    cdef uint32_t i
    for i in range(size):
        if p[i]:
            return False
    return True


cdef bint printable(const uint8_t* p, uint32_t size) noexcept nogil:
    cdef uint32_t i
    for i in range(size):
        if p[i] < 32 or p[i] > 126:
            return False
    return True


cdef uint32_t ber_length(const uint8_t* p, uint32_t n, uint32_t at, uint32_t* length) noexcept nogil:
    """Index after the BER length at `at`, 0 when there is none."""
    cdef uint32_t size, i
    length[0] = 0
    if at >= n:
        return 0
    if p[at] < 0x80:
        length[0] = p[at]
        return at + 1
    size = p[at] & 0x7F
    if size < 1 or size > 4 or at + 1 + size > n:
        return 0
    for i in range(size):
        length[0] = length[0] << 8 | p[at + 1 + i]
    return at + 1 + size


cdef bint netbios_name(const uint8_t* p, uint32_t n, uint32_t at) noexcept nogil:
    cdef uint32_t i
    if at + 34 > n or p[at] != 32:
        return False
    for i in range(at + 1, at + 33):
        if p[i] < 65 or p[i] > 80:
            return False
    return True
