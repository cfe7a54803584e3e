# The flow table as Python sees it: making, draining, counting; `NativeFlowTable` for whoever needs a table alone.
from cpython.buffer cimport PyBuffer_FillInfo
from libc.stdint cimport INT64_MAX, uintptr_t
from libc.stdlib cimport qsort

import numpy as np

cdef struct Serial:
    uint64_t serial
    int32_t slot


cdef uint64_t next_seed(uint64_t* state) noexcept nogil:
    # splitmix64: four words from one, none of them 0 in practice
    cdef uint64_t z
    state[0] += 0x9E3779B97F4A7C15u
    z = (state[0] ^ state[0] >> 30) * 0xBF58476D1CE4E5B9u
    z = (z ^ z >> 27) * 0x94D049BB133111EBu
    return z ^ z >> 31


cdef FlowTable* table_of(uint32_t capacity, object timeouts, uint64_t seed=0) except NULL:
    """A table of `capacity` flows; MemoryError or ValueError when it cannot be. No result depends on `seed`: give a
    random one where strangers choose the addresses."""
    from packhound.net.flow import FLOW_DTYPE
    from packhound.net.timeouts import IDLE_AFTER, as_array
    cdef Flow probe
    cdef FlowTable* t
    cdef uint32_t places = 16
    cdef size_t size = <size_t>capacity * sizeof(Flow) + 63
    if capacity < 1 or capacity > 1 << 28:
        raise ValueError("a flow table holds between 1 and 2^28 flows")
    if FLOW_DTYPE.itemsize != RECORD_SIZE or <size_t>((<char*>&probe.touched) - (<char*>&probe)) != RECORD_SIZE:
        raise RuntimeError("the flow record differs between kernel and FLOW_DTYPE")
    values = as_array(timeouts)
    while places < capacity + capacity // 2:
        places <<= 1
    t = <FlowTable*>calloc(1, sizeof(FlowTable))
    if t == NULL:
        raise MemoryError("flow table")
    t.flows_memory = calloc(1, size)
    t.index = <uint64_t*>calloc(places, sizeof(uint64_t))
    t.links = <Link*>calloc(capacity, sizeof(Link))
    if t.flows_memory == NULL or t.index == NULL or t.links == NULL:
        table_free(t)
        raise MemoryError("flow table")
    packhound_huge(t.flows_memory, size)
    packhound_huge(t.index, places * sizeof(uint64_t))
    packhound_huge(t.links, capacity * sizeof(Link))
    t.flows = <Flow*>((<uintptr_t>t.flows_memory + 63) & ~(<uintptr_t>63))
    t.mask = places - 1
    t.capacity = capacity
    t.free_slot = t.newest = -1
    t.idle_after = IDLE_AFTER
    load_seeds(t, seed)
    load_classes(t, values)
    return t


cdef void load_seeds(FlowTable* t, uint64_t seed) noexcept:
    cdef int i
    for i in range(4):
        t.seeds[i] = next_seed(&seed)


cdef int load_classes(FlowTable* t, object timeouts) except -1:
    from packhound.net.timeouts import BY_STATE, TCP, UDP, by_app
    cdef int i
    for i, value in enumerate(timeouts):
        t.timeouts[i] = value
        t.oldest_of[i] = t.newest_of[i] = -1
    for i in range(16):
        t.state_class[i] = BY_STATE.get(i, CLASS_BY_APP)
    tcp, udp = by_app(TCP), by_app(UDP)
    for i in range(256):
        t.tcp_class[i] = tcp[i]
        t.udp_class[i] = udp[i]
    return 0


cdef void table_free(FlowTable* t) noexcept:
    if t != NULL:
        free(t.flows_memory)
        free(t.index)
        free(t.links)
        free(t.ended)
        free(t)


cdef void table_reset_fsets(FlowTable* t, uint32_t fset) noexcept nogil:
    cdef uint32_t i
    for i in range(t.unused):
        t.flows[i].fset[0] = t.flows[i].fset[1] = fset


cdef object table_row(FlowTable* t, int32_t slot):
    """A copy of the record in `slot`."""
    from packhound.net.flow import FLOW_DTYPE
    if slot < 0 or <uint32_t>slot >= t.capacity:
        raise IndexError("no such flow slot")
    return np.frombuffer(<bytes>(<char*>&t.flows[slot])[:RECORD_SIZE], FLOW_DTYPE)[0]


cdef class Records:
    """Memory of ended flows on its way into an array, freed with it."""

    cdef uint8_t* data
    cdef Py_ssize_t size

    def __getbuffer__(self, Py_buffer* view, int flags):
        PyBuffer_FillInfo(view, self, self.data, self.size, 0, flags)

    def __dealloc__(self):
        free(self.data)


