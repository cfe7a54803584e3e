# The walk: decode -> flow -> detect -> judge, one packet after the other. Native side of portable.py.

cdef enum:
    EV_FORWARD = 1
    EV_UNHOLD = 4
    EV_NEW = 8
    EV_DISSECT = 16
    EV_WATCH = 32
    EV_MARK = 64
    EV_FRAGMENT = 128
    EV_YIELDS = EV_NEW | EV_DISSECT | EV_WATCH | EV_MARK | EV_FRAGMENT

cdef enum:
    MODE_IGNORE = 0
    MODE_PREFILTER = 1
    MODE_ALWAYS = 2
    GIVE_UP_AFTER = 8
    EVENTS_MAX = 65536
    PROGRAMS_MAX = 64

cdef packed struct Event:
    uint64_t flow
    uint64_t mask
    uint32_t pkt
    int32_t slot
    uint32_t fset
    uint32_t l4
    uint32_t payload
    uint32_t payload_len
    uint32_t payload_wire
    uint32_t seq
    uint16_t flags
    uint8_t dir
    uint8_t app
    uint8_t proto
    uint8_t tcp_flags
    uint16_t pad

cdef struct Counts:
    uint64_t seen
    uint64_t seen_bytes
    uint64_t rejected
    uint64_t forwarded
    uint64_t held
    uint64_t unmatched
    uint64_t sampled_out
    uint64_t duplicate_capture
    uint64_t yielded
    uint64_t by_status[6]

cdef struct Code:
    BpfInsn* insns        # NULL: accepts everything
    uint32_t count

cdef struct Port:          # one interface
    uint16_t linktype
    Code capture
    Code filters[PROGRAMS_MAX]

cdef struct Plan:
    uint8_t mode[256]
    uint8_t hold[256]
    uint8_t first_only[256]
    uint32_t limits[256]
    Prefilter* literals[256]
    uint8_t ports[65536]
    uint8_t protos[256]
    uint8_t vlans[4096]
    uint32_t* v4            # pairs low, high
    uint32_t v4_count
    uint8_t* v6             # pairs of 16 bytes
    uint32_t v6_count
    uint64_t* marks
    uint32_t mark_count
    uint8_t always
    uint8_t hold_unknown
    uint8_t on_detect
    uint8_t dissects
    uint32_t base_fset
    uint32_t programs

cdef struct Walk:
    FlowTable* table
    DecodeCfg config
    Plan plan
    Port* ports
    uint32_t port_count
    uint64_t* need           # by filter set
    uint8_t* free_set
    uint32_t fset_count
    uint32_t epoch
    uint32_t watch_version
    WatchSet watches
    Hold hold
    Copies copies
    uint64_t first_number    # capture number of packet 0 of the block being walked
    Counts counts

cdef bint in_v4(const Plan* plan, uint32_t number) noexcept nogil:
    cdef uint32_t low = 0, high = plan.v4_count, middle
    while low < high:
        middle = (low + high) >> 1
        if number < plan.v4[2 * middle]:
            high = middle
        elif number > plan.v4[2 * middle + 1]:
            low = middle + 1
        else:
            return True
    return False

cdef bint mapped(const uint8_t* a) noexcept nogil:
    cdef int i
    for i in range(10):
        if a[i]:
            return False
    return a[10] == 0xFF and a[11] == 0xFF

cdef uint32_t big32(const uint8_t* p) noexcept nogil:
    return <uint32_t>p[0] << 24 | <uint32_t>p[1] << 16 | <uint32_t>p[2] << 8 | p[3]

cdef bint in_ranges(const Plan* plan, const uint8_t* a, uint8_t version) noexcept nogil:
    cdef uint32_t low = 0, high = plan.v6_count, middle
    if version != 6:
        return plan.v4_count != 0 and in_v4(plan, big32(a))
    while low < high:
        middle = (low + high) >> 1
        if memcmp(a, plan.v6 + 32 * middle, 16) < 0:
            high = middle
        elif memcmp(a, plan.v6 + 32 * middle + 16, 16) > 0:
            low = middle + 1
        else:
            return True
    return plan.v4_count != 0 and mapped(a) and in_v4(plan, big32(a + 12))

