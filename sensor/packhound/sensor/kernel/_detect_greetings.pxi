# Line protocols whose greeting alone is not enough. Native twin of packhound.net.signatures.greetings.


cdef bint greeting_220(const Look* l) noexcept nogil:
    return begins(l.p, l.n, b"220 ", 4) or begins(l.p, l.n, b"220-", 4)


cdef bint line_names(const Look* l, const char* text, uint32_t size) noexcept nogil:
    cdef bint whole = False
    return holds_upper(l.p, first_line(l.p, l.n, &whole), text, size)


# A reply line of SMTP or FTP: three digits, the first from 1 to 5, and a blank or hyphen.
cdef bint is_reply(const uint8_t* p, uint32_t n) noexcept nogil:
    return n > 4 and 49 <= p[0] <= 53 and digit(p[1]) and digit(p[2]) and (p[3] == 32 or p[3] == 45)


cdef bint smtp_line(const uint8_t* p, uint32_t n) noexcept nogil:
    return (begins_upper(p, n, b"DATA\r", 5) or begins_upper(p, n, b"RSET\r", 5) or begins_upper(p, n, b"QUIT\r", 5)
            or begins_upper(p, n, b"AUTH ", 5) or begins_upper(p, n, b"STARTTLS\r", 9))


cdef bint sig_smtp(const Look* l, Found* o) noexcept nogil:
    cdef const uint8_t* p = l.p
    cdef uint32_t n = l.n
    cdef bint said = l.scratch[0] == SAID_220
    cdef bint here = on_port(l, 25) or on_port(l, 587)
    if greeting_220(l):
        if line_names(l, b"SMTP", 4):
            return yes(o, APP_SMTP, 90)
        return here and yes(o, APP_SMTP, 80)
    if (begins_upper(p, n, b"EHLO ", 5) or begins_upper(p, n, b"HELO ", 5) or begins_upper(p, n, b"MAIL FROM:", 10)
            or begins_upper(p, n, b"RCPT TO:", 8)):
        return yes_twice(o, APP_SMTP, 95) if said else yes(o, APP_SMTP, 90)
    if said and (begins(p, n, b"250-", 4) or begins(p, n, b"250 ", 4)):
        return yes_twice(o, APP_SMTP, 90)
    return here and (is_reply(p, n) or smtp_line(p, n)) and yes(o, APP_SMTP, 80)


cdef bint ftp_command(const uint8_t* p, uint32_t n) noexcept nogil:
    return (begins_upper(p, n, b"USER ", 5) or begins_upper(p, n, b"AUTH ", 5) or begins_upper(p, n, b"FEAT\r", 5)
            or begins_upper(p, n, b"SYST\r", 5) or begins_upper(p, n, b"OPTS ", 5)
            or begins_upper(p, n, b"PASS ", 5))


cdef bint ftp_line(const uint8_t* p, uint32_t n) noexcept nogil:
    return (ftp_command(p, n) or begins_upper(p, n, b"RETR ", 5) or begins_upper(p, n, b"STOR ", 5)
            or begins_upper(p, n, b"TYPE ", 5) or begins_upper(p, n, b"PORT ", 5) or begins_upper(p, n, b"EPRT ", 5)
            or begins_upper(p, n, b"SIZE ", 5) or begins_upper(p, n, b"MDTM ", 5) or begins_upper(p, n, b"PASV\r", 5)
            or begins_upper(p, n, b"EPSV\r", 5) or begins_upper(p, n, b"NLST", 4) or begins_upper(p, n, b"LIST", 4)
            or begins_upper(p, n, b"MLSD", 4) or begins_upper(p, n, b"CWD ", 4) or begins_upper(p, n, b"PWD\r", 4)
            or begins_upper(p, n, b"QUIT\r", 5))


cdef bint ftp_reply(const uint8_t* p, uint32_t n) noexcept nogil:
    return (begins(p, n, b"331 ", 4) or begins(p, n, b"230 ", 4) or begins(p, n, b"230-", 4)
            or begins(p, n, b"234 ", 4) or begins(p, n, b"211-", 4) or begins(p, n, b"215 ", 4)
            or begins(p, n, b"530 ", 4))


cdef bint sig_ftp(const Look* l, Found* o) noexcept nogil:
    if greeting_220(l):
        if line_names(l, b"FTP", 3):
            return yes(o, APP_FTP, 90)
        if on_port(l, 21):
            return yes(o, APP_FTP, 80)
        l.scratch[0] = SAID_220
        return False
    if l.scratch[0] == SAID_220 and (ftp_command(l.p, l.n) or ftp_reply(l.p, l.n)):
        return yes_twice(o, APP_FTP, 95)
    return on_port(l, 21) and (is_reply(l.p, l.n) or ftp_line(l.p, l.n)) and yes(o, APP_FTP, 80)


