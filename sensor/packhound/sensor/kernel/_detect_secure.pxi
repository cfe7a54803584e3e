# What encrypts. Native twin of packhound.net.signatures.secure.

cdef enum:
    MAX_RECORD = 18432


cdef bint known_handshake(uint8_t kind) noexcept nogil:
    return kind <= 2 or kind == 4 or 11 <= kind <= 14 or kind == 16 or kind == 20 or kind == 22


cdef bint sslv2(const uint8_t* p, uint32_t n, Found* o) noexcept nogil:
    cdef uint32_t ciphers, session, challenge
    if n < 11 or not p[0] & 0x80 or det16(p) & 0x7FFF != n - 2 or p[2] != 1:
        return False
    if not (det16(p + 3) == 2 or (p[3] == 3 and p[4] <= 3)):
        return False
    ciphers = det16(p + 5)
    session = det16(p + 7)
    challenge = det16(p + 9)
    if ciphers and ciphers % 3 == 0 and 16 <= challenge <= 32 and 11 + ciphers + session + challenge == n:
        return yes(o, APP_TLS, 90)
    return False


cdef bint sig_tls(const Look* l, Found* o) noexcept nogil:
    cdef const uint8_t* p = l.p
    cdef uint32_t n = l.n, size, end
    if n < 6 or p[1] != 3 or p[2] > 4 or not 20 <= p[0] <= 23:
        return sslv2(p, n, o)
    size = det16(p + 3)
    if size == 0 or size > MAX_RECORD:
        return False
    if p[0] == 22 and (p[5] == 1 or p[5] == 2) and size >= 4 and (n < 9 or det24(p + 6) < 0x20000):
        return yes(o, APP_TLS, 95)
    end = 5 + size
    if end != n and not (end + 3 <= n and 20 <= p[end] <= 23 and p[end + 1] == 3 and p[end + 2] == p[2]):
        return False
    if p[0] == 23 or p[0] == 20 or (p[0] == 22 and known_handshake(p[5])):
        return yes(o, APP_TLS, 80)
    return p[0] == 21 and (size == 2 or size >= 16) and yes(o, APP_TLS, 80)


cdef bint sig_dtls(const Look* l, Found* o) noexcept nogil:
    cdef const uint8_t* p = l.p
    cdef uint32_t version, size
    if l.n < 13 or not 20 <= p[0] <= 23:
        return False
    version = det16(p + 1)
    if version != 0xFEFF and version != 0xFEFD and version != 0xFEFC and version != 0x0100:
        return False
    size = det16(p + 11)
    if p[0] == 22 and p[1] == 0xFE and 12 <= size <= l.n - 13:
        return yes(o, APP_DTLS, 95)
    if size and 13 + size == l.n and (p[1] == 0xFE or p[0] == 22):
        return yes(o, APP_DTLS, 85)
    return False


cdef bint quic_known(uint32_t version) noexcept nogil:
    return (version == 1 or version == 0x6B3343CF or version == 0x709A50C4 or version >> 8 == 0xFF0000
            or version >> 4 == 0xFACEB00)


cdef bint sig_quic(const Look* l, Found* o) noexcept nogil:
    cdef const uint8_t* p = l.p
    cdef uint32_t n = l.n, at, version, i
    if (n >= 13 and p[0] & 0x09 == 0x09 and p[0] < 0x40 and p[9] == 81 and p[10] == 48 and digit(p[11])
            and digit(p[12])):
        return yes(o, APP_QUIC, 95)
    if n < 9 or not p[0] & 0x80:
        return False
    if (p[1] == 81 or p[1] == 84) and p[2] == 48 and digit(p[3]) and digit(p[4]):
        return p[0] & 0x40 != 0 and yes(o, APP_QUIC, 95)
    at = 6 + <uint32_t>p[5]
    if p[5] > 20 or at >= n or p[at] > 20:
        return False
    at += 1 + p[at]
    version = det32(p + 1)
    if version == 0:
        if at + 4 > n or (n - at) % 4:
            return False
        for i in range(16):
            if at + 4 * i >= n:
                break
            if quic_known(det32(p + at + 4 * i)):
                return yes(o, APP_QUIC, 95)
        return False
    if not p[0] & 0x40 or at > n:
        return False
    if quic_known(version):
        return yes(o, APP_QUIC, 95)
    return version & 0x0F0F0F0F == 0x0A0A0A0A and n >= 1200 and p[5] >= 8 and yes(o, APP_QUIC, 80)


cdef bint sig_wireguard(const Look* l, Found* o) noexcept nogil:
    cdef const uint8_t* p = l.p
    cdef uint32_t n = l.n
    if n < 32 or p[1] or p[2] or p[3]:
        return False
    if (p[0] == 1 and n == 148) or (p[0] == 2 and n == 92):
        if zeros(p + n - 16, 16) and not zeros(p + n - 32, 16):
            return yes(o, APP_WIREGUARD, 95)
        return on_port(l, 51820) and yes(o, APP_WIREGUARD, 80)
    if p[0] == 4 and n % 16 == 0 and zeros(p + 10, 6) and det32(p + 4):
        return yes(o, APP_WIREGUARD, 80 if on_port(l, 51820) else 60)
    return False


cdef bint openvpn_reset(const uint8_t* p, uint32_t n, Found* o) noexcept nogil:
    if n < 14 or (p[0] != 0x38 and p[0] != 0x40 and p[0] != 0x50):
        return False
    if n == 14 and zeros(p + 9, 5):
        return yes(o, APP_OPENVPN, 90)
    if n == 26 and p[9] == 1 and zeros(p + 10, 4) and zeros(p + 22, 4):
        return yes(o, APP_OPENVPN, 90)
    if n == 42 or n == 54 or n == 86:
        if det32(p + n - 13) == 1 and zeros(p + n - 5, 5):
            return yes(o, APP_OPENVPN, 90)
    if n == 54 and det32(p + 9) == 1 and det32(p + 13) > 0x40000000:
        return yes(o, APP_OPENVPN, 70)
    return False


cdef bint sig_openvpn(const Look* l, Found* o) noexcept nogil:
    return openvpn_reset(l.p, l.n, o)


cdef bint sig_openvpn_tcp(const Look* l, Found* o) noexcept nogil:
    return l.n >= 16 and det16(l.p) == l.n - 2 and openvpn_reset(l.p + 2, l.n - 2, o)


cdef bint sig_ike(const Look* l, Found* o) noexcept nogil:
    cdef const uint8_t* p = l.p
    cdef uint32_t n = l.n
    cdef uint8_t first, exchange, flags
    if on_port(l, 4500) and n >= 32 and det32(p) == 0:
        p += 4
        n -= 4
    if n < 28 or det32(p + 24) != n or zeros(p, 8):
        return False
    first = p[16]
    exchange = p[18]
    flags = p[19]
    if p[17] == 0x10:
        if first > 20 or flags >= 8 or not (exchange <= 6 or exchange == 32 or exchange == 33):
            return False
    elif p[17] != 0x20 or not (first == 0 or 33 <= first <= 53) or not 34 <= exchange <= 44 or flags & 7:
        return False
    return exchange != 0 and yes(o, APP_IKE, 95)