cdef bint touches(const Plan* plan, const Frame* f) noexcept nogil:
    if plan.always or plan.protos[f.proto] or plan.vlans[f.vlan & 0xFFF]:
        return True
    if plan.ports[f.sport] or plan.ports[f.dport]:
        return True
    return in_ranges(plan, f.src, f.ip_version) or in_ranges(plan, f.dst, f.ip_version)

cdef uint64_t pcap_mask(const Port* port, uint32_t programs, uint64_t need, const uint8_t* p, uint32_t n,
                        uint32_t wirelen) noexcept nogil:
    cdef uint64_t mask = 0
    cdef uint32_t i
    for i in range(programs):
        if need >> i & 1 and bpf_run(port.filters[i].insns, port.filters[i].count, p, wirelen, n):
            mask |= <uint64_t>1 << i
    return mask

cdef bint passes(Walk* w, const Port* port, uint32_t fset, const uint8_t* p, uint32_t n, uint32_t wirelen,
                 uint64_t* mask) noexcept nogil:
    mask[0] = 0
    if fset == 0 or fset >= w.fset_count:
        return False
    mask[0] = pcap_mask(port, w.plan.programs, w.need[fset], p, n, wirelen)
    return w.free_set[fset] or mask[0] != 0

cdef uint16_t judge_new(Walk* w, const Frame* f, Flow* flow) noexcept nogil:
    cdef bint known
    if flow.epoch == w.epoch:
        return 0
    known = flow.epoch != 0
    flow.epoch = w.epoch
    flow.fset[0] = w.plan.base_fset
    flow.fset[1] = w.plan.base_fset
    flow.flags &= ~FLOW_SAMPLED
    if not known and w.plan.hold[0]:
        flow.flags |= FLOW_HOLD
    if (known and flow.flags & FLOW_EVER_WANTED) or touches(&w.plan, f):
        return EV_NEW
    return 0

cdef uint16_t judge_watch(Walk* w, const Frame* f, Flow* flow) noexcept nogil:
    if f.proto != 17 or flow.watch_version == w.watch_version:
        return 0
    flow.watch_version = w.watch_version
    if flow.flags & FLOW_WATCHED:
        return 0
    if (watch_has(&w.watches, f.ip_version, f.src, f.sport)
            or watch_has(&w.watches, f.ip_version, f.dst, f.dport)):
        return EV_WATCH
    return 0

cdef uint16_t unhold(Walk* w, Flow* flow) noexcept nogil:
    # nothing more can decide the flow: a wanted one's packets go to Python, an unwanted one's are let go here
    cdef Pile* pile
    if not flow.flags & FLOW_HOLD:
        return 0
    flow.flags &= ~FLOW_HOLD
    if flow.fset[0] or flow.fset[1]:
        return EV_UNHOLD
    pile = pile_of(&w.hold, flow.slot, flow.serial)
    if pile != NULL:
        pile_drop(&w.hold, pile)
    return 0

cdef uint16_t found_app(Walk* w, Flow* flow, uint8_t app, uint8_t confidence, uint8_t method) noexcept nogil:
    flow.app = app
    flow.confidence = confidence
    flow.method = method
    if w.plan.on_detect:
        return EV_NEW
    return 0 if w.plan.hold[app] else unhold(w, flow)

cdef uint16_t judge_carried(Walk* w, const Frame* f, const uint8_t* p, uint32_t n, uint8_t direction,
                            Flow* flow) noexcept nogil:
    # a flow that began as STUN: what it carries is what it is for
    cdef uint8_t confidence = 0
    cdef uint8_t app = refine(flow.app, p, n, f.proto, f.sport, f.dport, direction, flow.scratch, &confidence)
    if not app:
        return 0
    flow.flags |= FLOW_REFINED
    return found_app(w, flow, app, confidence, METHOD_TWO_PACKETS)

cdef uint16_t judge_app(Walk* w, const Frame* f, const uint8_t* p, uint32_t n, uint8_t direction,
                        Flow* flow) noexcept nogil:
    cdef uint8_t confidence = 0, method = 0, app
    cdef uint32_t packets = <uint32_t>(flow.payload_packets[0] + flow.payload_packets[1])
    app = detect(p, n, f.proto, f.sport, f.dport, direction, flow.scratch, packets, &confidence, &method)
    if app:
        flow.flags |= FLOW_DETECT_DONE
        return found_app(w, flow, app, confidence, method)
    if packets >= GIVE_UP_AFTER:
        flow.flags |= FLOW_DETECT_DONE
        if w.plan.on_detect:
            return EV_NEW
        return 0 if w.plan.hold_unknown else unhold(w, flow)
    return 0

