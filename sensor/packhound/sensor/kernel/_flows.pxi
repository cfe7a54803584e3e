# The flow table. Native twin of packhound.net.flowtable: same slots, same order, same records, byte for byte.
# An open-addressing index over the symmetric key with a secret seed; one doubly linked queue per timeout class, least
# recently used first, so that expiry and eviction touch only what goes.

include "_flow_types.pxi"
include "_tcp.pxi"


cdef inline uint64_t word(const uint8_t* p) noexcept nogil:
    cdef uint64_t value
    memcpy(&value, p, 8)
    return value


cdef inline uint32_t flow_hash(const FlowTable* t, const Frame* f) noexcept nogil:
    # the same for both directions: the smaller end first
    cdef uint64_t a = word(f.src), b = word(f.dst), c, d, h
    cdef uint64_t low = f.sport, high = f.dport
    if f.ip_version == 4:
        a = a << 32 | low
        b = b << 32 | high
        if a > b:
            a, b = b, a
        h = packhound_mix(a ^ t.seeds[0] ^ <uint64_t>f.proto << 24, b ^ t.seeds[1])
    else:
        c = word(f.src + 8)
        d = word(f.dst + 8)
        if a > b or (a == b and (c > d or (c == d and low > high))):
            a, b = b, a
            c, d = d, c
            low, high = high, low
        h = packhound_mix(a ^ t.seeds[0], b ^ t.seeds[1]) ^ packhound_mix(c ^ t.seeds[2], d ^ t.seeds[3])
        h = packhound_mix(h ^ t.seeds[2], t.seeds[1] ^ (<uint64_t>f.proto << 32 | low << 16 | high))
    if f.tenant:
        h = packhound_mix(h ^ f.tenant, t.seeds[3])
    return <uint32_t>(h ^ h >> 32)


cdef bint is_one_way(uint8_t proto, uint16_t kind) noexcept nogil:
    # ICMP types without a counterpart: packhound.net.transport says which have one
    if proto == 1:
        return kind > 31 or not (0x7E701 >> kind) & 1
    if proto == 58:
        return kind < 128 or kind > 159 or not (0x319EF >> (kind - 128)) & 1
    return False


cdef inline int direction_of(const Flow* flow, const Frame* f) noexcept nogil:
    """0 or 1 when the packet belongs to the flow, else -1."""
    # no branch on the direction: nobody can predict it, and a wrong guess waits for memory
    cdef uint64_t a = word(f.src), b = word(f.src + 8), c = word(f.dst), d = word(f.dst + 8)
    cdef uint64_t p = word(flow.src), q = word(flow.src + 8), r = word(flow.dst), s = word(flow.dst + 8)
    cdef uint32_t ports = <uint32_t>f.sport << 16 | f.dport, back = <uint32_t>f.dport << 16 | f.sport
    cdef uint32_t own = <uint32_t>flow.sport << 16 | flow.dport
    cdef uint64_t other = (flow.proto ^ f.proto) | (flow.ip_version ^ f.ip_version) | (flow.tenant ^ f.tenant)
    cdef uint64_t forth_differs = (a ^ p) | (b ^ q) | (c ^ r) | (d ^ s) | (ports ^ own)
    cdef uint64_t back_differs = (a ^ r) | (b ^ s) | (c ^ p) | (d ^ q) | (back ^ own)
    cdef int backward = forth_differs != 0
    if other or (backward and back_differs):
        return -1
    if backward and (f.proto == 1 or f.proto == 58) and is_one_way(f.proto, f.sport):
        return -1
    return backward


cdef inline void index_put(FlowTable* t, const Flow* flow) noexcept nogil:
    cdef uint32_t at = flow.hash & t.mask
    while t.index[at]:
        at = (at + 1) & t.mask
    t.index[at] = <uint64_t>flow.hash << 32 | <uint32_t>(flow.slot + 1)


