# Signatures of protocols that speak in lines. Native twin of packhound.net.detect_text.

cdef enum:
    FIRST_LINE = 1024
    BANNER_220 = 1
    BANNER_OK = 2


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


cdef uint32_t first_line(const uint8_t* p, uint32_t n, bint* whole) noexcept nogil:
    """Length of the first line without its end."""
    cdef uint32_t i, limit = n if n < FIRST_LINE else FIRST_LINE
    for i in range(limit):
        if p[i] == 10:
            whole[0] = True
            return i - 1 if i and p[i - 1] == 13 else i
    whole[0] = False
    return limit


cdef bint line_holds(const uint8_t* p, uint32_t n, const char* text, uint32_t size, bint upper) noexcept nogil:
    cdef uint32_t i
    if n < size:
        return False
    for i in range(n - size + 1):
        if upper:
            if begins_upper(p + i, n - i, text, size):
                return True
        elif memcmp(p + i, text, size) == 0:
            return True
    return False


cdef uint32_t token(const uint8_t* p, uint32_t n) noexcept nogil:
    cdef uint32_t i = 0
    while i < n and i < 20 and 65 <= p[i] <= 90:
        i += 1
    return i if 0 < i < n and p[i] == 32 else 0


cdef uint8_t request_or_status(const uint8_t* p, uint32_t n, Found* out) noexcept nogil:
    cdef bint whole = False
    cdef uint32_t size
    if begins(p, n, b"SIP/2.0 ", 8):
        return found(out, APP_SIP, 95, METHOD_CONTENT)
    if begins(p, n, b"RTSP/1.0 ", 9):
        return found(out, APP_RTSP, 95, METHOD_CONTENT)
    if not 65 <= p[0] <= 90:
        return 0
    size = first_line(p, n, &whole)
    if not whole or not token(p, size):
        return 0
    if size >= 8 and memcmp(p + size - 8, b" SIP/2.0", 8) == 0:
        return found(out, APP_SIP, 95, METHOD_CONTENT)
    if size >= 9 and memcmp(p + size - 9, b" RTSP/1.0", 9) == 0:
        return found(out, APP_RTSP, 95, METHOD_CONTENT)
    return 0


cdef uint8_t detect_http(const uint8_t* p, uint32_t n, Found* out) noexcept nogil:
    cdef bint whole = False
    cdef uint32_t size, at
    if begins(p, n, b"HTTP/1.", 7):
        return found(out, APP_HTTP, 95, METHOD_CONTENT)
    if not (begins(p, n, b"GET ", 4) or begins(p, n, b"POST ", 5) or begins(p, n, b"PUT ", 4)
            or begins(p, n, b"HEAD ", 5) or begins(p, n, b"DELETE ", 7) or begins(p, n, b"OPTIONS ", 8)
            or begins(p, n, b"PATCH ", 6) or begins(p, n, b"CONNECT ", 8) or begins(p, n, b"TRACE ", 6)):
        return 0
    size = first_line(p, n, &whole)
    if whole:
        if line_holds(p, size, b" HTTP/1.", 8, False):
            return found(out, APP_HTTP, 95, METHOD_CONTENT)
        return 0
    at = token(p, size) + 1
    if at <= size and (begins(p + at, size - at, b"/", 1) or begins(p + at, size - at, b"http://", 7)
                       or begins(p + at, size - at, b"*", 1)):
        return found(out, APP_HTTP, 80, METHOD_CONTENT)
    return 0


cdef uint8_t text_over_udp(const uint8_t* p, uint32_t n, Found* out) noexcept nogil:
    if begins(p, n, b"M-SEARCH * HTTP/1.1", 19) or begins(p, n, b"NOTIFY * HTTP/1.1", 17):
        return found(out, APP_SSDP, 95, METHOD_CONTENT)
    if request_or_status(p, n, out) and out.app != APP_SIP:
        return found(out, 0, 0, 0)
    return out.app


cdef uint8_t greeting(const uint8_t* p, uint32_t n, uint32_t* scratch, Found* out) noexcept nogil:
    cdef bint whole = False
    cdef uint32_t size
    if begins(p, n, b"220 ", 4) or begins(p, n, b"220-", 4):
        size = first_line(p, n, &whole)
        if line_holds(p, size, b"SMTP", 4, True):
            return found(out, APP_SMTP, 90, METHOD_CONTENT)
        if line_holds(p, size, b"FTP", 3, True):
            return found(out, APP_FTP, 90, METHOD_CONTENT)
        scratch[0] = BANNER_220
    elif begins(p, n, b"+OK", 3):
        scratch[0] = BANNER_OK
    elif begins(p, n, b"* OK ", 5) or begins(p, n, b"* PREAUTH ", 10):
        return found(out, APP_IMAP, 90, METHOD_CONTENT)
    return 0


cdef uint8_t mail(const uint8_t* p, uint32_t n, uint8_t direction, uint32_t* scratch, Found* out) noexcept nogil:
    if direction == 1:
        return greeting(p, n, scratch, out)
    if (begins_upper(p, n, b"EHLO ", 5) or begins_upper(p, n, b"HELO ", 5) or begins_upper(p, n, b"MAIL FROM:", 10)
            or begins_upper(p, n, b"RCPT TO:", 8)):
        return found(out, APP_SMTP, 95, METHOD_TWO_PACKETS if scratch[0] == BANNER_220 else METHOD_CONTENT)
    if scratch[0] == BANNER_220 and (
            begins_upper(p, n, b"USER ", 5) or begins_upper(p, n, b"AUTH ", 5) or begins_upper(p, n, b"FEAT\r", 5)
            or begins_upper(p, n, b"SYST\r", 5) or begins_upper(p, n, b"OPTS ", 5)):
        return found(out, APP_FTP, 95, METHOD_TWO_PACKETS)
    if scratch[0] == BANNER_OK and (
            begins_upper(p, n, b"USER ", 5) or begins_upper(p, n, b"CAPA\r", 5) or begins_upper(p, n, b"APOP ", 5)
            or begins_upper(p, n, b"AUTH ", 5) or begins_upper(p, n, b"STLS\r", 5)
            or begins_upper(p, n, b"AUTH\r", 5) or begins_upper(p, n, b"QUIT\r", 5)):
        return found(out, APP_POP3, 95, METHOD_TWO_PACKETS)
    return 0


cdef uint8_t text_over_tcp(const uint8_t* p, uint32_t n, uint8_t direction, uint32_t* scratch,
                           Found* out) noexcept nogil:
    if begins(p, n, b"SSH-", 4) and n >= 6 and (p[4] == 49 or p[4] == 50) and p[5] == 46:
        return found(out, APP_SSH, 95, METHOD_CONTENT)
    if request_or_status(p, n, out) or detect_http(p, n, out):
        return out.app
    return mail(p, n, direction, scratch, out)