cdef uint16_t judge_early(Walk* w, const Frame* f, uint8_t direction, Flow* flow) noexcept nogil:
    # data ahead of the first of its direction: that will say what it is, Python keeps this until then
    cdef uint32_t ahead = f.seq + (1 if f.tcp_flags & 2 else 0) - flow.isn[direction] - 1
    cdef uint16_t early = <uint16_t>(FLOW_EARLY << direction)
    if not w.plan.dissects or f.proto != 6 or not flow.has_isn[direction] or ahead == 0 or ahead >> 31:
        return 0
    if flow.payload_packets[direction] == 1:
        flow.flags |= early
    return EV_DISSECT if flow.flags & early else 0

cdef uint16_t judge_payload(Walk* w, const Frame* f, const uint8_t* p, uint32_t n, uint8_t direction,
                            Flow* flow) noexcept nogil:
    # p, n: the payload, or the whole message where the protocol is the message (ICMP)
    cdef uint16_t flags = 0
    cdef uint8_t app
    cdef uint64_t limit
    if not flow.app and not flow.flags & FLOW_DETECT_DONE:
        flags |= judge_app(w, f, p, n, direction, flow)
        if not flow.flags & FLOW_DETECT_DONE:
            return flags | judge_early(w, f, direction, flow)
    elif flow.app == APP_STUN:
        flags |= judge_carried(w, f, p, n, direction, flow)
    app = flow.app
    limit = <uint64_t>w.plan.limits[app] + (REFINED_MORE if flow.flags & FLOW_REFINED else 0)
    if not app or not w.plan.mode[app] or flow.flags & FLOW_QUIET or flow.payload_packets[direction] > limit:
        return flags
    if app == APP_QUIC and not starts_message(app, p, n):
        return flags
    if w.plan.mode[app] == MODE_ALWAYS or flow.flags & FLOW_STREAM:
        return flags | EV_DISSECT
    if not starts_message(app, p, n):
        return flags
    if torn(app, p, n, f.proto) or prefilter_hit(w.plan.literals[app], p, n):
        return flags | EV_DISSECT
    # a whole ClientHello without a literal; a ServerHello seen first (packets out of order) decides nothing
    if w.plan.first_only[app] and p[5] == 1:
        flow.flags |= FLOW_QUIET
        flags |= unhold(w, flow)
    return flags

cdef uint16_t judge_marks(const Plan* plan, const Flow* flow, uint32_t wirelen) noexcept nogil:
    cdef uint64_t total
    cdef uint32_t i
    if plan.mark_count == 0:
        return 0
    total = flow.bytes[0] + flow.bytes[1]
    for i in range(plan.mark_count):
        if total >= plan.marks[i] and total - wirelen < plan.marks[i]:
            return EV_MARK
    return 0

cdef void fill_event(Event* e, const Frame* f, uint32_t pkt) noexcept nogil:
    memset(e, 0, sizeof(Event))
    e.pkt = pkt
    e.slot = -1
    e.dir = 255
    e.l4 = f.l4
    e.payload = f.payload
    e.payload_len = f.payload_len
    e.payload_wire = f.payload_wire
    e.seq = f.seq
    e.proto = f.proto
    e.tcp_flags = f.tcp_flags

cdef bint keep_packet(Walk* w, const Flow* flow, const uint8_t* p, uint32_t n, uint32_t wirelen, int64_t ts,
                      uint16_t iface, const Event* e) noexcept nogil:
    cdef Held like
    like.next = NULL
    like.ts = ts
    like.number = w.first_number + e.pkt
    like.caplen = n
    like.wirelen = wirelen
    like.payload = e.payload
    like.iface = iface
    like.dir = e.dir
    like.app = e.app
    return hold_add(&w.hold, w.table, flow.slot, flow.serial, p, &like)

