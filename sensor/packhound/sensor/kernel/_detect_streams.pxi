# Binary protocols over TCP. Native twin of packhound.net.signatures.streams.


cdef bint sig_bgp(const Look* l, Found* o) noexcept nogil:
    cdef const uint8_t* p = l.p
    cdef uint32_t i
    if l.n < 19 or not 19 <= det16(p + 16) <= 4096 or not 1 <= p[18] <= 5:
        return False
    for i in range(16):
        if p[i] != 0xFF:
            return False
    return yes(o, APP_BGP, 95)


cdef bint sig_smb(const Look* l, Found* o) noexcept nogil:
    cdef const uint8_t* p = l.p
    if l.n >= 8 and p[0] == 0 and p[4] >= 0xFD and memcmp(p + 5, b"SMB", 3) == 0:
        return yes(o, APP_SMB, 95)
    return False


cdef bint sig_nbss(const Look* l, Found* o) noexcept nogil:
    cdef const uint8_t* p = l.p
    cdef uint32_t n = l.n
    cdef bint said = l.scratch[0] == SAID_NETBIOS
    if n == 72 and det32(p) == 0x81000044u and p[4] == 32 and p[38] == 32:
        l.scratch[0] = SAID_NETBIOS
        return False
    if n == 5 and det32(p) == 0x83000001u and p[4] >= 0x80:
        return yes_twice(o, APP_NBSS, 95) if said else yes(o, APP_NBSS, 80)
    if not said or (n == 4 and det32(p) == 0x82000000u):
        return False
    return n >= 4 and (p[0] == 0 or p[0] == 0x85) and p[1] < 2 and yes_twice(o, APP_NBSS, 90)


cdef bint sig_rdp(const Look* l, Found* o) noexcept nogil:
    cdef const uint8_t* p = l.p
    cdef uint32_t n = l.n, end
    if n < 11 or p[0] != 3 or p[1] or (p[5] != 0xE0 and p[5] != 0xD0):
        return False
    end = det16(p + 2)
    if end > n or <uint32_t>p[4] + 5 != end:
        return False
    if begins(p + 11, n - 11, b"Cookie: mstshash=", 17) or begins(p + 11, n - 11, b"Cookie: msts=", 13):
        return yes(o, APP_RDP, 95)
    if end >= 19 and 1 <= p[end - 8] <= 3 and det16(p + end - 6) == 0x0800 and p[end - 4] < 32 and p[end - 3] == 0:
        return yes(o, APP_RDP, 95)
    return end == 11 and on_port(l, 3389) and yes(o, APP_RDP, 80)


cdef bint modbus_function(uint8_t f) noexcept nogil:
    return 1 <= f <= 8 or f == 11 or f == 12 or 15 <= f <= 17 or 20 <= f <= 24 or f == 43 or f == 90


cdef bint sig_modbus(const Look* l, Found* o) noexcept nogil:
    cdef const uint8_t* p = l.p
    cdef uint32_t n = l.n
    if n < 8 or n > 260 or det16(p + 2) or not modbus_function(p[7] & 0x7F) or det16(p + 4) != n - 6:
        return False
    if on_port(l, 502):
        return yes(o, APP_MODBUS, 95)
    return n == 12 and p[7] <= 6 and det16(p) < 0x100 and yes(o, APP_MODBUS, 70)


cdef bint sig_socks(const Look* l, Found* o) noexcept nogil:
    cdef const uint8_t* p = l.p
    cdef uint32_t n = l.n, i
    if l.scratch[0] == SAID_SOCKS and n == 2 and p[0] == 5 and (p[1] <= 9 or p[1] == 0xFF):
        return yes_twice(o, APP_SOCKS, 90)
    if n >= 3 and p[0] == 5 and 1 <= p[1] <= 9 and n == 2 + <uint32_t>p[1]:
        for i in range(2, n):
            if p[i] > 9:
                break
        else:
            l.scratch[0] = SAID_SOCKS
            return False
    if 9 <= n < 300 and p[0] == 4 and 1 <= p[1] <= 2 and det16(p + 2) and p[n - 1] == 0 and on_port(l, 1080):
        return yes(o, APP_SOCKS, 80)
    return False


