# Decode, from the link header to IP. Twin of packhound.net.linktypes (link_*), .encapsulation and .wlan (dec_*).

cdef inline void dec_type_or_length(Cursor* c, uint32_t number, uint32_t off) noexcept nogil:
    if number > 1500:
        dec_type(c, number, off)
        return
    dec_go(c, LAYER_LLC, off)
    dec_limit(c, number)


cdef inline void dec_ethernet(Cursor* c) noexcept nogil:
    if dec_need(c, 14):
        dec_type_or_length(c, be16(c.p + c.off + 12), c.off + 14)


cdef inline void dec_ethertype(Cursor* c) noexcept nogil:
    cdef uint32_t number = c.number
    c.f.ethertype = <uint16_t>number
    if number == 0x0800 or number == 0x86DD:
        c.layer = LAYER_IP
    elif number == 0x8100 or number == 0x88A8 or number == 0x9100 or number == 0x9200:
        dec_vlan(c)
    elif number == 0x8847 or number == 0x8848:
        dec_enter(c, LAYER_MPLS, c.off)
    elif number == 0x8864:
        dec_pppoe(c)
    elif number == 0x6558:
        dec_enter(c, LAYER_ETHERNET, c.off)
    elif number == 0x880B:
        dec_enter(c, LAYER_PPP, c.off)
    elif number == 0x88E7 or number == 0x8903:
        dec_enter(c, LAYER_ETHERNET, c.off + (4 if number == 0x88E7 else 2))
    elif number == 0x8909:
        dec_cisco_metadata(c)
    else:
        if number == 0x0806 or number == 0x8035:
            c.f.l3 = c.off
        dec_stop(c, FRAME_NOT_IP)


cdef void dec_vlan(Cursor* c) noexcept nogil:
    c.tags += 1
    if c.tags > MAX_TAGS:
        dec_stop(c, FRAME_UNSUPPORTED)
    elif dec_need(c, 4):
        if c.f.vlan == 0:
            c.f.vlan = be16(c.p + c.off) & 0x0FFF
        dec_type_or_length(c, be16(c.p + c.off + 2), c.off + 4)


cdef void dec_cisco_metadata(Cursor* c) noexcept nogil:
    c.tags += 1
    if c.tags > MAX_TAGS:
        dec_stop(c, FRAME_UNSUPPORTED)
    elif dec_need(c, 8):
        dec_type_or_length(c, be16(c.p + c.off + 6), c.off + 8)


cdef void dec_pppoe(Cursor* c) noexcept nogil:
    cdef uint32_t size
    if not dec_need(c, 6):
        return
    if c.p[c.off] != 0x11:
        dec_stop(c, FRAME_MALFORMED)
    elif c.p[c.off + 1] != 0:
        dec_stop(c, FRAME_NOT_IP)
    else:
        size = be16(c.p + c.off + 4)
        dec_enter(c, LAYER_PPP, c.off + 6)
        dec_limit(c, size)


cdef void dec_llc(Cursor* c) noexcept nogil:
    cdef uint32_t head
    c.f.ethertype = 0
    if not dec_need(c, 3):
        return
    head = (<uint32_t>c.p[c.off] << 16) | be16(c.p + c.off + 1)
    if head == 0xAAAA03:
        dec_snap(c, c.off + 3, 0)
    elif head == 0x060603:
        dec_go(c, LAYER_IP, c.off + 3)
    elif head == 0xFEFE03:
        dec_go(c, LAYER_NLPID, c.off + 3)
    else:
        dec_stop(c, FRAME_NOT_IP)


cdef void dec_snap(Cursor* c, uint32_t off, uint32_t pad) noexcept nogil:
    cdef uint32_t oui, number
    c.off = off
    if not dec_need(c, 5):
        return
    oui = (<uint32_t>c.p[off] << 16) | be16(c.p + off + 1)
    number = be16(c.p + off + 3)
    if oui == 0 or oui == 0x0000F8:
        dec_type(c, number, off + 5)
    elif oui == 0x0080C2 and (number == 1 or number == 7):
        dec_enter(c, LAYER_ETHERNET, off + 5 + pad)
    else:
        dec_stop(c, FRAME_NOT_IP)


