# Where a message starts and whether it is whole: the native side of messages.py.

cdef bint prefix(const uint8_t* p, uint32_t n, const char* text, uint32_t size) noexcept nogil:
    return n >= size and memcmp(p, text, size) == 0

cdef bint is_request(const uint8_t* p, uint32_t n) noexcept nogil:
    cdef uint32_t end = 0
    cdef uint8_t c
    while end < n and end < 20 and (65 <= p[end] <= 90 or p[end] == 0x2D):
        end += 1
    if end < 3 or end + 1 >= n or p[end] != 0x20:
        return False
    c = p[end + 1]
    return c == 47 or c == 42 or 48 <= c <= 57 or 65 <= c <= 90 or 97 <= c <= 122


cdef bint starts_message(uint8_t app, const uint8_t* p, uint32_t n) noexcept nogil:
    if app == APP_TLS:
        return p[0] == 0x16
    if app == APP_QUIC:         # long header (RFC 9000), or a Google QUIC packet with its version
        return p[0] & 0x80 or p[0] & 0x09 == 0x09
    if app == APP_HTTP:
        return prefix(p, n, b"HTTP/", 5) or is_request(p, n)
    return True

cdef bint has_blank_line(const uint8_t* p, uint32_t n) noexcept nogil:
    cdef uint32_t i
    if n < 4:
        return False
    for i in range(n - 3):
        if p[i] == 13 and p[i + 1] == 10 and p[i + 2] == 13 and p[i + 3] == 10:
            return True
    return False

cdef bint torn(uint8_t app, const uint8_t* p, uint32_t n, uint8_t proto) noexcept nogil:
    cdef uint32_t record_end, message_end
    if app == APP_TLS:
        if n < 9:
            return True
        record_end = 5 + (<uint32_t>p[3] << 8 | p[4])
        message_end = 9 + (<uint32_t>p[6] << 16 | <uint32_t>p[7] << 8 | p[8])
        return record_end > n or message_end > record_end
    if app == APP_HTTP:
        if prefix(p, n, b"HTTP/", 5):
            return not has_blank_line(p, n)
        return n < 4 or memcmp(p + n - 4, b"\r\n\r\n", 4) != 0
    if proto != 6:
        return False
    if app == APP_DNS:
        return n < 2 or 2 + (<uint32_t>p[0] << 8 | p[1]) != n
    return True
