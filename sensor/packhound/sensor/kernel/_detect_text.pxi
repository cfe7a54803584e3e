# What speaks in lines and decides with its first one. Native twin of packhound.net.signatures.text.


cdef uint32_t token_size(const uint8_t* p, uint32_t n) noexcept nogil:
    cdef uint32_t i = 0
    while i < n and i < 24 and (65 <= p[i] <= 90 or p[i] == 45 or p[i] == 95):
        i += 1
    return i if 0 < i < n and p[i] == 32 else 0


cdef bint request_line(const Look* l, const char* ending, uint32_t size) noexcept nogil:
    cdef bint whole = False
    cdef uint32_t n
    if not 65 <= l.p[0] <= 90:
        return False
    n = first_line(l.p, l.n, &whole)
    return whole and token_size(l.p, n) and ends(l.p, n, ending, size)


cdef bint sig_ssh(const Look* l, Found* o) noexcept nogil:
    if begins(l.p, l.n, b"SSH-2.", 6) or begins(l.p, l.n, b"SSH-1.", 6):
        return yes(o, APP_SSH, 95)
    return False


cdef bint sig_sip(const Look* l, Found* o) noexcept nogil:
    if begins(l.p, l.n, b"SIP/2.0 ", 8) or request_line(l, b" SIP/2.0", 8):
        return yes(o, APP_SIP, 95)
    return False


cdef bint sig_rtsp(const Look* l, Found* o) noexcept nogil:
    if (begins(l.p, l.n, b"RTSP/1.0 ", 9) or begins(l.p, l.n, b"RTSP/2.0 ", 9) or request_line(l, b" RTSP/1.0", 9)
            or request_line(l, b" RTSP/2.0", 9)):
        return yes(o, APP_RTSP, 95)
    return False


cdef bint http_method(const uint8_t* p, uint32_t n) noexcept nogil:
    return (begins(p, n, b"GET ", 4) or begins(p, n, b"POST ", 5) or begins(p, n, b"PUT ", 4)
            or begins(p, n, b"HEAD ", 5) or begins(p, n, b"DELETE ", 7) or begins(p, n, b"OPTIONS ", 8)
            or begins(p, n, b"PATCH ", 6) or begins(p, n, b"CONNECT ", 8) or begins(p, n, b"TRACE ", 6))


cdef bint sig_http(const Look* l, Found* o) noexcept nogil:
    cdef const uint8_t* p = l.p
    cdef bint whole = False
    cdef uint32_t n, size
    if begins(p, l.n, b"HTTP/1.", 7):
        return yes(o, APP_HTTP, 95)
    if not 65 <= p[0] <= 90:
        return False
    n = first_line(p, l.n, &whole)
    size = token_size(p, n)
    if size == 0:
        return False
    if whole and n >= 9 and memcmp(p + n - 9, b" HTTP/1.", 8) == 0:
        return yes(o, APP_HTTP, 95)
    size += 1
    if not http_method(p, l.n) or not (begins(p + size, n - size, b"/", 1) or begins(p + size, n - size, b"http://", 7)
                                       or begins(p + size, n - size, b"*", 1)):
        return False
    if not whole or holds(p, n, b" HTTP/", 6):
        return yes(o, APP_HTTP, 80)
    return False


cdef bint sig_http2(const Look* l, Found* o) noexcept nogil:
    cdef const uint8_t* p = l.p
    cdef uint32_t n = l.n, end, at = 9
    if begins(p, n, b"PRI * HTTP/2.0\r\n\r\nSM\r\n", 22):
        return yes(o, APP_HTTP2, 95)
    if n < 15 or p[0] or p[1] or p[3] != 4 or p[4] or det32(p + 5) or not p[2] or p[2] > 96 or p[2] % 6:
        return False
    end = 9 + p[2]
    if end != n and (end + 9 > n or (p[end + 3] != 4 and p[end + 3] != 8)):
        return False
    while at < end:
        if p[at] or not 1 <= p[at + 1] <= 9:
            return False
        at += 6
    return yes(o, APP_HTTP2, 85)


