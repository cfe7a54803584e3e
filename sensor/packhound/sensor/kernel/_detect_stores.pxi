# Databases and brokers. Native twin of packhound.net.signatures.stores.


cdef bint sig_mqtt(const Look* l, Found* o) noexcept nogil:
    cdef const uint8_t* p = l.p
    cdef uint32_t n = l.n, at = 1
    if n == 2 and p[1] == 0 and (p[0] == 0xC0 or p[0] == 0xD0):
        if p[0] == 0xD0 and l.scratch[0] == SAID_PING:
            return yes_twice(o, APP_MQTT, 80)
        if p[0] == 0xC0:
            l.scratch[0] = SAID_PING
        return False
    if p[0] != 0x10:
        return False
    while at < n and at < 4 and p[at] & 0x80:
        at += 1
    at += 1
    if at >= n:
        return False
    if begins(p + at, n - at, b"\0\4MQTT", 6) and n - at >= 7 and 3 <= p[at + 6] <= 5:
        return yes(o, APP_MQTT, 95)
    return begins(p + at, n - at, b"\0\6MQIsdp\3", 9) and yes(o, APP_MQTT, 95)


cdef bint sig_postgresql(const Look* l, Found* o) noexcept nogil:
    cdef const uint8_t* p = l.p
    cdef uint32_t n = l.n, code
    if n < 8 or det32(p) != n:
        return False
    code = det32(p + 4)
    if (n == 8 and (code == 80877103 or code == 80877104)) or (n == 16 and code == 80877102):
        return yes(o, APP_POSTGRESQL, 95)
    return (code >> 16 == 3 and p[n - 1] == 0 and holds(p + 8, at_most(n, 256) - 8, b"user\0", 5)
            and yes(o, APP_POSTGRESQL, 95))


cdef uint32_t zero_from(const uint8_t* p, uint32_t n, uint32_t at, uint32_t limit) noexcept nogil:
    """Index of the first zero byte in p[at:limit], 0 when there is none."""
    while at < n and at < limit:
        if p[at] == 0:
            return at
        at += 1
    return 0


cdef bint sig_mysql(const Look* l, Found* o) noexcept nogil:
    cdef const uint8_t* p = l.p
    cdef uint32_t n = l.n, end
    if n < 24 or p[3] != 0 or p[4] != 10 or not digit(p[5]):
        return False
    if (p[0] | <uint32_t>p[1] << 8 | <uint32_t>p[2] << 16) != n - 4:
        return False
    end = zero_from(p, n, 5, 69)
    return end > 7 and end + 14 <= n and printable(p + 5, end - 5) and p[end + 13] == 0 and yes(o, APP_MYSQL, 90)


cdef bint sig_amqp(const Look* l, Found* o) noexcept nogil:
    return l.n >= 8 and begins(l.p, l.n, b"AMQP", 4) and l.p[4] <= 3 and l.p[5] <= 1 and yes(o, APP_AMQP, 95)


cdef bint sig_nats(const Look* l, Found* o) noexcept nogil:
    cdef uint32_t n = at_most(l.n, 512)
    if begins(l.p, l.n, b"INFO {", 6) and holds(l.p, n, b"\"server_id\"", 11):
        return yes(o, APP_NATS, 95)
    return begins(l.p, l.n, b"CONNECT {", 9) and holds(l.p, n, b"\"verbose\"", 9) and yes(o, APP_NATS, 95)


cdef bint sig_kafka(const Look* l, Found* o) noexcept nogil:
    cdef const uint8_t* p = l.p
    cdef uint32_t n = l.n, size
    if n < 14 or det32(p) != n - 4 or (det16(p + 4) != 3 and det16(p + 4) != 18) or det16(p + 6) > 13:
        return False
    size = det16(p + 12)
    return 0 < size <= 255 and 14 + size <= n and printable(p + 14, size) and yes(o, APP_KAFKA, 85)


cdef bint sig_mongodb(const Look* l, Found* o) noexcept nogil:
    cdef uint32_t code
    if l.n < 21 or det32le(l.p) != l.n:
        return False
    code = det32le(l.p + 12)
    return (code == 1 or code == 2004 or code == 2010 or code == 2012 or code == 2013) and yes(o, APP_MONGODB, 90)