cdef void dec_nlpid(Cursor* c) noexcept nogil:
    cdef uint32_t kind
    c.f.ethertype = 0
    if not dec_need(c, 1):
        return
    if c.p[c.off] == 0:
        c.off += 1
        if not dec_need(c, 1):
            return
    kind = c.p[c.off]
    if kind == 0xCC or kind == 0x8E:
        dec_go(c, LAYER_IP, c.off + 1)
    elif kind == 0x80:
        dec_snap(c, c.off + 1, 0)
    elif kind == 0xCF:
        dec_enter(c, LAYER_PPP, c.off + 1)
    else:
        dec_stop(c, FRAME_NOT_IP)


cdef void dec_ppp(Cursor* c) noexcept nogil:
    cdef uint32_t size, number
    if c.off + 2 <= c.end and be16(c.p + c.off) == 0xFF03:
        c.off += 2
    if not dec_need(c, 1):
        return
    size = 1 if c.p[c.off] & 1 else 2
    if not dec_need(c, size):
        return
    number = c.p[c.off] if size == 1 else be16(c.p + c.off)
    if number == 0x0021 or number == 0x0057:
        dec_go(c, LAYER_IP, c.off + size)
    elif number == 0x0281 or number == 0x0283:
        dec_enter(c, LAYER_MPLS, c.off + size)
    else:
        dec_stop(c, FRAME_NOT_IP)


cdef void dec_cisco_hdlc(Cursor* c) noexcept nogil:
    if dec_need(c, 4):
        dec_type(c, be16(c.p + c.off + 2), c.off + 4)


cdef void dec_mpls(Cursor* c) noexcept nogil:
    cdef uint32_t i
    cdef uint8_t bottom
    for i in range(MAX_TAGS):
        if not dec_need(c, 4):
            return
        bottom = c.p[c.off + 2] & 1
        c.off += 4
        if bottom:
            dec_below_labels(c)
            return
    dec_stop(c, FRAME_UNSUPPORTED)


cdef void dec_below_labels(Cursor* c) noexcept nogil:
    cdef uint32_t nibble
    if not dec_need(c, 1):
        return
    nibble = c.p[c.off] >> 4
    if nibble == 4 or nibble == 6:
        c.layer = LAYER_IP
    elif nibble == 1:
        dec_stop(c, FRAME_NOT_IP)
    else:
        dec_go(c, LAYER_ETHERNET, c.off + (0 if nibble != 0 or is_bare(c) else 4))


cdef bint is_bare(Cursor* c) noexcept nogil:
    """A pseudowire without control word: a MAC address may begin with a zero nibble too."""
    cdef uint32_t number
    if c.off + 14 > c.end or be16(c.p + c.off) == 0:
        return False
    number = be16(c.p + c.off + 12)
    return number == 0x0800 or number == 0x86DD or number == 0x0806 or number == 0x8100 or number == 0x88A8


cdef void dec_wlan(Cursor* c) noexcept nogil:
    cdef uint32_t kind, flags, size, qos
    c.f.ethertype = 0
    if not dec_need(c, 2):
        return
    kind = c.p[c.off]
    flags = c.p[c.off + 1]
    if kind & 0x0C != 0x08 or kind & 0x40 or flags & 0x40:
        dec_stop(c, FRAME_NOT_IP)
        return
    size = 30 if flags & 0x03 == 0x03 else 24
    qos = size if kind & 0x80 else 0
    if qos:
        size += 6 if flags & 0x80 else 2
    if not dec_need(c, size):
        return
    if c.p[c.off + 22] & 0x0F or (qos and c.p[c.off + qos] & 0x80):
        dec_stop(c, FRAME_NOT_IP)
    else:
        dec_go(c, LAYER_LLC, c.off + size)


cdef inline void link_begin(Cursor* c, uint16_t linktype) noexcept nogil:
    if linktype == 1:
        c.layer = LAYER_ETHERNET
    elif linktype == 101 or linktype == 12 or linktype == 14 or linktype == 228 or linktype == 229:
        c.layer = LAYER_IP
    else:
        link_other(c, linktype)


