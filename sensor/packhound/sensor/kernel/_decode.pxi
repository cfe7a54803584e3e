# Decode: one packet to one Frame. Native twin of packhound.net.frame; same steps, same names, same outcome.
# Every read is checked against Cursor.end by dec_need (or by hand where a shorter packet is no error).
include "_decode_types.pxi"
include "_decode_link.pxi"
include "_decode_ip.pxi"


cdef void decode(const uint8_t* p, uint32_t n, uint16_t linktype, const DecodeCfg* cfg, Frame* f) noexcept nogil:
    """Decode `n` captured bytes of a packet of `linktype` into `f`; every field of `f` is set."""
    cdef Cursor cursor
    cdef Cursor* c = &cursor
    memset(f, 0, sizeof(Frame))
    c.p = p
    c.f = f
    c.cfg = cfg
    c.off = 0
    c.end = n if n < MAX_PACKET else MAX_PACKET
    c.wire = UNKNOWN_WIRE
    c.layer = LAYER_DONE
    c.number = 0
    c.tags = 0
    c.inside = 0
    link_begin(c, linktype)
    while c.layer != LAYER_DONE:
        if c.layer == LAYER_IP:
            dec_ip(c)
        elif c.layer == LAYER_TRANSPORT:
            dec_transport(c)
        elif c.layer == LAYER_ETHERTYPE:
            dec_ethertype(c)
        elif c.layer == LAYER_ETHERNET:
            dec_ethernet(c)
        elif c.layer == LAYER_GRE:
            dec_gre(c)
        elif c.layer == LAYER_LLC:
            dec_llc(c)
        elif c.layer == LAYER_PPP:
            dec_ppp(c)
        elif c.layer == LAYER_MPLS:
            dec_mpls(c)
        elif c.layer == LAYER_NLPID:
            dec_nlpid(c)
        elif c.layer == LAYER_WLAN:
            dec_wlan(c)
        else:
            dec_cisco_hdlc(c)
    if c.inside:
        restore_outer(c)
    if cfg.vlan_is_tenant and f.vlan != 0 and f.tenant == 0:
        f.tenant = VLAN_TENANT | f.vlan


cdef void restore_outer(Cursor* c) noexcept nogil:
    """Nothing readable inside the tunnel: the packet is the one that carries it."""
    cdef uint8_t status = FRAME_UNSUPPORTED if c.f.status == FRAME_UNSUPPORTED else FRAME_OK
    memcpy(c.f, &c.outer, sizeof(Frame))
    c.f.status = status


cdef void decode_cfg_default(DecodeCfg* cfg) noexcept nogil:
    """Set `cfg` to decode no tunnel over UDP, to the default depth."""
    memset(cfg, 0, sizeof(DecodeCfg))
    cfg.max_depth = 8


cdef int decode_cfg_load(object config, DecodeCfg* cfg) except -1:
    """Fill `cfg` from a `packhound.net.frame.DecodeConfig`."""
    decode_cfg_default(cfg)
    cfg.max_depth = min(max(config.max_depth, 0), 255)
    cfg.vlan_is_tenant = config.vlan_is_tenant
    for kind, ports in (
        (TUNNEL_VXLAN, config.vxlan_ports),
        (TUNNEL_GENEVE, config.geneve_ports),
        (TUNNEL_GTPU, config.gtpu_ports),
        (TUNNEL_TEREDO, config.teredo_ports),
        (TUNNEL_AYIYA, config.ayiya_ports),
    ):
        for port in ports:
            if not 0 <= port <= 0xFFFF:
                raise ValueError(f"tunnel port {port} is not a UDP port")
            cfg.tunnel[port] |= kind
            cfg.tunnel_any[port >> 3] |= 1 << (port & 7)
    return 0


def decode_one(bytes data not None, int linktype, config) -> dict:
    """Decode one packet into a dict with the fields of `packhound.net.frame.Frame` (for twin tests)."""
    cdef DecodeCfg cfg
    cdef Frame f
    cdef const uint8_t* p = data
    decode_cfg_load(config, &cfg)
    if not 0 <= linktype <= 0xFFFF:
        raise ValueError(f"link type {linktype} does not fit 16 bits")
    decode(p, <uint32_t>len(data), <uint16_t>linktype, &cfg, &f)
    return {
        "status": f.status, "ip_version": f.ip_version, "proto": f.proto, "tcp_flags": f.tcp_flags,
        "depth": f.depth, "frag_more": f.frag_more, "ttl": f.ttl, "icmp_type": f.icmp_type,
        "icmp_code": f.icmp_code, "ethertype": f.ethertype, "vlan": f.vlan, "sport": f.sport, "dport": f.dport,
        "window": f.window, "tenant": f.tenant, "frag_id": f.frag_id, "frag_offset": f.frag_offset,
        "seq": f.seq, "ack": f.ack, "l3": f.l3, "l4": f.l4, "payload": f.payload,
        "payload_len": f.payload_len, "payload_wire": f.payload_wire,
        "src": <bytes>(<char*>f.src)[:16], "dst": <bytes>(<char*>f.dst)[:16],
    }
