# What speaks in single datagrams. Native twin of packhound.net.signatures.datagrams.


cdef bint sig_dhcp(const Look* l, Found* o) noexcept nogil:
    cdef const uint8_t* p = l.p
    if l.n < 236 or (p[0] != 1 and p[0] != 2):
        return False
    if l.n >= 240 and det32(p + 236) == 0x63825363:
        return yes(o, APP_DHCP, 95)
    return on_port(l, 67) and p[1] == 1 and p[2] == 6 and p[3] < 17 and yes(o, APP_DHCP, 80)


cdef bint sig_dhcpv6(const Look* l, Found* o) noexcept nogil:
    cdef const uint8_t* p = l.p
    cdef uint32_t at
    if not (on_port(l, 546) or on_port(l, 547)) or l.n < 8 or not 1 <= p[0] <= 36:
        return False
    at = 34 if p[0] == 12 or p[0] == 13 else 4
    while at + 4 <= l.n:
        at += 4 + det16(p + at + 2)
    return at == l.n and yes(o, APP_DHCPV6, 95)


cdef bint radius_code(uint8_t code) noexcept nogil:
    return 1 <= code <= 5 or 11 <= code <= 13 or 40 <= code <= 45


cdef bint sig_radius(const Look* l, Found* o) noexcept nogil:
    cdef const uint8_t* p = l.p
    cdef uint32_t n = l.n, at = 20
    if n < 20 or not radius_code(p[0]) or det16(p + 2) != n or n > 4096:
        return False
    if on_port(l, 1812) or on_port(l, 1813) or on_port(l, 1645) or on_port(l, 1646) or on_port(l, 3799):
        return yes(o, APP_RADIUS, 95)
    while at + 2 <= n:
        if p[at] == 0 or p[at + 1] < 2:
            return False
        at += p[at + 1]
    return at == n and n >= 26 and yes(o, APP_RADIUS, 80)


cdef bint sig_ntp(const Look* l, Found* o) noexcept nogil:
    cdef const uint8_t* p = l.p
    cdef uint32_t n = l.n
    cdef uint8_t version = p[0] >> 3 & 7, mode = p[0] & 7
    if version < 1 or version > 4 or mode < 1:
        return False
    if on_port(l, 123) and (n >= 48 or (n >= 8 and mode >= 6)):
        return yes(o, APP_NTP, 90)
    if (n != 48 and n != 68 and n != 72) or version < 3 or (mode != 3 and mode != 4) or p[1] > 16 or p[2] > 17:
        return False
    return p[40] >= 0xC0 and not 0 < p[3] < 0xE0 and yes(o, APP_NTP, 70)


cdef bint sig_rip(const Look* l, Found* o) noexcept nogil:
    cdef const uint8_t* p = l.p
    if l.n < 24 or (l.n - 4) % 20 or not 1 <= p[0] <= 2 or not 1 <= p[1] <= 2 or p[2] or p[3]:
        return False
    return (on_port(l, 520) or on_port(l, 521)) and yes(o, APP_RIP, 95)


cdef bint sig_tftp(const Look* l, Found* o) noexcept nogil:
    cdef const uint8_t* p = l.p
    cdef uint32_t end
    if l.n < 9 or p[0] or (p[1] != 1 and p[1] != 2) or p[2] < 32:
        return False
    end = zero_from(p, l.n, 2, 258)
    if end <= 2:
        return False
    end += 1
    if (begins_upper(p + end, l.n - end, b"OCTET\0", 6) or begins_upper(p + end, l.n - end, b"NETASCII\0", 9)
            or begins_upper(p + end, l.n - end, b"MAIL\0", 5)):
        return yes(o, APP_TFTP, 95)
    return False


cdef uint32_t coap_option(const uint8_t* p, uint32_t n, uint32_t at) noexcept nogil:
    cdef uint32_t delta = p[at] >> 4, size = p[at] & 15
    at += 1
    if delta == 15 or size == 15:
        return 0
    if delta == 13:
        at += 1
    elif delta == 14:
        at += 2
    if size == 13:
        return at + 14 + p[at] if at < n else 0
    if size == 14:
        return at + 271 + det16(p + at) if at + 2 <= n else 0
    return at + size


cdef bint sig_coap(const Look* l, Found* o) noexcept nogil:
    cdef const uint8_t* p = l.p
    cdef uint32_t n = l.n, at, kind
    if not on_port(l, 5683) or n < 4 or p[0] >> 6 != 1 or p[0] & 15 > 8:
        return False
    kind = p[1] >> 5
    if (kind != 0 and kind != 2 and kind != 4 and kind != 5) or (kind == 0 and p[1] > 7):
        return False
    at = 4 + (p[0] & 15)
    while at < n and p[at] != 0xFF:
        at = coap_option(p, n, at)
        if at == 0:
            return False
    return (at == n or at + 1 < n) and yes(o, APP_COAP, 90)


cdef bint dht_opening(const uint8_t* p, uint32_t n) noexcept nogil:
    return (begins(p, n, b"d1:ad2:id20:", 12) or begins(p, n, b"d1:rd2:id20:", 12) or begins(p, n, b"d1:el", 5)
            or begins(p, n, b"d2:ip", 5) or begins(p, n, b"d1:q", 4) or begins(p, n, b"d1:t", 4))


cdef bint sig_bittorrent_udp(const Look* l, Found* o) noexcept nogil:
    cdef const uint8_t* p = l.p
    cdef uint32_t n = l.n, tail = at_most(n, 64)
    if begins(p, n, b"BT-SEARCH * HTTP/1.", 19):
        return yes(o, APP_BITTORRENT, 95)
    if n >= 20 and dht_opening(p, n):
        return ((holds(p + n - tail, tail, b"1:y1:", 5) or holds(p, tail, b"d2:id20:", 8))
                and yes(o, APP_BITTORRENT, 95))
    return n == 16 and memcmp(p, b"\0\0\4\x17\x27\x10\x19\x80\0\0\0\0", 12) == 0 and yes(o, APP_BITTORRENT, 95)


cdef bint sig_rdp_udp(const Look* l, Found* o) noexcept nogil:
    cdef const uint8_t* p = l.p
    if l.n < 1132 or not begins(p, l.n, b"\xff\xff\xff\xff", 4) or not p[7] & 1 or p[7] & 4:
        return False
    return 1132 <= det16(p + 12) <= 1232 and 1132 <= det16(p + 14) <= 1232 and yes(o, APP_RDP, 90)