cdef bint sig_ssdp(const Look* l, Found* o) noexcept nogil:
    if begins(l.p, l.n, b"M-SEARCH * HTTP/1.", 18) or begins(l.p, l.n, b"NOTIFY * HTTP/1.", 16):
        return yes(o, APP_SSDP, 95)
    if begins(l.p, l.n, b"HTTP/1.1 200 OK\r\n", 17) and (
            on_port(l, 1900) or holds_upper(l.p, at_most(l.n, FIRST_LINE), b"\nUSN:", 5)):
        return yes(o, APP_SSDP, 95)
    return False


cdef bint sig_mgcp(const Look* l, Found* o) noexcept nogil:
    cdef const uint8_t* p = l.p
    cdef bint whole = False
    cdef uint32_t n = l.n
    if (begins(p, n, b"EPCF ", 5) or begins(p, n, b"CRCX ", 5) or begins(p, n, b"MDCX ", 5)
            or begins(p, n, b"DLCX ", 5) or begins(p, n, b"RQNT ", 5) or begins(p, n, b"NTFY ", 5)
            or begins(p, n, b"AUEP ", 5) or begins(p, n, b"AUCX ", 5) or begins(p, n, b"RSIP ", 5)):
        n = first_line(p, n, &whole)
        return holds(p, n, b" MGCP 1.0", 9) and yes(o, APP_MGCP, 95)
    return False


cdef bint sig_megaco(const Look* l, Found* o) noexcept nogil:
    if (begins(l.p, l.n, b"MEGACO/", 7) or begins(l.p, l.n, b"!/1 [", 5) or begins(l.p, l.n, b"!/2 [", 5)
            or begins(l.p, l.n, b"!/3 [", 5)):
        return yes(o, APP_MEGACO, 95)
    return False


cdef bint sig_xmpp(const Look* l, Found* o) noexcept nogil:
    cdef uint32_t n = at_most(l.n, 256)
    if not begins(l.p, l.n, b"<?xml", 5) and not begins(l.p, l.n, b"<stream:stream", 14):
        return False
    return (holds(l.p, n, b"<stream:stream", 14) or holds(l.p, n, b"jabber:", 7)) and yes(o, APP_XMPP, 95)


cdef inline bint digit(uint8_t c) noexcept nogil:
    return 48 <= c <= 57


cdef bint sig_vnc(const Look* l, Found* o) noexcept nogil:
    cdef const uint8_t* p = l.p
    if (l.n >= 12 and begins(p, l.n, b"RFB ", 4) and p[7] == 46 and p[11] == 10 and digit(p[4]) and digit(p[5])
            and digit(p[6]) and digit(p[8]) and digit(p[9]) and digit(p[10])):
        return yes(o, APP_VNC, 95)
    return False


cdef bint sig_redis(const Look* l, Found* o) noexcept nogil:
    cdef const uint8_t* p = l.p
    cdef uint32_t at = 1
    if begins(p, l.n, b"+PONG\r\n", 7):
        return yes(o, APP_REDIS, 80)
    if p[0] != 42:
        return False
    while at < l.n and at < 6 and digit(p[at]):
        at += 1
    if at == 1 or not begins(p + at, l.n - at, b"\r\n$", 3):
        return False
    return at + 3 < l.n and digit(p[at + 3]) and yes(o, APP_REDIS, 90)


cdef bint sig_syslog(const Look* l, Found* o) noexcept nogil:
    cdef const uint8_t* p = l.p
    cdef uint32_t at = 1, priority = 0
    if p[0] != 60:
        return False
    while at < l.n and at < 4 and digit(p[at]):
        priority = priority * 10 + p[at] - 48
        at += 1
    if at == 1 or priority > 191 or at + 16 > l.n or p[at] != 62 or not printable(p + at + 1, 15):
        return False
    return yes(o, APP_SYSLOG, 95 if on_port(l, 514) else 70)