cdef void judge_flow(Walk* w, const Frame* f, const uint8_t* p, uint32_t n, uint32_t wirelen, int64_t ts,
                     uint16_t iface, bint standalone, Event* e) noexcept nogil:
    # e is filled; e.flags stays 0 when nothing wants the packet
    cdef uint8_t direction = 0, is_new = 0
    cdef uint16_t flags
    cdef int32_t slot = flow_update(w.table, f, wirelen, ts, iface, &direction, &is_new)
    cdef Flow* flow = flow_at(w.table, slot)
    flags = judge_new(w, f, flow)
    flags |= judge_watch(w, f, flow)
    if f.proto == 1 or f.proto == 58:
        flags |= judge_payload(w, f, p + f.l4, f.payload + f.payload_len - f.l4, direction, flow)
    elif f.payload_len:
        flags |= judge_payload(w, f, p + f.payload, f.payload_len, direction, flow)
    flags |= judge_marks(&w.plan, flow, wirelen)
    e.slot = slot
    e.flow = flow.serial
    e.dir = direction
    e.app = flow.app
    e.fset = flow.fset[direction]
    if flags & EV_YIELDS or standalone:
        w.counts.yielded += not standalone
    elif flow.flags & FLOW_HOLD and keep_packet(w, flow, p, n, wirelen, ts, iface, e):
        w.counts.held += 1
    else:
        flags |= unhold(w, flow)
        if passes(w, &w.ports[iface], e.fset, p, n, wirelen, &e.mask):
            w.counts.forwarded += 1
            flags |= EV_FORWARD
        elif flow.flags & FLOW_SAMPLED:
            w.counts.sampled_out += 1
        else:
            w.counts.unmatched += 1
    e.flags = flags

cdef void judge_packet(Walk* w, const uint8_t* p, uint32_t n, uint32_t wirelen, int64_t ts, uint16_t iface,
                       uint32_t index, Event* e) noexcept nogil:
    cdef Frame f
    cdef Port* port = &w.ports[iface]
    e.flags = 0
    if port.capture.insns != NULL and not bpf_run(port.capture.insns, port.capture.count, p, wirelen, n):
        w.counts.rejected += 1
        return
    w.counts.seen += 1
    w.counts.seen_bytes += wirelen
    decode(p, n, port.linktype, &w.config, &f)
    w.counts.by_status[f.status] += 1
    if w.copies.window and copy_seen(&w.copies, &f, p, n, ts, iface):
        w.counts.duplicate_capture += 1
        return
    fill_event(e, &f, index)
    if f.status == FRAME_FRAGMENT:
        w.counts.yielded += 1
        e.flags = EV_FRAGMENT
    elif f.l4:
        # an IP length that runs past the frame must not inflate the flow
        if wirelen < f.payload or f.payload_wire > wirelen - f.payload:
            f.payload_wire = wirelen - f.payload if wirelen > f.payload else 0
            e.payload_wire = f.payload_wire
        judge_flow(w, &f, p, n, wirelen, ts, iface, False, e)
    elif f.status == FRAME_NOT_IP and f.l3 and w.plan.mode[APP_ARP]:
        w.counts.yielded += 1
        e.app = APP_ARP
        e.payload = f.l3
        e.payload_len = n - f.l3
        e.payload_wire = e.payload_len
        e.flags = EV_DISSECT
    elif passes(w, port, w.plan.base_fset, p, n, wirelen, &e.mask):
        w.counts.forwarded += 1
        e.fset = w.plan.base_fset
        e.flags = EV_FORWARD
    else:
        w.counts.unmatched += 1

cdef uint32_t walk_block(Walk* w, const uint8_t* data, uint64_t size, const uint64_t* offset,
                         const uint32_t* caplen, const uint32_t* wirelen, const int64_t* ts,
                         const uint16_t* iface, uint32_t start, uint32_t count, Event* events,
                         uint32_t* emitted) noexcept nogil:
    cdef uint32_t i = start, k = 0
    while i < count:
        # a block that contradicts itself must not read outside its buffer
        if iface[i] < w.port_count and offset[i] <= size and caplen[i] <= size - offset[i]:
            judge_packet(w, data + offset[i], caplen[i], wirelen[i], ts[i], iface[i], i, &events[k])
            if events[k].flags:
                k += 1
                if events[k - 1].flags & EV_YIELDS:
                    i += 1
                    break
        i += 1
    emitted[0] = k
    return i
