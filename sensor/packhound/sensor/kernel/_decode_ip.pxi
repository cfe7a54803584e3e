# Decode, from the IP header to the payload or into a tunnel. Twin of packhound.net.ip, .transport and .tunnels.

cdef inline void dec_ip(Cursor* c) noexcept nogil:
    cdef uint32_t version
    if not dec_need(c, 1):
        return
    version = c.p[c.off] >> 4
    if version == 4:
        dec_ipv4(c)
    elif version == 6:
        dec_ipv6(c)
    else:
        dec_stop(c, FRAME_MALFORMED)


cdef void dec_forget(Cursor* c) noexcept nogil:
    """Forget the packet around, but its link and tunnel ids."""
    cdef Frame* f = c.f
    cdef uint16_t ethertype = f.ethertype
    cdef uint16_t vlan = f.vlan
    cdef uint32_t tenant = f.tenant
    cdef uint8_t depth = f.depth
    memset(f, 0, sizeof(Frame))
    f.ethertype = ethertype
    f.vlan = vlan
    f.tenant = tenant
    f.depth = depth


cdef inline void dec_accept(Cursor* c, uint8_t version, uint8_t proto, uint8_t ttl) noexcept nogil:
    if c.inside:
        dec_forget(c)
        c.inside = 0
    c.f.ip_version = version
    c.f.proto = proto
    c.f.ttl = ttl
    c.f.l3 = c.off


cdef inline void dec_ipv4(Cursor* c) noexcept nogil:
    cdef const uint8_t* h
    cdef uint32_t header, total, piece
    if not dec_need(c, 20):
        return
    h = c.p + c.off
    header = (h[0] & 0x0F) * 4
    total = be16(h + 2)
    if header < 20 or (total != 0 and total < header):
        dec_stop(c, FRAME_MALFORMED)
        return
    dec_accept(c, 4, h[9], h[8])
    memcpy(c.f.src, h + 12, 4)
    memcpy(c.f.dst, h + 16, 4)
    if total != 0:
        dec_limit(c, total)
    if not dec_need(c, header):
        return
    piece = be16(h + 6)
    c.off += header
    if piece & 0x3FFF:
        c.f.frag_id = be16(h + 4)
        dec_fragment(c, (piece & 0x1FFF) * 8, (piece & 0x2000) != 0)
    elif h[9] == 51:
        dec_chain(c, 51)
    else:
        c.layer = LAYER_TRANSPORT
        c.number = h[9]


cdef inline void dec_ipv6(Cursor* c) noexcept nogil:
    cdef const uint8_t* h
    cdef uint32_t size
    if not dec_need(c, 40):
        return
    h = c.p + c.off
    size = be16(h + 4)
    dec_accept(c, 6, h[6], h[7])
    memcpy(c.f.src, h + 8, 16)
    memcpy(c.f.dst, h + 24, 16)
    c.off += 40
    if size != 0:
        dec_limit(c, size)
    if h[6] == 6 or h[6] == 17:
        c.layer = LAYER_TRANSPORT
        c.number = h[6]
    else:
        dec_chain(c, h[6])


cdef void dec_chain(Cursor* c, uint8_t proto) noexcept nogil:
    cdef uint32_t i, size, piece
    for i in range(MAX_TAGS):
        c.f.proto = proto
        if proto == 51:
            if not dec_need(c, 8):
                return
            size = (<uint32_t>c.p[c.off + 1] + 2) * 4
        elif c.f.ip_version == 4:
            break
        elif proto == 44:
            if not dec_need(c, 8):
                return
            piece = be16(c.p + c.off + 2)
            if piece & 0xFFF9:
                c.f.proto = c.p[c.off]
                c.f.frag_id = be32(c.p + c.off + 4)
                c.off += 8
                dec_fragment(c, piece & 0xFFF8, piece & 1)
                return
            size = 8
        elif (proto == 0 or proto == 43 or proto == 60 or
              ((proto == 135 or proto == 139 or proto == 140) and c.off < c.end and c.p[c.off] != 59)):
            if not dec_need(c, 8):
                return
            size = (<uint32_t>c.p[c.off + 1] + 1) * 8
        else:
            break
        if not dec_need(c, size):
            return
        proto = c.p[c.off]
        c.off += size
    else:
        dec_stop(c, FRAME_UNSUPPORTED)
        return
    c.layer = LAYER_TRANSPORT
    c.number = proto


cdef void dec_fragment(Cursor* c, uint32_t offset, bint more) noexcept nogil:
    c.f.frag_offset = offset
    c.f.frag_more = more
    dec_payload(c, c.off)
    dec_stop(c, FRAME_FRAGMENT)