cdef bint pop3_command(const uint8_t* p, uint32_t n) noexcept nogil:
    return (begins_upper(p, n, b"USER ", 5) or begins_upper(p, n, b"CAPA\r", 5) or begins_upper(p, n, b"APOP ", 5)
            or begins_upper(p, n, b"AUTH ", 5) or begins_upper(p, n, b"STLS\r", 5)
            or begins_upper(p, n, b"AUTH\r", 5) or begins_upper(p, n, b"QUIT\r", 5)
            or begins_upper(p, n, b"STAT\r", 5) or begins_upper(p, n, b"LIST\r", 5))


cdef bint sig_pop3(const Look* l, Found* o) noexcept nogil:
    cdef const uint8_t* p = l.p
    cdef uint32_t n = l.n
    if begins(p, n, b"+OK", 3):
        if line_names(l, b"POP", 3):
            return yes(o, APP_POP3, 90)
        if on_port(l, 110):
            return yes(o, APP_POP3, 80)
        l.scratch[0] = SAID_OK
        return False
    if l.scratch[0] == SAID_OK and pop3_command(p, n):
        return yes_twice(o, APP_POP3, 95)
    return on_port(l, 110) and (begins(p, n, b"-ERR", 4) or pop3_command(p, n)) and yes(o, APP_POP3, 80)


cdef uint32_t after_tag(const uint8_t* p, uint32_t n) noexcept nogil:
    cdef uint32_t at = 0
    while at < n and at < 12 and (digit(p[at]) or 65 <= p[at] <= 90 or 97 <= p[at] <= 122 or p[at] == 46):
        at += 1
    return at + 1 if 0 < at < n and p[at] == 32 and digit(p[at - 1]) else 0


cdef bint imap_opening(const uint8_t* p, uint32_t n) noexcept nogil:
    return (begins_upper(p, n, b"CAPABILITY", 10) or begins_upper(p, n, b"LOGIN ", 6)
            or begins_upper(p, n, b"AUTHENTICATE ", 13))


cdef bint imap_command(const uint8_t* p, uint32_t n) noexcept nogil:
    return (begins_upper(p, n, b"STARTTLS", 8) or begins_upper(p, n, b"NOOP", 4) or begins_upper(p, n, b"LOGOUT", 6)
            or begins_upper(p, n, b"ID (", 4) or begins_upper(p, n, b"ID NIL", 6)
            or begins_upper(p, n, b"SELECT ", 7) or begins_upper(p, n, b"LIST ", 5))


cdef bint imap_status(const uint8_t* p, uint32_t n) noexcept nogil:
    return begins_upper(p, n, b"OK ", 3) or begins_upper(p, n, b"NO ", 3) or begins_upper(p, n, b"BAD ", 4)


cdef bint sig_imap(const Look* l, Found* o) noexcept nogil:
    cdef const uint8_t* p = l.p
    cdef uint32_t n = l.n, at
    if begins(p, n, b"* OK", 4) or begins(p, n, b"* PREAUTH ", 10):
        if line_names(l, b"IMAP", 4) or line_names(l, b"CAPABILITY", 10):
            return yes(o, APP_IMAP, 95)
        if on_port(l, 143):
            return yes(o, APP_IMAP, 80)
        l.scratch[0] = SAID_STAR
        return False
    if on_port(l, 143) and begins(p, n, b"* ", 2):
        return yes(o, APP_IMAP, 80)
    at = after_tag(p, n)
    if at == 0:
        return False
    if l.scratch[0] == SAID_STAR and (imap_opening(p + at, n - at) or imap_command(p + at, n - at)):
        return yes_twice(o, APP_IMAP, 95)
    if on_port(l, 143) and (imap_command(p + at, n - at) or imap_status(p + at, n - at)):
        return yes(o, APP_IMAP, 80)
    return imap_opening(p + at, n - at) and yes(o, APP_IMAP, 80)


cdef bint sig_irc(const Look* l, Found* o) noexcept nogil:
    cdef const uint8_t* p = l.p
    cdef bint whole = False, notice
    cdef uint32_t n
    if begins(p, l.n, b"NOTICE AUTH :", 13):
        return yes(o, APP_IRC, 90)
    n = first_line(p, l.n, &whole)
    if not whole:
        return False
    notice = p[0] == 58 and holds(p, n, b" NOTICE ", 8)
    if l.scratch[0] == SAID_NICK and (begins(p, l.n, b"USER ", 5) or notice):
        return yes_twice(o, APP_IRC, 95)
    if p[0] == 58 and (notice or holds(p, n, b" 001 ", 5)) and holds(p, n, b" :", 2):
        return yes(o, APP_IRC, 85)
    if begins(p, l.n, b"NICK ", 5) or begins(p, l.n, b"CAP LS", 6):
        if holds(p, at_most(l.n, 512), b"\nUSER ", 6):
            return yes(o, APP_IRC, 95)
        l.scratch[0] = SAID_NICK
    return False