cdef void link_other(Cursor* c, uint16_t linktype) noexcept nogil:
    if linktype == 113:
        if dec_need(c, 16):
            link_cooked(c, be16(c.p + 2), be16(c.p + 14), 16)
    elif linktype == 276:
        if dec_need(c, 20):
            link_cooked(c, be16(c.p + 8), be16(c.p), 20)
    elif linktype == 0 or linktype == 108:
        link_null(c)
    elif linktype == 8:
        if dec_need(c, 16):
            dec_go(c, LAYER_IP, 16)
    elif linktype == 9 or linktype == 50:
        c.layer = LAYER_CISCO_HDLC if c.end > 0 and (c.p[0] == 0x0F or c.p[0] == 0x8F) else LAYER_PPP
    elif linktype == 51:
        dec_type(c, 0x8864, 0)
    elif linktype == 100:
        link_atm(c)
    elif linktype == 104:
        c.layer = LAYER_CISCO_HDLC
    elif linktype == 105:
        c.layer = LAYER_WLAN
    elif linktype == 107:
        link_frame_relay(c)
    elif linktype == 123:
        link_sunatm(c)
    elif linktype == 127:
        link_radiotap(c)
    elif linktype == 204:
        if dec_need(c, 1):
            dec_go(c, LAYER_PPP, 1)
    elif linktype == 274:
        link_mpacket(c)
    else:
        dec_stop(c, FRAME_UNSUPPORTED)


cdef inline bint is_ip_family(uint32_t family) noexcept nogil:
    return family == 2 or family == 10 or family == 23 or family == 24 or family == 28 or family == 30


cdef void link_null(Cursor* c) noexcept nogil:
    if not dec_need(c, 4):
        return
    if is_ip_family(be32(c.p)) or (c.p[1] == 0 and c.p[2] == 0 and c.p[3] == 0 and is_ip_family(c.p[0])):
        dec_go(c, LAYER_IP, 4)
    else:
        dec_stop(c, FRAME_NOT_IP)


cdef void link_frame_relay(Cursor* c) noexcept nogil:
    cdef uint32_t size
    for size in range(2, 5):
        if not dec_need(c, size):
            return
        if c.p[size - 1] & 1:
            break
    else:
        dec_stop(c, FRAME_MALFORMED)
        return
    c.off = size
    if not dec_need(c, 2):
        return
    if c.p[size] == 0x03:
        dec_go(c, LAYER_NLPID, size + 1)
    else:
        dec_type(c, be16(c.p + size), size + 2)


cdef void link_atm(Cursor* c) noexcept nogil:
    cdef uint32_t off = c.off
    if off + 3 <= c.end and c.p[off] == 0xAA and c.p[off + 1] == 0xAA and c.p[off + 2] == 0x03:
        dec_snap(c, off + 3, 2)
    else:
        c.layer = LAYER_LLC


cdef void link_sunatm(Cursor* c) noexcept nogil:
    cdef uint8_t kind
    if not dec_need(c, 4):
        return
    kind = c.p[0] & 0x0F
    c.off = 4
    if kind == 2:
        link_atm(c)
    elif kind == 1:
        dec_go(c, LAYER_ETHERNET, 6)
    else:
        dec_stop(c, FRAME_NOT_IP)


cdef void link_cooked(Cursor* c, uint32_t hardware, uint32_t number, uint32_t off) noexcept nogil:
    if hardware == 824:
        dec_stop(c, FRAME_NOT_IP)
    elif number == 4:
        dec_go(c, LAYER_LLC, off)
    else:
        dec_type(c, number, off)


cdef void link_radiotap(Cursor* c) noexcept nogil:
    cdef uint32_t size
    if not dec_need(c, 8):
        return
    size = c.p[2] | (<uint32_t>c.p[3] << 8)
    if size < 8:
        dec_stop(c, FRAME_MALFORMED)
    else:
        dec_go(c, LAYER_WLAN, size)


cdef void link_mpacket(Cursor* c) noexcept nogil:
    if not dec_need(c, 8):
        return
    if c.p[7] == 0xD5:
        dec_go(c, LAYER_ETHERNET, 8)
    else:
        dec_stop(c, FRAME_NOT_IP)