cdef object table_drain(FlowTable* t):
    """Ended flows since the last call; a large buffer is handed over instead of copied."""
    from packhound.net.flow import FLOW_DTYPE
    cdef Records records
    cdef uint8_t[::1] view
    if t.ended_count == 0:
        return np.zeros(0, FLOW_DTYPE)
    if t.ended_count >= 4096:
        records = Records()
        records.data = t.ended
        records.size = t.ended_count * RECORD_SIZE
        t.ended = NULL
        t.ended_count = t.ended_room = 0
        return np.frombuffer(records, FLOW_DTYPE)
    out = np.empty(t.ended_count, FLOW_DTYPE)
    view = out.view(np.uint8)
    memcpy(&view[0], t.ended, t.ended_count * RECORD_SIZE)
    t.ended_count = 0
    return out


cdef int by_serial(const void* a, const void* b) noexcept nogil:
    cdef uint64_t one = (<const Serial*>a).serial, two = (<const Serial*>b).serial
    return (one > two) - (one < two)


cdef int table_flush(FlowTable* t) except -1:
    """End every flow, in order of serial."""
    cdef uint32_t i
    cdef uint64_t count = 0, k
    cdef Serial* live = <Serial*>malloc((t.active + 1) * sizeof(Serial))
    if live == NULL:
        raise MemoryError("flow table")
    t.newest = -1
    with nogil:
        for i in range(t.unused):
            if t.flows[i].serial:
                live[count].serial = t.flows[i].serial
                live[count].slot = <int32_t>i
                count += 1
        qsort(live, count, sizeof(Serial), by_serial)
        for k in range(count):
            finish(t, &t.flows[live[k].slot], END_SHUTDOWN)
    free(live)
    return 0


cdef dict table_counters(FlowTable* t):
    return {
        "active": t.active, "created": t.created, "ended_idle": t.ends[END_IDLE], "ended_fin": t.ends[END_FIN],
        "ended_rst": t.ends[END_RST], "ended_port_reuse": t.ends[END_PORT_REUSE], "evicted": t.ends[END_EVICTED],
        "ended_shutdown": t.ends[END_SHUTDOWN], "evicted_finished": t.gone[GONE_FINISHED],
        "evicted_idle": t.gone[GONE_IDLE], "evicted_live": t.gone[GONE_LIVE], "evicted_media": t.gone[GONE_MEDIA],
        "records_lost": t.records_lost,
    }


cdef int frame_from(object f, Frame* out) except -1:
    """What the table reads of a packhound.net.frame.Frame."""
    cdef bytes src = bytes(f.src), dst = bytes(f.dst)
    if len(src) != 16 or len(dst) != 16:
        raise ValueError("an address has 16 bytes")
    memset(out, 0, sizeof(Frame))
    memcpy(out.src, <const char*>src, 16)
    memcpy(out.dst, <const char*>dst, 16)
    out.ip_version, out.proto, out.tcp_flags, out.tenant = f.ip_version, f.proto, f.tcp_flags, f.tenant
    out.vlan, out.sport, out.dport, out.window = f.vlan, f.sport, f.dport, f.window
    out.seq, out.ack, out.payload_wire = f.seq, f.ack, f.payload_wire
    return 0


cdef class NativeFlowTable:
    """The table alone, with the methods of packhound.net.flowtable.FlowTable."""

    cdef FlowTable* table

    def __cinit__(self, *, uint32_t capacity=65536, timeouts=None, uint64_t seed=0):
        from packhound.net.timeouts import DEFAULT
        self.table = table_of(capacity, timeouts or DEFAULT, seed)

    def __dealloc__(self):
        table_free(self.table)

    def update(self, frame, *, uint32_t wirelen, int64_t ts, uint16_t iface):
        """Account for one packet; return its flow's slot, its direction (0, 1) and whether the flow is new."""
        cdef Frame f
        cdef uint8_t direction = 0, is_new = 0
        frame_from(frame, &f)
        slot = flow_update(self.table, &f, wirelen, ts, iface, &direction, &is_new)
        return slot, direction, bool(is_new)

    def row(self, int32_t slot):
        """A copy of the record in `slot`."""
        return table_row(self.table, slot)

    def write(self, int32_t slot, *, uint8_t app, uint16_t flags, fset=(0, 0)):
        """Write what others than the table write into a flow, without `changed`."""
        cdef Flow* flow
        if slot < 0 or <uint32_t>slot >= self.table.capacity:
            raise IndexError("no such flow slot")
        flow = flow_at(self.table, slot)
        flow.app, flow.flags, flow.fset[0], flow.fset[1] = app, flags, fset[0], fset[1]

    def changed(self, int32_t slot):
        """Put a flow whose `app` or `flags` were written under its new timeout; a new timeout begins now."""
        if slot < 0 or <uint32_t>slot >= self.table.capacity:
            raise IndexError("no such flow slot")
        flow_changed(self.table, flow_at(self.table, slot))

    def expire(self, int64_t now):
        """End every flow that has been silent for its timeout at packet time `now` (ns)."""
        with nogil:
            flow_expire(self.table, now)

    def drain(self):
        """Flows ended since the last call (FLOW_DTYPE), in the order they ended."""
        return table_drain(self.table)

    def flush(self):
        """End every flow, in order of serial: shutdown."""
        table_flush(self.table)

    @property
    def counters(self):
        """Counters since the start, by name."""
        return table_counters(self.table)