cdef inline void dec_transport(Cursor* c) noexcept nogil:
    cdef uint32_t number = c.number
    if number == 6:
        dec_tcp(c)
    elif number == 17:
        dec_udp(c)
    elif number == 1 or number == 58:
        dec_icmp(c, number)
    elif number == 132 or number == 33:
        if dec_ports(c, 12):
            dec_stop(c, FRAME_OK)
    elif number == 136:
        if dec_ports(c, 8):
            dec_stop(c, FRAME_OK)
    else:
        c.f.l4 = c.off
        dec_payload(c, c.off)
        dec_tunnel(c, number)


cdef void dec_tunnel(Cursor* c, uint32_t number) noexcept nogil:
    if number == 4 or number == 41:
        dec_inside(c, LAYER_IP, c.off, 0)
    elif number == 47:
        dec_inside(c, LAYER_GRE, c.off, 0)
    elif number == 97:
        dec_inside(c, LAYER_ETHERNET, c.off + 2, 0)
    elif number == 103:
        if c.off + 8 < c.end and c.p[c.off] == 0x21:
            dec_inside(c, LAYER_IP, c.off + 8, 0)
        else:
            dec_stop(c, FRAME_OK)
    elif number == 137:
        dec_inside(c, LAYER_MPLS, c.off, 0)
    else:
        dec_stop(c, FRAME_OK)


cdef inline bint dec_ports(Cursor* c, uint32_t header) noexcept nogil:
    if not dec_need(c, 4):
        return False
    c.f.sport = be16(c.p + c.off)
    c.f.dport = be16(c.p + c.off + 2)
    c.f.l4 = c.off
    if not dec_need(c, header):
        return False
    dec_payload(c, c.off + header)
    return True


cdef void dec_reject(Cursor* c) noexcept nogil:
    c.f.payload = 0
    c.f.payload_len = 0
    c.f.payload_wire = 0
    dec_stop(c, FRAME_MALFORMED)


cdef inline void dec_tcp(Cursor* c) noexcept nogil:
    cdef const uint8_t* h
    cdef uint32_t size
    if not dec_ports(c, 20):
        return
    h = c.p + c.off
    size = (h[12] >> 4) * 4
    if size < 20 or c.off + size > c.wire:
        dec_reject(c)
        return
    c.f.seq = be32(h + 4)
    c.f.ack = be32(h + 8)
    c.f.tcp_flags = h[13]
    c.f.window = be16(h + 14)
    dec_payload(c, c.off + size)
    dec_stop(c, FRAME_OK)


cdef inline void dec_udp(Cursor* c) noexcept nogil:
    cdef uint32_t size
    if not dec_ports(c, 8):
        return
    size = be16(c.p + c.off + 4)
    if size != 0:
        if size < 8 or c.off + size > c.wire:
            dec_reject(c)
            return
        dec_limit(c, size)
        dec_payload(c, c.off + 8)
    if is_tunnel_port(c.cfg, c.f.dport) | is_tunnel_port(c.cfg, c.f.sport):
        c.off += 8
        dec_over_udp(c, c.cfg.tunnel[c.f.dport] | c.cfg.tunnel[c.f.sport])
    else:
        dec_stop(c, FRAME_OK)


cdef void dec_icmp(Cursor* c, uint32_t number) noexcept nogil:
    cdef uint8_t kind, code
    if not dec_need(c, 4):
        return
    kind = c.p[c.off]
    code = c.p[c.off + 1]
    c.f.icmp_type = kind
    c.f.icmp_code = code
    c.f.l4 = c.off
    c.f.sport = kind
    c.f.dport = icmp_counterpart(kind, code) if number == 1 else icmpv6_counterpart(kind, code)
    dec_payload(c, c.off + 8)
    dec_stop(c, FRAME_OK)


cdef uint8_t icmp_counterpart(uint8_t kind, uint8_t code) noexcept nogil:
    if kind == 0 or kind == 8:
        return 8 - kind
    if kind == 9 or kind == 10:
        return 19 - kind
    if 13 <= kind <= 18:
        return kind + 1 if kind & 1 else kind - 1
    return code


cdef uint8_t icmpv6_counterpart(uint8_t kind, uint8_t code) noexcept nogil:
    if kind == 128 or kind == 130 or kind == 144:
        return kind + 1
    if kind == 129 or kind == 131 or kind == 145:
        return kind - 1
    if kind == 133 or kind == 135 or kind == 139:
        return kind + 1
    if kind == 134 or kind == 136 or kind == 140:
        return kind - 1
    return code


cdef void dec_inside(Cursor* c, uint32_t layer, uint32_t off, uint32_t tenant) noexcept nogil:
    if c.f.depth >= c.cfg.max_depth:
        dec_stop(c, FRAME_UNSUPPORTED)
        return
    memcpy(&c.outer, c.f, sizeof(Frame))
    c.inside = 1
    if tenant != 0:
        c.f.tenant = tenant
    dec_enter(c, layer, off)


