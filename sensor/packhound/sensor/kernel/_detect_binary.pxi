# Signatures of protocols that speak in bytes. Native twin of packhound.net.detect_binary.

cdef enum:
    MAX_RECORD = 18432
    MAX_NAME = 255
    RTP_SEEN = 0x10000


cdef inline uint32_t det16(const uint8_t* p) noexcept nogil:
    return <uint32_t>p[0] << 8 | p[1]


cdef inline uint32_t det32(const uint8_t* p) noexcept nogil:
    return <uint32_t>p[0] << 24 | <uint32_t>p[1] << 16 | <uint32_t>p[2] << 8 | p[3]


cdef uint32_t dns_name_end(const uint8_t* p, uint32_t n, uint32_t at) noexcept nogil:
    cdef uint32_t start = at
    while at < n and at - start < MAX_NAME:
        if p[at] == 0:
            return at + 1
        if p[at] > 63:
            return 0
        at += 1 + p[at]
    return 0


cdef bint dns_like(const uint8_t* p, uint32_t n) noexcept nogil:
    """`n` is at least 12."""
    cdef uint32_t flags = det16(p + 2), questions = det16(p + 4), answers = det16(p + 6)
    cdef uint32_t authority = det16(p + 8), extra = det16(p + 10), opcode = flags >> 11 & 15, at, kind
    if flags & 0x40 or not (opcode == 0 or 4 <= opcode <= 8) or flags & 15 > 10:
        return False
    if questions > 16 or answers > 512 or authority > 512 or extra > 512:
        return False
    if not flags & 0x8000 and (flags & 15 or (answers and opcode == 0 and questions != 1 and not authority)):
        return False
    if questions == 0:
        return flags & 0x8000 and opcode == 0 and answers and dns_name_end(p, n, 12) > 0
    at = dns_name_end(p, n, 12)
    if at == 0 or at + 4 > n:
        return False
    kind = det16(p + at + 2) & 0x7FFF
    return det16(p + at) != 0 and (kind == 1 or kind == 3 or kind == 4 or kind == 254 or kind == 255)


cdef uint8_t dns_kin(const uint8_t* p, uint32_t n, uint16_t sport, uint16_t dport, Found* out) noexcept nogil:
    cdef uint32_t i
    cdef bint netbios
    if sport == 5353 or dport == 5353:
        return found(out, APP_MDNS, 95, METHOD_CONTENT)
    if sport == 5355 or dport == 5355:
        return found(out, APP_LLMNR, 95, METHOD_CONTENT)
    if n >= 46 and p[12] == 32:
        netbios = True
        for i in range(13, 45):
            if p[i] < 65 or p[i] > 80:
                netbios = False
                break
        if netbios:
            return found(out, APP_NBNS, 95, METHOD_CONTENT)
    return found(out, APP_DNS, 95 if sport == 53 or dport == 53 else 80, METHOD_CONTENT)


cdef inline bint two_digits(const uint8_t* p) noexcept nogil:
    return 48 <= p[0] <= 57 and 48 <= p[1] <= 57


cdef bint quic_like(const uint8_t* p, uint32_t n) noexcept nogil:
    cdef uint32_t version
    cdef bint google
    if n >= 13 and p[0] & 0x09 == 0x09 and p[0] < 0x40 and p[9] == 81 and p[10] == 48 and two_digits(p + 11):
        return True
    if n < 7 or not p[0] & 0x80:
        return False
    version = det32(p + 1)
    google = (p[1] == 81 or p[1] == 84) and p[2] == 48 and two_digits(p + 3)
    if not (version == 1 or version == 0x6B3343CF or version >> 8 == 0xFF0000 or version >> 4 == 0xFACEB00 or google):
        return False
    if not p[0] & 0x40:
        return False
    return p[5] <= 20 or p[1] == 81 or p[1] == 84


cdef uint8_t binary_over_tcp(const uint8_t* p, uint32_t n, uint16_t sport, uint16_t dport,
                             Found* out) noexcept nogil:
    cdef uint32_t i
    if (n >= 6 and p[0] == 0x16 and p[1] == 3 and p[2] <= 4 and 4 <= det16(p + 3) <= MAX_RECORD
            and (p[5] == 1 or p[5] == 2)):
        return found(out, APP_TLS, 95, METHOD_CONTENT)
    if n >= 19 and p[0] == 0xFF and 19 <= det16(p + 16) <= 4096 and 1 <= p[18] <= 5:
        for i in range(16):
            if p[i] != 0xFF:
                break
        else:
            return found(out, APP_BGP, 95, METHOD_CONTENT)
    if n >= 14 and det16(p) == n - 2 and dns_like(p + 2, n - 2):
        return found(out, APP_DNS, 95 if sport == 53 or dport == 53 else 80, METHOD_CONTENT)
    return 0


cdef uint8_t binary_over_udp(const uint8_t* p, uint32_t n, uint16_t sport, uint16_t dport,
                             Found* out) noexcept nogil:
    if n >= 20 and p[0] < 4 and det32(p + 4) == 0x2112A442 and det16(p + 2) % 4 == 0 and det16(p + 2) + 20 <= n:
        return found(out, APP_STUN, 95, METHOD_CONTENT)
    if (n >= 13 and p[0] == 22 and p[1] == 0xFE and (p[2] == 0xFF or p[2] == 0xFD or p[2] == 0xFC)
            and 12 <= det16(p + 11) <= n - 13):
        return found(out, APP_DTLS, 95, METHOD_CONTENT)
    if n >= 240 and (p[0] == 1 or p[0] == 2) and det32(p + 236) == 0x63825363:
        return found(out, APP_DHCP, 95, METHOD_CONTENT)
    if quic_like(p, n):
        return found(out, APP_QUIC, 95, METHOD_CONTENT)
    if n >= 12 and dns_like(p, n):
        return dns_kin(p, n, sport, dport, out)
    if n >= 48 and (sport == 123 or dport == 123) and 1 <= p[0] >> 3 & 7 <= 4 and 1 <= p[0] & 7 <= 5:
        return found(out, APP_NTP, 80, METHOD_CONTENT)
    return 0


cdef bint rtcp_like(const uint8_t* p, uint32_t n) noexcept nogil:
    cdef uint32_t at = 0
    if n < 8:
        return False
    while at + 4 <= n:
        if p[at] >> 6 != 2 or p[at + 1] < 200 or p[at + 1] > 207:
            return at >= 8
        at += 4 * (det16(p + at + 2) + 1)
    return at == n or (at < n and at >= 8)


cdef uint8_t media_over_udp(const uint8_t* p, uint32_t n, uint16_t sport, uint16_t dport, uint8_t direction,
                            uint32_t* scratch, Found* out) noexcept nogil:
    cdef uint32_t kind, source, sequence, slot, seen, step
    if sport < 1024 or dport < 1024 or n < 8 or p[0] >> 6 != 2:
        return 0
    if 200 <= p[1] <= 207:
        return found(out, APP_RTCP, 90, METHOD_CONTENT) if rtcp_like(p, n) else 0
    kind = p[1] & 0x7F
    if n < 12 + 4 * <uint32_t>(p[0] & 15) or 34 < kind < 96:
        return 0
    source = det32(p + 8)
    sequence = det16(p + 2)
    slot = 2 * (direction & 1)
    seen = scratch[slot + 1]
    step = (sequence - seen) & 0xFFFF
    if seen & RTP_SEEN and source and scratch[slot] == source and 0 < step < 64:
        return found(out, APP_RTP, 90, METHOD_TWO_PACKETS)
    scratch[slot] = source
    scratch[slot + 1] = RTP_SEEN | sequence
    return 0
