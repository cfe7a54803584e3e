# Detection of application protocols. Native twin of packhound.net.detect, detect_text and detect_binary: same order,
# same verdicts.

cdef enum:
    APP_UNKNOWN = 0
    APP_DNS = 1
    APP_MDNS = 2
    APP_LLMNR = 3
    APP_NBNS = 4
    APP_TLS = 5
    APP_DTLS = 6
    APP_QUIC = 7
    APP_HTTP = 8
    APP_SIP = 9
    APP_RTP = 10
    APP_RTCP = 11
    APP_RTSP = 12
    APP_SSH = 13
    APP_SMTP = 14
    APP_FTP = 15
    APP_IMAP = 16
    APP_POP3 = 17
    APP_STUN = 18
    APP_NTP = 19
    APP_DHCP = 20
    APP_SSDP = 21
    APP_BGP = 22

cdef enum:
    METHOD_CONTENT = 1
    METHOD_TWO_PACKETS = 2

cdef struct Found:
    uint8_t app
    uint8_t confidence
    uint8_t method


cdef inline uint8_t found(Found* out, uint8_t app, uint8_t confidence, uint8_t method) noexcept nogil:
    out.app = app
    out.confidence = confidence
    out.method = method
    return app

include "_detect_text.pxi"
include "_detect_binary.pxi"


cdef uint8_t detect(const uint8_t* p, uint32_t n, uint8_t proto, uint16_t sport, uint16_t dport, uint8_t direction,
                    uint32_t* scratch, uint32_t payload_packets, uint8_t* confidence,
                    uint8_t* method) noexcept nogil:
    """Judge one payload packet of a flow without verdict; APP_UNKNOWN leaves it undecided."""
    cdef Found out
    out.app = out.confidence = out.method = 0
    if n:
        if proto == 6:
            if not text_over_tcp(p, n, direction, scratch, &out):
                binary_over_tcp(p, n, sport, dport, &out)
        elif proto == 17:
            if not binary_over_udp(p, n, sport, dport, &out) and not text_over_udp(p, n, &out):
                media_over_udp(p, n, sport, dport, direction, scratch, &out)
    confidence[0] = out.confidence
    method[0] = out.method
    return out.app


def detect_one(bytes payload not None, *, uint8_t proto, uint16_t sport, uint16_t dport, uint8_t direction,
               list scratch, uint32_t payload_packets):
    """Native `packhound.net.detect.detect` as a tuple (app, confidence, method), for twin tests."""
    cdef uint32_t words[4]
    cdef uint8_t confidence = 0, method = 0, app
    cdef int i
    for i in range(4):
        words[i] = scratch[i]
    app = detect(payload, <uint32_t>len(payload), proto, sport, dport, direction, words, payload_packets,
                 &confidence, &method)
    for i in range(4):
        scratch[i] = words[i]
    return app, confidence, method