cdef void index_remove(FlowTable* t, const Flow* flow) noexcept nogil:
    cdef uint32_t at = flow.hash & t.mask, hole, home
    while <uint32_t>t.index[at] != <uint32_t>(flow.slot + 1):
        at = (at + 1) & t.mask
    hole = at
    while True:
        at = (at + 1) & t.mask
        if t.index[at] == 0:
            break
        home = <uint32_t>(t.index[at] >> 32) & t.mask
        if ((at - home) & t.mask) >= ((at - hole) & t.mask):
            t.index[hole] = t.index[at]
            hole = at
    t.index[hole] = 0


cdef inline Flow* flow_at(FlowTable* t, int32_t slot) noexcept nogil:
    return &t.flows[slot]


cdef inline Flow* flow_live(FlowTable* t, int32_t slot, uint64_t serial) noexcept nogil:
    """The flow of that serial if it still lives in `slot`, else NULL."""
    if slot < 0 or <uint32_t>slot >= t.capacity or serial == 0 or t.flows[slot].serial != serial:
        return NULL
    return &t.flows[slot]


cdef inline void queue_remove(FlowTable* t, int32_t slot, uint8_t cls) noexcept nogil:
    cdef Link* link = &t.links[slot]
    if link.older >= 0:
        t.links[link.older].newer = link.newer
    else:
        t.oldest_of[cls] = link.newer
    if link.newer >= 0:
        t.links[link.newer].older = link.older
    else:
        t.newest_of[cls] = link.older


cdef inline void queue_append(FlowTable* t, int32_t slot, uint8_t cls) noexcept nogil:
    cdef Link* link = &t.links[slot]
    link.newer = -1
    link.older = t.newest_of[cls]
    if link.older >= 0:
        t.links[link.older].newer = slot
    else:
        t.oldest_of[cls] = slot
    t.newest_of[cls] = slot


cdef inline void requeue(FlowTable* t, Flow* flow, int32_t slot, uint8_t cls) noexcept nogil:
    queue_remove(t, slot, flow.cls)
    queue_append(t, slot, cls)
    flow.cls = cls


cdef inline uint8_t class_of(const FlowTable* t, const Flow* flow) noexcept nogil:
    cdef uint8_t found
    if flow.flags & FLOW_MEDIA:
        return CLASS_MEDIA
    if flow.proto == 6:
        found = t.state_class[flow.state]
        return t.tcp_class[flow.app] if found == CLASS_BY_APP else found
    if flow.proto != 17:
        return CLASS_OTHER
    if flow.flags & FLOW_DRAINING:
        return CLASS_DRAINING
    found = t.udp_class[flow.app]
    if found == CLASS_QUIC and (flow.payload_packets[0] < 2 or flow.payload_packets[1] < 2):
        return CLASS_QUIC_OPENING
    return found


cdef void flow_changed(FlowTable* t, Flow* flow) noexcept nogil:
    """Put a flow whose `app` or `flags` were written under its new timeout; a new timeout begins now."""
    cdef uint8_t cls = class_of(t, flow)
    if flow.serial and cls != flow.cls:
        flow.touched = t.clock
        requeue(t, flow, flow.slot, cls)


cdef inline void settle(FlowTable* t) noexcept nogil:
    # what was written into the flow of the newest packet since may have put it into another class
    cdef Flow* flow
    cdef uint8_t cls
    if t.newest >= 0:
        flow = &t.flows[t.newest]
        cls = class_of(t, flow)
        if cls != flow.cls:
            requeue(t, flow, t.newest, cls)
        t.newest = -1


cdef void export_record(FlowTable* t, const Flow* flow) noexcept nogil:
    cdef uint64_t room
    cdef uint8_t* grown
    if t.ended_count == t.ended_room:
        room = t.ended_room * 2 if t.ended_room else 256
        grown = <uint8_t*>realloc(t.ended, room * RECORD_SIZE)
        if grown == NULL:
            t.records_lost += 1
            return
        t.ended = grown
        t.ended_room = room
    memcpy(t.ended + t.ended_count * RECORD_SIZE, flow, RECORD_SIZE)
    t.ended_count += 1


