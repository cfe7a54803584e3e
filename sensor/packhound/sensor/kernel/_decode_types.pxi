# Decode, the walker's state. Twin of packhound.net.decoded.

cdef enum:
    UNKNOWN_WIRE = 0xFFFFFFFF   # no header has said where the packet ends
    MAX_PACKET = 0x01000000     # 16 MiB: no capture has longer ones; keeps every offset far from overflow
    MAX_TAGS = 16
    VLAN_TENANT = 0x02000000

cdef enum:
    LAYER_DONE = 0
    LAYER_ETHERNET = 1
    LAYER_ETHERTYPE = 2
    LAYER_LLC = 3
    LAYER_NLPID = 4
    LAYER_PPP = 5
    LAYER_CISCO_HDLC = 6
    LAYER_MPLS = 7
    LAYER_IP = 8
    LAYER_TRANSPORT = 9
    LAYER_GRE = 10
    LAYER_WLAN = 11

cdef enum:
    TUNNEL_VXLAN = 1
    TUNNEL_GENEVE = 2
    TUNNEL_GTPU = 4
    TUNNEL_TEREDO = 8
    TUNNEL_AYIYA = 16

cdef struct DecodeCfg:
    uint8_t max_depth
    uint8_t vlan_is_tenant
    uint8_t tunnel_any[8192]    # bit per UDP port: small enough to stay in the first cache
    uint8_t tunnel[65536]       # by UDP port: TUNNEL_ bits

cdef struct Cursor:
    const uint8_t* p
    Frame* f
    const DecodeCfg* cfg
    uint32_t off
    uint32_t end
    uint32_t wire
    uint32_t layer
    uint32_t number
    uint32_t tags
    uint32_t inside             # outer holds the packet that carries the tunnel being read
    Frame outer


cdef inline uint16_t be16(const uint8_t* p) noexcept nogil:
    return <uint16_t>((<uint32_t>p[0] << 8) | p[1])


cdef inline uint32_t be32(const uint8_t* p) noexcept nogil:
    return (<uint32_t>p[0] << 24) | (<uint32_t>p[1] << 16) | (<uint32_t>p[2] << 8) | p[3]


cdef inline uint32_t is_tunnel_port(const DecodeCfg* cfg, uint16_t port) noexcept nogil:
    return (cfg.tunnel_any[port >> 3] >> (port & 7)) & 1


cdef inline void dec_stop(Cursor* c, uint8_t status) noexcept nogil:
    c.f.status = status
    c.layer = LAYER_DONE


cdef inline bint dec_need(Cursor* c, uint32_t size) noexcept nogil:
    if c.off + size <= c.end:
        return True
    dec_stop(c, FRAME_TRUNCATED if c.off + size <= c.wire else FRAME_MALFORMED)
    return False


cdef inline void dec_limit(Cursor* c, uint32_t size) noexcept nogil:
    if c.off + size < c.wire:
        c.wire = c.off + size
    if c.wire < c.end:
        c.end = c.wire


cdef inline void dec_go(Cursor* c, uint32_t layer, uint32_t off) noexcept nogil:
    c.layer = layer
    c.off = off


cdef inline void dec_type(Cursor* c, uint32_t number, uint32_t off) noexcept nogil:
    c.layer = LAYER_ETHERTYPE
    c.off = off
    c.number = number


cdef inline void dec_enter(Cursor* c, uint32_t layer, uint32_t off) noexcept nogil:
    if c.f.depth >= c.cfg.max_depth:
        dec_stop(c, FRAME_UNSUPPORTED)
        return
    c.f.depth += 1
    c.tags = 0
    dec_go(c, layer, off)


cdef inline void dec_payload(Cursor* c, uint32_t start) noexcept nogil:
    c.f.payload = start if start < c.end else c.end
    c.f.payload_len = c.end - c.f.payload
    if c.wire == UNKNOWN_WIRE:
        c.f.payload_wire = c.f.payload_len
    else:
        c.f.payload_wire = c.wire - start if c.wire > start else 0