cdef void dec_gre(Cursor* c) noexcept nogil:
    cdef uint32_t flags, number, version
    cdef uint32_t size = 4
    if not dec_need(c, 4):
        return
    flags = be16(c.p + c.off)
    number = be16(c.p + c.off + 2)
    version = flags & 7
    if version == 0:
        if flags & 0x4000:
            dec_stop(c, FRAME_NOT_IP)
            return
        size += 4 * (((flags >> 15) & 1) + ((flags >> 13) & 1) + ((flags >> 12) & 1))
    elif version == 1 and number == 0x880B:
        size += 4 + 4 * (((flags >> 12) & 1) + ((flags >> 7) & 1))
    else:
        dec_stop(c, FRAME_NOT_IP)
        return
    if dec_need(c, size):
        c.off += size
        dec_gre_payload(c, flags, number)


cdef void dec_gre_payload(Cursor* c, uint32_t flags, uint32_t number) noexcept nogil:
    if number == 0x880B:
        c.layer = LAYER_PPP
    elif number == 0x6558:
        c.layer = LAYER_ETHERNET
    elif number & 0xFE0F == 0x8200:
        c.layer = LAYER_WLAN
    elif number == 0x88BE:
        dec_go(c, LAYER_ETHERNET, c.off + (8 if flags & 0x1000 else 0))
    elif number == 0x22EB:
        if dec_need(c, 12):
            dec_go(c, LAYER_ETHERNET, c.off + 12 + (8 if c.p[c.off + 11] & 1 else 0))
    elif number == 0x883E:
        if dec_need(c, 1):
            dec_go(c, LAYER_IP, c.off if c.p[c.off] >> 4 == 4 else c.off + 4)
    else:
        dec_type(c, number, c.off)


cdef void dec_over_udp(Cursor* c, uint8_t tunnel) noexcept nogil:
    if tunnel & TUNNEL_VXLAN and dec_vxlan(c):
        return
    if tunnel & TUNNEL_GENEVE and dec_geneve(c):
        return
    if tunnel & TUNNEL_GTPU and dec_gtpu(c):
        return
    if tunnel & TUNNEL_TEREDO and dec_teredo(c):
        return
    if tunnel & TUNNEL_AYIYA and dec_ayiya(c):
        return
    dec_stop(c, FRAME_OK)


cdef bint dec_vxlan(Cursor* c) noexcept nogil:
    if c.off + 8 > c.end or not c.p[c.off] & 0x08:
        return False
    dec_inside(c, LAYER_ETHERNET, c.off + 8, (be32(c.p + c.off + 4) >> 8) + 1)
    return True


cdef bint dec_geneve(Cursor* c) noexcept nogil:
    cdef uint32_t number, header
    if c.off + 8 > c.end or c.p[c.off] >> 6:
        return False
    number = be16(c.p + c.off + 2)
    if number != 0x0800 and number != 0x86DD and number != 0x6558:
        return False
    header = 8 + (c.p[c.off] & 0x3F) * 4
    dec_inside(c, LAYER_ETHERNET if number == 0x6558 else LAYER_IP, c.off + header, (be32(c.p + c.off + 4) >> 8) + 1)
    return True


cdef bint dec_gtpu(Cursor* c) noexcept nogil:
    cdef uint32_t flags, i
    cdef uint32_t at = c.off + 8
    cdef uint8_t following = 0
    if at > c.end:
        return False
    flags = c.p[c.off]
    if flags >> 4 != 3 or c.p[c.off + 1] != 255:
        return False
    if flags & 0x07:
        at += 4
        if at <= c.end and flags & 0x04:
            following = c.p[at - 1]
        for i in range(MAX_TAGS):
            if not following:
                break
            if at >= c.end or not c.p[at]:
                return False
            at += <uint32_t>c.p[at] * 4
            if at > c.end:
                return False
            following = c.p[at - 1]
        if following:
            return False
    if at >= c.end or (c.p[at] >> 4 != 4 and c.p[at] >> 4 != 6):
        return False
    dec_inside(c, LAYER_IP, at, 0)
    return True


cdef bint dec_teredo(Cursor* c) noexcept nogil:
    cdef uint32_t at = c.off
    if at + 4 <= c.end and be16(c.p + at) == 1:
        at += 13 + <uint32_t>c.p[at + 2] + c.p[at + 3]
    if at + 2 <= c.end and be16(c.p + at) == 0:
        at += 8
    if at + 40 > c.end or c.p[at] >> 4 != 6 or at + 40 + be16(c.p + at + 4) != c.wire:
        return False
    dec_inside(c, LAYER_IP, at, 0)
    return True


cdef bint dec_ayiya(Cursor* c) noexcept nogil:
    cdef uint32_t at, number
    if c.off + 8 > c.end or c.p[c.off + 2] & 15 != 1:
        return False
    number = c.p[c.off + 3]
    at = c.off + 8 + (<uint32_t>1 << (c.p[c.off] >> 4)) + <uint32_t>(c.p[c.off + 1] >> 4) * 4
    if number != 4 and number != 41:
        return False
    if at >= c.end or c.p[at] >> 4 != (4 if number == 4 else 6):
        return False
    dec_inside(c, LAYER_IP, at, 0)
    return True