cdef void finish(FlowTable* t, Flow* flow, uint8_t why) noexcept nogil:
    if why == END_IDLE:
        if closed_by_fin(flow):
            why = END_FIN
        elif flow.state == STATE_CLOSED:
            why = END_RST
    flow.end = why
    export_record(t, flow)
    t.ends[why] += 1
    t.active -= 1
    index_remove(t, flow)
    queue_remove(t, flow.slot, flow.cls)
    flow.serial = 0
    t.links[flow.slot].older = t.free_slot
    t.free_slot = flow.slot


cdef void flow_expire(FlowTable* t, int64_t now) noexcept nogil:
    """End every flow that has been silent for its timeout at packet time `now`."""
    cdef int cls
    cdef Flow* flow
    settle(t)
    if now > t.clock:
        t.clock = now
    for cls in range(CLASSES):
        while t.oldest_of[cls] >= 0:
            flow = &t.flows[t.oldest_of[cls]]
            if t.clock - flow.touched < t.timeouts[cls]:
                break
            finish(t, flow, END_IDLE)


cdef int32_t oldest_among(const FlowTable* t, int first, int end) noexcept nogil:
    """The least recently used flow of some classes (of equal ones that of the lowest class), -1: none."""
    cdef int cls
    cdef int32_t found = -1, head
    for cls in range(first, end):
        head = t.oldest_of[cls]
        if head >= 0 and (found < 0 or t.flows[head].touched < t.flows[found].touched):
            found = head
    return found


cdef void evict(FlowTable* t) noexcept nogil:
    cdef int cause = GONE_FINISHED
    cdef int32_t slot = oldest_among(t, 0, CLASS_OPENING)
    if slot < 0:
        slot = oldest_among(t, CLASS_OPENING, CLASS_MEDIA)
        cause = GONE_LIVE
        if slot >= 0 and t.clock - t.flows[slot].touched >= t.idle_after:
            cause = GONE_IDLE
    if slot < 0:
        slot = t.oldest_of[CLASS_MEDIA]
        cause = GONE_MEDIA
    t.gone[cause] += 1
    finish(t, &t.flows[slot], END_EVICTED)


cdef void swap_ends(Flow* flow) noexcept nogil:
    cdef uint8_t address[16]
    memcpy(address, flow.src, 16)
    memcpy(flow.src, flow.dst, 16)
    memcpy(flow.dst, address, 16)
    flow.sport, flow.dport = flow.dport, flow.sport


cdef Flow* flow_create(FlowTable* t, const Frame* f, uint32_t h, int64_t ts, uint16_t iface) noexcept nogil:
    cdef int32_t slot
    cdef Flow* flow
    if t.free_slot < 0 and t.unused == t.capacity:
        evict(t)
    if t.free_slot >= 0:
        slot = t.free_slot
        t.free_slot = t.links[slot].older
    else:
        slot = t.unused
        t.unused += 1
    t.created += 1
    t.active += 1
    flow = &t.flows[slot]
    memset(flow, 0, sizeof(Flow))
    flow.serial = t.created
    flow.slot = slot
    flow.rtt = -1
    flow.first = flow.last = ts
    flow.tenant = f.tenant
    flow.vlan = f.vlan
    flow.iface = iface
    flow.ip_version = f.ip_version
    flow.proto = f.proto
    memcpy(flow.src, &f.src[0], 16)
    memcpy(flow.dst, &f.dst[0], 16)
    flow.sport = f.sport
    flow.dport = f.dport
    if f.proto == 6 and f.tcp_flags & (TCP_SYN | TCP_ACK) == TCP_SYN | TCP_ACK:
        swap_ends(flow)
    flow.hash = h
    index_put(t, flow)
    flow.cls = CLASS_OTHER
    queue_append(t, slot, CLASS_OTHER)
    return flow


cdef Flow* flow_find(FlowTable* t, const Frame* f, uint32_t h, int* direction) noexcept nogil:
    cdef uint32_t at = h & t.mask
    cdef Flow* flow
    while t.index[at]:
        if <uint32_t>(t.index[at] >> 32) == h:
            flow = &t.flows[<uint32_t>t.index[at] - 1]
            packhound_prefetch(&t.links[<uint32_t>t.index[at] - 1])
            packhound_prefetch(&flow.packets)
            packhound_prefetch(&flow.fset)
            direction[0] = direction_of(flow, f)
            if direction[0] >= 0:
                return flow
        at = (at + 1) & t.mask
    return NULL


