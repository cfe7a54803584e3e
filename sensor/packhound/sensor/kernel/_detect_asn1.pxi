# The BER shapes of SNMP, LDAP and Kerberos. Native twin of packhound.net.signatures.asn1.


cdef bint snmp_like(const uint8_t* p, uint32_t n) noexcept nogil:
    cdef uint32_t size = 0, at, after
    cdef uint8_t version
    if n < 8 or p[0] != 0x30:
        return False
    at = ber_length(p, n, 1, &size)
    if at == 0 or size > n - at or at + 3 > n or p[at] != 2 or p[at + 1] != 1:
        return False
    version = p[at + 2]
    at += 3
    if at >= n:
        return False
    if version == 3:
        return p[at] == 0x30
    if version > 2 or p[at] != 4:
        return False
    after = ber_length(p, n, at + 1, &size)
    return after > 0 and size < n - after and 0xA0 <= p[after + size] <= 0xA8


cdef bint ldap_operation(uint8_t tag) noexcept nogil:
    return (tag == 0x60 or tag == 0x61 or tag == 0x42 or 0x63 <= tag <= 0x69 or tag == 0x4A or 0x6B <= tag <= 0x6F
            or tag == 0x50 or tag == 0x73 or 0x77 <= tag <= 0x79)


cdef bint ldap_like(const uint8_t* p, uint32_t n) noexcept nogil:
    cdef uint32_t size = 0, inner = 0, start, at, after
    if n < 7 or p[0] != 0x30:
        return False
    start = ber_length(p, n, 1, &size)
    if start == 0 or size < 5 or start + 5 > n or p[start] != 2 or not 1 <= p[start + 1] <= 4:
        return False
    at = start + 2 + p[start + 1]
    if at >= n or not ldap_operation(p[at]):
        return False
    after = ber_length(p, n, at + 1, &inner)
    if after == 0 or <uint64_t>(after - start) + inner > size:
        return False
    if p[at] == 0x60:
        return after + 3 <= n and p[after] == 2 and p[after + 1] == 1 and 2 <= p[after + 2] <= 3
    return inner > 0 or p[at] == 0x42 or p[at] == 0x6B


cdef bint kerberos_like(const uint8_t* p, uint32_t n) noexcept nogil:
    cdef uint32_t size = 0, at
    cdef uint8_t first
    if n < 12 or not (0x6A <= p[0] <= 0x6F or p[0] == 0x7E):
        return False
    at = ber_length(p, n, 1, &size)
    if at == 0 or at >= n or p[at] != 0x30 or size < 5:
        return False
    at = ber_length(p, n, at + 1, &size)
    if at == 0 or at + 5 > n:
        return False
    first = 0xA1 if p[0] == 0x6A or p[0] == 0x6C else 0xA0
    return p[at] == first and p[at + 1] == 3 and p[at + 2] == 2 and p[at + 3] == 1 and p[at + 4] == 5


cdef bint sig_ldap(const Look* l, Found* o) noexcept nogil:
    return ldap_like(l.p, l.n) and yes(o, APP_LDAP, 90)


cdef bint sig_snmp(const Look* l, Found* o) noexcept nogil:
    return snmp_like(l.p, l.n) and yes(o, APP_SNMP, 95)


cdef bint sig_kerberos_udp(const Look* l, Found* o) noexcept nogil:
    return kerberos_like(l.p, l.n) and yes(o, APP_KERBEROS, 95)


cdef bint sig_kerberos_tcp(const Look* l, Found* o) noexcept nogil:
    return l.n >= 16 and l.p[0] == 0 and kerberos_like(l.p + 4, l.n - 4) and yes(o, APP_KERBEROS, 95)
