# Detection of application protocols. Native twin of packhound.net.detect: same signatures, same order, same verdicts.

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
    APP_NBDGM = 23
    APP_NBSS = 24
    APP_SMB = 25
    APP_LDAP = 26
    APP_KERBEROS = 27
    APP_SNMP = 28
    APP_DHCPV6 = 29
    APP_OSPF = 30
    APP_EIGRP = 31
    APP_RADIUS = 32
    APP_DIAMETER = 33
    APP_TURN = 34
    APP_HTTP2 = 35
    APP_GRPC = 36
    APP_WEBSOCKET = 37
    APP_HTTP3 = 38
    APP_DOT = 39
    APP_DOH = 40
    APP_DOQ = 41
    APP_MQTT = 42
    APP_REDIS = 43
    APP_KAFKA = 44
    APP_POSTGRESQL = 45
    APP_MYSQL = 46
    APP_MONGODB = 47
    APP_AMQP = 48
    APP_NATS = 49
    APP_WIREGUARD = 50
    APP_OPENVPN = 51
    APP_IKE = 52
    APP_ESP = 53
    APP_BITTORRENT = 54
    APP_RDP = 55
    APP_VNC = 56
    APP_MODBUS = 57
    APP_ICMP = 58
    APP_ICMPV6 = 59
    APP_ARP = 60
    APP_SCTP = 61
    APP_IGMP = 62
    APP_PIM = 63
    APP_VRRP = 64
    APP_TELNET = 65
    APP_SYSLOG = 66
    APP_XMPP = 67
    APP_IRC = 68
    APP_TFTP = 69
    APP_RIP = 70
    APP_SOCKS = 71
    APP_RPC = 72
    APP_DCERPC = 73
    APP_MGCP = 74
    APP_MEGACO = 75
    APP_SKINNY = 76
    APP_COAP = 77

cdef enum:
    METHOD_CONTENT = 1
    METHOD_TWO_PACKETS = 2

cdef struct Look:
    const uint8_t* p
    uint32_t n
    uint16_t sport
    uint16_t dport
    uint8_t direction
    uint32_t* scratch

cdef struct Found:
    uint8_t app
    uint8_t confidence
    uint8_t method

include "_detect_look.pxi"
include "_detect_text.pxi"
include "_detect_greetings.pxi"
include "_detect_names.pxi"
include "_detect_secure.pxi"
include "_detect_media.pxi"
include "_detect_asn1.pxi"
include "_detect_streams.pxi"
include "_detect_stores.pxi"
include "_detect_datagrams.pxi"


cdef bint over_tcp(const Look* l, Found* o) noexcept nogil:
    return (sig_ssh(l, o) or sig_sip(l, o) or sig_rtsp(l, o) or sig_http2(l, o) or sig_http(l, o) or sig_vnc(l, o)
            or sig_xmpp(l, o) or sig_redis(l, o) or sig_bittorrent_tcp(l, o) or sig_tls(l, o) or sig_bgp(l, o)
            or sig_stun_tcp(l, o) or sig_smb(l, o) or sig_nbss(l, o) or sig_mqtt(l, o) or sig_amqp(l, o)
            or sig_nats(l, o) or sig_postgresql(l, o) or sig_mongodb(l, o) or sig_kafka(l, o) or sig_diameter(l, o)
            or sig_rdp(l, o) or sig_kerberos_tcp(l, o) or sig_ldap(l, o) or sig_dcerpc(l, o) or sig_rpc_tcp(l, o)
            or sig_mysql(l, o) or sig_dns_tcp(l, o) or sig_openvpn_tcp(l, o) or sig_socks(l, o) or sig_modbus(l, o)
            or sig_skinny(l, o) or sig_telnet(l, o) or sig_syslog(l, o) or sig_smtp(l, o) or sig_ftp(l, o)
            or sig_pop3(l, o) or sig_imap(l, o) or sig_irc(l, o))