cdef void swap_u32(uint32_t* pair) noexcept nogil:
    pair[0], pair[1] = pair[1], pair[0]


cdef void swap_u64(uint64_t* pair) noexcept nogil:
    pair[0], pair[1] = pair[1], pair[0]


cdef void swap_u8(uint8_t* pair) noexcept nogil:
    pair[0], pair[1] = pair[1], pair[0]


cdef void turn(Flow* flow) noexcept nogil:
    # the initiator is the other side; the index does not care
    cdef Hole holes[2]
    cdef uint16_t even
    swap_ends(flow)
    swap_u64(flow.packets)
    swap_u64(flow.bytes)
    swap_u64(flow.payload)
    swap_u32(flow.payload_packets)
    swap_u32(flow.isn)
    swap_u32(flow.retransmissions)
    swap_u32(flow.out_of_order)
    swap_u32(flow.zero_window)
    swap_u32(flow.fset)
    swap_u32(flow.next_seq)
    swap_u32(flow.fin_end)
    swap_u32(flow.hole_at)
    swap_u8(flow.tcp_flags)
    swap_u8(flow.has_isn)
    memcpy(holes, flow.holes[0], sizeof(holes))
    memcpy(flow.holes[0], flow.holes[1], sizeof(holes))
    memcpy(flow.holes[1], holes, sizeof(holes))
    even = MARK_NEXT | MARK_FIN | MARK_FIN_ACKED | MARK_SHUT
    flow.marks = (flow.marks & MARK_SYN_TS) | (flow.marks & even) << 1 | (flow.marks >> 1 & even)


cdef inline void flow_count(Flow* flow, const Frame* f, uint8_t d, uint32_t wirelen, int64_t ts) noexcept nogil:
    flow.packets[d] += 1
    flow.bytes[d] += wirelen
    if f.payload_wire:
        flow.payload[d] += f.payload_wire
        flow.payload_packets[d] += 1
    if ts > flow.last:
        flow.last = ts
    elif ts < flow.last and ts < flow.first:
        flow.first = ts
    if f.proto == 6:
        tcp_follow(flow, f, d, ts)


cdef int32_t flow_update(FlowTable* t, const Frame* f, uint32_t wirelen, int64_t ts, uint16_t iface,
                         uint8_t* direction, uint8_t* is_new) noexcept nogil:
    """Account for one packet; return the slot of its flow."""
    cdef uint32_t h = flow_hash(t, f)
    cdef Flow* flow
    cdef int d = 0
    cdef uint8_t cls
    cdef int32_t slot
    settle(t)
    if ts > t.clock:
        t.clock = ts
    if t.clock >= t.next_tick:
        flow_expire(t, t.clock)
        t.next_tick = t.clock - t.clock % TICK
        t.next_tick = t.next_tick + TICK if t.next_tick <= INT64_MAX - TICK else INT64_MAX
    flow = flow_find(t, f, h, &d)
    if flow != NULL and t.clock - flow.touched >= t.timeouts[flow.cls]:
        finish(t, flow, END_IDLE)
        flow = NULL
    if flow != NULL and f.proto == 6 and f.tcp_flags & TCP_SYN:
        if tcp_is_reuse(flow, f, <uint8_t>d):
            finish(t, flow, END_PORT_REUSE)
            flow = NULL
        elif tcp_is_turned(flow, f, <uint8_t>d):
            turn(flow)
            d = 1 - d
    is_new[0] = flow == NULL
    if flow == NULL:
        flow = flow_create(t, f, h, ts, iface)
        d = direction_of(flow, f)
    direction[0] = <uint8_t>d
    flow_count(flow, f, <uint8_t>d, wirelen, ts)
    slot = <int32_t>(flow - t.flows)
    flow.touched = t.clock
    cls = class_of(t, flow)
    if t.newest_of[cls] != slot or flow.cls != cls:
        requeue(t, flow, slot, cls)
    t.newest = slot
    return slot

include "_flowtable.pxi"
