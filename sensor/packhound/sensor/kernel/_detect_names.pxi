# Name services. Native twin of packhound.net.signatures.names.

cdef enum:
    MAX_NAME = 255


cdef uint32_t name_end(const uint8_t* p, uint32_t n, uint32_t at) noexcept nogil:
    cdef uint32_t start = at, size
    while at < n and at - start < MAX_NAME:
        size = p[at]
        if size == 0:
            return at + 1
        if size >= 0xC0:
            return at + 2 if at > start and at + 2 <= n else 0
        if size > 63:
            return 0
        at += 1 + size
    return 0


cdef bint dns_like(const uint8_t* p, uint32_t n, uint32_t start) noexcept nogil:
    cdef uint32_t flags, questions, answers, opcode, at, kind
    if start + 12 > n:
        return False
    flags = det16(p + start + 2)
    questions = det16(p + start + 4)
    answers = det16(p + start + 6)
    opcode = flags >> 11 & 15
    if flags & 0x40 or opcode == 3 or opcode > 8 or flags & 15 > 11:
        return False
    if (questions > 64 or answers > 512 or det16(p + start + 8) > 512 or det16(p + start + 10) > 512):
        return False
    if not flags & 0x8000 and (flags & 15 or (answers and opcode == 0 and questions == 0)):
        return False
    at = name_end(p, n, start + 12)
    if at == 0 or at + 4 > n:
        return False
    if questions == 0 and not (flags & 0x8000 and opcode == 0 and answers and at + 10 <= n):
        return False
    kind = det16(p + at + 2) & 0x7FFF
    return det16(p + at) != 0 and (kind == 1 or kind == 3 or kind == 4 or kind == 254 or kind == 255)


cdef bint sig_dns_tcp(const Look* l, Found* o) noexcept nogil:
    if l.n < 19 or not dns_like(l.p, l.n, 2):
        return False
    if on_port(l, 53):
        return yes(o, APP_DNS, 95)
    if det16(l.p) != l.n - 2:
        return False
    return yes(o, APP_LLMNR, 95) if on_port(l, 5355) else yes(o, APP_DNS, 80)


cdef bint dns_rest(const Look* l, Found* o) noexcept nogil:
    cdef const uint8_t* p = l.p
    cdef uint32_t at
    cdef uint8_t app
    if l.n < 12:
        return False
    if on_port(l, 53) and l.n == 12 and p[2] & 0x80 and not p[3] & 0x40 and zeros(p + 4, 8):
        return yes(o, APP_DNS, 80)
    app = APP_DNS if on_port(l, 53) else APP_MDNS if on_port(l, 5353) else APP_LLMNR if on_port(l, 5355) else 0
    if app and 1 <= det16(p + 4) <= 4 and det16(p + 6) <= 512 and det16(p + 8) <= 512 and det16(p + 10) <= 512:
        at = name_end(p, l.n, 12)
        if at and at + 4 <= l.n:
            return yes(o, app, 70)
    if on_port(l, 137) and netbios_name(p, l.n, 12) and not p[3] & 0x60:
        return yes(o, APP_NBNS, 90)
    return False


cdef bint sig_dns_udp(const Look* l, Found* o) noexcept nogil:
    if not dns_like(l.p, l.n, 0):
        return dns_rest(l, o)
    if on_port(l, 53):
        return yes(o, APP_DNS, 95)
    if on_port(l, 5353):
        return yes(o, APP_MDNS, 95)
    if on_port(l, 5355):
        return yes(o, APP_LLMNR, 95)
    if netbios_name(l.p, l.n, 12) or on_port(l, 137):
        return yes(o, APP_NBNS, 95)
    return yes(o, APP_DNS, 80)


cdef bint sig_nbdgm(const Look* l, Found* o) noexcept nogil:
    if l.n >= 48 and 0x10 <= l.p[0] <= 0x12 and l.p[1] < 16 and netbios_name(l.p, l.n, 14):
        return yes(o, APP_NBDGM, 95)
    return False