cdef bint over_udp(const Look* l, Found* o) noexcept nogil:
    return (sig_sip(l, o) or sig_ssdp(l, o) or sig_mgcp(l, o) or sig_megaco(l, o) or sig_bittorrent_udp(l, o)
            or sig_stun(l, o) or sig_dtls(l, o) or sig_dhcp(l, o) or sig_quic(l, o) or sig_dns_udp(l, o)
            or sig_nbdgm(l, o) or sig_snmp(l, o) or sig_kerberos_udp(l, o) or sig_ldap(l, o) or sig_ike(l, o)
            or sig_wireguard(l, o) or sig_openvpn(l, o) or sig_rdp_udp(l, o) or sig_radius(l, o) or sig_rpc_udp(l, o)
            or sig_dhcpv6(l, o) or sig_rip(l, o) or sig_tftp(l, o) or sig_syslog(l, o) or sig_coap(l, o) or sig_ntp(l, o)
            or sig_rtcp(l, o) or sig_rtp(l, o))


cdef bint over_ip(uint8_t proto, const uint8_t* p, uint32_t n, Found* o) noexcept nogil:
    """Twin of signatures.headers: what runs straight over IP."""
    cdef uint8_t app = 0
    if proto == 1:
        app = APP_ICMP
    elif proto == 58:
        app = APP_ICMPV6
    elif proto == 2:
        app = APP_IGMP
    elif proto == 50:
        app = APP_ESP
    elif proto == 132:
        app = APP_SCTP
    elif proto == 89 and n >= 16 and (p[0] == 2 or p[0] == 3) and 1 <= p[1] <= 5 and det16(p + 2) >= 16:
        app = APP_OSPF
    elif proto == 88 and n >= 20 and p[0] == 2 and 1 <= p[1] <= 12:
        app = APP_EIGRP
    elif proto == 103 and n >= 4 and 1 <= p[0] >> 4 <= 2:
        app = APP_PIM
    elif proto == 112 and n >= 8 and (p[0] == 0x21 or p[0] == 0x31):
        app = APP_VRRP
    return app and yes(o, app, 95)


cdef uint8_t detect(const uint8_t* p, uint32_t n, uint8_t proto, uint16_t sport, uint16_t dport, uint8_t direction,
                    uint32_t* scratch, uint32_t payload_packets, uint8_t* confidence,
                    uint8_t* method) noexcept nogil:
    """Judge one payload packet of a flow without verdict; APP_UNKNOWN leaves it undecided."""
    cdef Found out
    cdef Look look
    out.app = out.confidence = out.method = 0
    if n:
        look.p = p
        look.n = n
        look.sport = sport
        look.dport = dport
        look.direction = direction
        look.scratch = scratch
        if proto == 6:
            over_tcp(&look, &out)
        elif proto == 17:
            over_udp(&look, &out)
        else:
            over_ip(proto, p, n, &out)
    confidence[0] = out.confidence
    method[0] = out.method
    return out.app


cdef uint8_t refine(uint8_t app, const uint8_t* p, uint32_t n, uint8_t proto, uint16_t sport, uint16_t dport,
                    uint8_t direction, uint32_t* scratch, uint8_t* confidence) noexcept nogil:
    """Judge one payload packet of a flow that began as STUN over UDP: the DTLS or media that it carries, else 0."""
    cdef Found out
    cdef Look look
    out.app = out.confidence = out.method = 0
    if app == APP_STUN and proto == 17 and n and 20 <= p[0] < 192:
        look.p = p
        look.n = n
        look.sport = sport
        look.dport = dport
        look.direction = direction
        look.scratch = scratch
        if p[0] < 64:
            sig_dtls(&look, &out)
        elif p[0] >= 128:
            sig_rtp(&look, &out)
    confidence[0] = out.confidence
    return out.app


def refine_one(bytes payload not None, *, uint8_t app, uint8_t proto, uint16_t sport, uint16_t dport, uint8_t direction,
               list scratch):
    """Native `packhound.net.detect.refine` as a tuple (app, confidence, method), for twin tests."""
    cdef uint32_t words[4]
    cdef uint8_t confidence = 0, found
    cdef int i
    for i in range(4):
        words[i] = scratch[i]
    found = refine(app, payload, <uint32_t>len(payload), proto, sport, dport, direction, words, &confidence)
    for i in range(4):
        scratch[i] = words[i]
    return found, confidence, METHOD_TWO_PACKETS if found else 0


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