cdef bint rpc_call(const uint8_t* p, uint32_t n) noexcept nogil:
    cdef uint32_t flavour
    if n < 40 or det32(p + 4) != 0 or det32(p + 8) != 2:
        return False
    if not 100000 <= det32(p + 12) < 0x40000000u or det32(p + 16) >= 16:
        return False
    flavour = det32(p + 24)
    return det32(p + 20) < 256 and (flavour <= 3 or flavour == 6)


cdef bint sig_rpc_tcp(const Look* l, Found* o) noexcept nogil:
    return l.n >= 4 and l.p[0] == 0x80 and rpc_call(l.p + 4, l.n - 4) and yes(o, APP_RPC, 90)


cdef bint sig_rpc_udp(const Look* l, Found* o) noexcept nogil:
    return rpc_call(l.p, l.n) and yes(o, APP_RPC, 90)


cdef bint sig_dcerpc(const Look* l, Found* o) noexcept nogil:
    cdef const uint8_t* p = l.p
    cdef uint32_t n = l.n, size
    if n < 16 or p[0] != 5 or p[1] > 1 or p[2] > 19 or (p[4] != 0 and p[4] != 0x10) or p[5] > 3 or p[6] or p[7]:
        return False
    size = p[8] | <uint32_t>p[9] << 8 if p[4] else det16(p + 8)
    return (16 <= size <= n or (size > n and p[2] == 11)) and yes(o, APP_DCERPC, 90)


cdef inline bint negotiates(const uint8_t* p) noexcept nogil:
    return p[0] == 255 and 251 <= p[1] <= 254 and p[2] < 50


cdef bint sig_telnet(const Look* l, Found* o) noexcept nogil:
    cdef const uint8_t* p = l.p
    cdef uint32_t n = l.n
    if n < 3 or not negotiates(p):
        return False
    if n >= 6 and (negotiates(p + 3) or (p[3] == 255 and p[4] == 250)):
        return yes(o, APP_TELNET, 90)
    if n == 3 and on_port(l, 23):
        return yes(o, APP_TELNET, 90)
    if l.scratch[0] == SAID_TELNET:
        return yes_twice(o, APP_TELNET, 80)
    l.scratch[0] = SAID_TELNET
    return False


cdef bint skinny_version(uint32_t v) noexcept nogil:
    return v == 0 or v == 0x0A or v == 0x0B or v == 0x0F or 0x11 <= v <= 0x16


cdef bint sig_skinny(const Look* l, Found* o) noexcept nogil:
    cdef const uint8_t* p = l.p
    cdef uint32_t size
    if l.n < 12 or not on_port(l, 2000):
        return False
    size = det32le(p)
    if size < 4 or size > 4096 or size + 8 > l.n or not skinny_version(det32le(p + 4)):
        return False
    return det32le(p + 8) < 0x8000 and yes(o, APP_SKINNY, 90)


cdef bint sig_bittorrent_tcp(const Look* l, Found* o) noexcept nogil:
    return begins(l.p, l.n, b"\x13BitTorrent protocol", 20) and yes(o, APP_BITTORRENT, 95)


cdef bint sig_diameter(const Look* l, Found* o) noexcept nogil:
    cdef const uint8_t* p = l.p
    cdef uint32_t size, command, application, first
    if l.n < 32 or p[0] != 1 or p[4] & 15 or p[4] & 0xA0 == 0xA0:
        return False
    size = det24(p + 1)
    if size % 4 or size < 20 or size > 65535:
        return False
    command = det24(p + 5)
    application = det32(p + 8)
    if command < 257 or command > 8388735 or not (application <= 16 or application >> 8 == 0x10000):
        return False
    first = det32(p + 20)
    if not 1 <= first < 0x10000 or p[24] & 0x1F or det24(p + 25) < 8 or det24(p + 25) > size - 20:
        return False
    return yes(o, APP_DIAMETER, 95 if on_port(l, 3868) else 85)
