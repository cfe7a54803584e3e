# The Python face of the walk: class Kernel, the same methods as portable.PortableKernel.
import os

from packhound.net.frame import DecodeConfig
from packhound.net.timeouts import DEFAULT
from packhound.sensor.kernel.events import EVENT_DTYPE

STATUS_NAMES = ("ok", "not_ip", "truncated", "malformed", "fragments", "unsupported")


cdef BpfInsn* code_of(object program, uint32_t* count) except? NULL:
    """A validated copy of a pcap program; NULL for None."""
    cdef BpfInsn* insns
    if program is None:
        count[0] = 0
        return NULL
    insns = bpf_load(program, count)
    return insns


cdef void free_code(Code* code) noexcept:
    free(code.insns)
    code.insns = NULL


cdef class Kernel:
    """One worker's native engine. `capacity`: flows in the table; `timeouts`, `config`: see their classes."""

    cdef Walk* w
    cdef Event* events
    cdef list filters_of_ports
    native = True

    def __cinit__(self, *, capacity=65536, timeouts=DEFAULT, config=None):
        self.w = <Walk*>calloc(1, sizeof(Walk))
        self.events = <Event*>calloc(EVENTS_MAX, sizeof(Event))
        if self.w == NULL or self.events == NULL:
            raise MemoryError("kernel")
        decode_cfg_load(config or DecodeConfig(), &self.w.config)
        self.w.table = table_of(capacity, timeouts)
        if self.w.table == NULL:
            raise MemoryError("flow table")
        self.w.hold.by_slot = <Pile**>calloc(capacity, sizeof(Pile*))
        if self.w.hold.by_slot == NULL:
            raise MemoryError("packets kept back")
        self.w.hold.slots = capacity
        self.set_hold_limits(64, 65536, 64 << 20)
        self.w.epoch = 1
        self._forget_sets()

    def __dealloc__(self):
        if self.w == NULL:
            return
        self._free_ports()
        self._free_plan()
        if self.w.hold.by_slot != NULL:
            hold_free(&self.w.hold)
        if self.w.table != NULL:
            table_free(self.w.table)
        free(self.w.need)
        free(self.w.free_set)
        free(self.w.watches.rows)
        copies_free(&self.w.copies)
        free(self.w)
        free(self.events)

    # plan and interfaces

    cdef void _free_ports(self) noexcept:
        cdef uint32_t i, k
        for i in range(self.w.port_count):
            free_code(&self.w.ports[i].capture)
            for k in range(PROGRAMS_MAX):
                free_code(&self.w.ports[i].filters[k])
        free(self.w.ports)
        self.w.ports = NULL
        self.w.port_count = 0

    cdef void _free_plan(self) noexcept:
        cdef int i
        for i in range(256):
            if self.w.plan.literals[i] != NULL:
                prefilter_free(self.w.plan.literals[i])
        free(self.w.plan.v4)
        free(self.w.plan.v6)
        free(self.w.plan.marks)
        memset(&self.w.plan, 0, sizeof(Plan))

    cdef int _forget_sets(self) except -1:
        free(self.w.need)
        free(self.w.free_set)
        self.w.need = <uint64_t*>calloc(1, sizeof(uint64_t))
        self.w.free_set = <uint8_t*>calloc(1, sizeof(uint8_t))
        self.w.fset_count = 1
        if self.w.need == NULL or self.w.free_set == NULL:
            raise MemoryError("filter sets")
        return 0

    def load(self, tables):
        """Swap the plan; every live flow is judged anew at its next packet."""
        cdef Plan* plan = &self.w.plan
        self._free_plan()
        self._forget_sets()
        fill_bytes(plan.mode, tables.mode, 256)
        fill_bytes(plan.hold, tables.hold, 256)
        fill_bytes(plan.first_only, tables.first_only, 256)
        for i in range(256):
            plan.limits[i] = tables.limits[i]
        for app, literals in tables.literals.items():
            plan.literals[<int>app] = prefilter_load(literals)
        headers = tables.headers
        fill_bytes(plan.ports, headers.ports, 65536)
        fill_bytes(plan.protos, headers.protos, 256)
        fill_bytes(plan.vlans, headers.vlans, 4096)
        plan.v4 = <uint32_t*>copy_of(np.ascontiguousarray(headers.v4, np.uint32))
        plan.v4_count = len(headers.v4)
        plan.v6 = <uint8_t*>copy_of(np.ascontiguousarray(headers.v6, np.uint8))
        plan.v6_count = len(headers.v6)
        plan.marks = <uint64_t*>copy_of(np.ascontiguousarray(tables.marks, np.uint64))
        plan.mark_count = len(tables.marks)
        plan.always = headers.always
        plan.hold_unknown = tables.hold_unknown
        plan.on_detect = tables.on_detect
        plan.dissects = tables.dissects
        plan.base_fset = tables.base_fset
        plan.programs = tables.programs
        self.w.epoch += 1
        table_reset_fsets(self.w.table, tables.base_fset)

    def set_interfaces(self, programs):
        """Link type and pcap programs of each interface, in the tap's order."""
        cdef Port* port
        cdef uint32_t k
        self._free_ports()
        self.w.ports = <Port*>calloc(max(len(programs), 1), sizeof(Port))
        if self.w.ports == NULL:
            raise MemoryError("interfaces")
        for each in programs:
            if len(each.filters) > PROGRAMS_MAX:
                raise ValueError(f"more than {PROGRAMS_MAX} different pcap expressions in one plan")
            port = &self.w.ports[self.w.port_count]
            port.linktype = each.linktype
            self.w.port_count += 1
            port.capture.insns = code_of(each.capture, &port.capture.count)
            for k, program in enumerate(each.filters):
                port.filters[k].insns = code_of(program, &port.filters[k].count)

    def define_fset(self, uint32_t number, *, uint64_t need, bint free):
        """Say of filter set `number` (dense, from 1) which programs its filters need and whether one needs none."""
        cdef uint64_t* needs
        cdef uint8_t* frees
        if number >= self.w.fset_count:
            needs = <uint64_t*>realloc(self.w.need, (number + 1) * sizeof(uint64_t))
            if needs == NULL:
                raise MemoryError("filter sets")
            self.w.need = needs
            frees = <uint8_t*>realloc(self.w.free_set, number + 1)
            if frees == NULL:
                raise MemoryError("filter sets")
            self.w.free_set = frees
            while self.w.fset_count <= number:
                self.w.need[self.w.fset_count] = 0
                self.w.free_set[self.w.fset_count] = 0
                self.w.fset_count += 1
        self.w.need[number] = need
        self.w.free_set[number] = free

    def watch(self, uint8_t version, bytes address not None, uint16_t port):
        """Watch a media endpoint (address: 16 bytes): flows with this end yield WATCH once."""
        if len(address) != 16:
            raise ValueError("a watched address has 16 bytes")
        watch_add(&self.w.watches, version, <const uint8_t*><const char*>address, port)
        self.w.watch_version += 1

    def unwatch(self, uint8_t version, bytes address not None, uint16_t port):
        """Stop watching; flows already found keep their verdict."""
        if len(address) != 16:
            raise ValueError("a watched address has 16 bytes")
        watch_remove(&self.w.watches, version, <const uint8_t*><const char*>address, port)

    def set_copies(self, uint64_t window):
        """Count a packet once that comes over several interfaces within `window` ns; 0: every time."""
        copies_set(&self.w.copies, window, os.urandom(16))

    # the walk

    def scan(self, block, uint32_t start):
        """Walk `block` from packet `start`; return the events and the index to go on from (n: block done)."""
        cdef const uint8_t[::1] data = np.frombuffer(block.data, np.uint8) if not isinstance(block.data, np.ndarray) else block.data
        cdef const uint64_t[::1] offset = block.offset
        cdef const uint32_t[::1] caplen = block.caplen
        cdef const uint32_t[::1] wirelen = block.wirelen
        cdef const int64_t[::1] ts = block.ts
        cdef const uint16_t[::1] iface = block.iface
        cdef uint32_t count = <uint32_t>len(block.offset), emitted = 0, at = start
        if not (len(caplen) == len(wirelen) == len(ts) == len(iface) == count) or count > EVENTS_MAX:
            raise ValueError("the columns of a block differ in length, or it is too long")
        self.w.first_number = block.first_number
        if start < count:
            with nogil:
                at = walk_block(self.w, &data[0], <uint64_t>data.shape[0], &offset[0], &caplen[0], &wirelen[0],
                                &ts[0], &iface[0], start, count, self.events, &emitted)
        events = np.empty(emitted, EVENT_DTYPE)
        copy_out(events, self.events, emitted * sizeof(Event))
        return events, at

    def scan_one(self, bytes packet not None, *, uint16_t linktype, uint32_t wirelen, int64_t ts, uint16_t iface):
        """Judge one reassembled datagram; its event (also when nothing wants it), None when it is no flow."""
        cdef Frame f
        cdef const uint8_t* p = packet
        cdef uint32_t n = <uint32_t>len(packet)
        decode(p, n, linktype, &self.w.config, &f)
        if f.l4 == 0 or f.status == FRAME_FRAGMENT:
            return None
        fill_event(&self.events[0], &f, 0)
        judge_flow(self.w, &f, p, n, wirelen, ts, iface, True, &self.events[0])
        events = np.empty(1, EVENT_DTYPE)
        copy_out(events, self.events, sizeof(Event))
        return events

    # packets kept back

    def set_hold_limits(self, uint32_t pile_packets, uint64_t pile_bytes, uint64_t total_bytes):
        """Most packets and bytes kept back of one flow, and bytes in all."""
        self.w.hold.pile_packets = pile_packets
        self.w.hold.pile_bytes = pile_bytes
        self.w.hold.total_bytes = total_bytes

    def hold(self, int32_t slot, uint64_t serial, row):
        """Keep a packet back with its flow (row: see `holding.Row`); False when the pile is full."""
        cdef Held like
        cdef bytes data
        if flow_live(self.w.table, slot, serial) == NULL:
            return False
        like.next = NULL
        like.ts, like.wirelen, like.iface, like.number, data, _, like.dir, like.app, like.payload = row
        like.caplen = <uint32_t>len(data)
        return hold_add(&self.w.hold, self.w.table, slot, serial, data, &like)

    def take_held(self, int32_t slot, uint64_t serial):
        """Take the packets kept back of a flow (also of one that has ended), in order."""
        cdef Pile* pile
        if slot < 0 or <uint32_t>slot >= self.w.hold.slots:
            return []
        pile = hold_take(&self.w.hold, slot, serial)
        return [] if pile == NULL else pile_rows(&self.w.hold, pile)

    def drop_held(self, int32_t slot, uint64_t serial):
        """Let go of the packets kept back of a flow; how many."""
        cdef Pile* pile
        cdef uint32_t count
        if slot < 0 or <uint32_t>slot >= self.w.hold.slots:
            return 0
        pile = hold_take(&self.w.hold, slot, serial)
        if pile == NULL:
            return 0
        count = pile_free(&self.w.hold, pile)
        self.w.hold.dropped += count
        return count

    def drop_ended(self, slots, serials):
        """Let go of the packets kept back of flows that have ended unwanted."""
        cdef const int32_t[::1] at = np.ascontiguousarray(slots)
        cdef const uint64_t[::1] of = np.ascontiguousarray(serials)
        cdef Pile* pile
        cdef Py_ssize_t i
        if self.w.hold.oldest == NULL and self.w.hold.ended == NULL:
            return
        for i in range(at.shape[0]):
            if 0 <= at[i] < <int32_t>self.w.hold.slots:
                pile = hold_take(&self.w.hold, at[i], of[i])
                if pile != NULL:
                    self.w.hold.dropped += pile_free(&self.w.hold, pile)

    def age_held(self, int64_t before):
        """Drop packets kept back that are older than packet time `before` (ns)."""
        hold_age(&self.w.hold, before)

    def given_up(self):
        """Piles of wanted flows that had to go since the last call: (filter set, filter set, rows) each."""
        cdef Pile* pile
        out = []
        while self.w.hold.given_up != NULL:
            pile = self.w.hold.given_up
            self.w.hold.given_up = pile.next
            fsets = pile.fset[0], pile.fset[1]
            out.append((*fsets, pile_rows(&self.w.hold, pile)))
        return out

    # flows

    def pcap_mask(self, uint16_t iface, bytes packet not None, uint32_t wirelen):
        """Which of the plan's pcap programs the packet passes, as bits."""
        if iface >= self.w.port_count:
            raise IndexError("no such interface")
        cdef uint64_t every = <uint64_t>0xFFFFFFFFFFFFFFFF
        return pcap_mask(&self.w.ports[iface], self.w.plan.programs, every, packet, <uint32_t>len(packet), wirelen)

    def flow(self, int32_t slot):
        """A copy of the flow in `slot` (FLOW_DTYPE)."""
        return table_row(self.w.table, slot)

    def set_flow(self, int32_t slot, uint64_t serial, *, fset=None, uint16_t set_flags=0, uint16_t clear_flags=0,
                 uint8_t app=0, uint8_t method=0):
        """Write a verdict into a live flow; False when that flow is gone."""
        cdef Flow* flow = flow_live(self.w.table, slot, serial)
        if flow == NULL:
            return False
        if fset is not None:
            flow.fset[0] = fset[0]
            flow.fset[1] = fset[1]
            if fset[0] or fset[1]:
                set_flags |= FLOW_EVER_WANTED
        flow.flags = (flow.flags | set_flags) & ~clear_flags
        if app:
            flow.app = app
            flow.method = method
            flow.confidence = 100
            flow.flags |= FLOW_DETECT_DONE
        flow_changed(self.w.table, flow)
        return True

    cdef uint64_t _leaving(self):
        """Packets of piles that left their place and wait for Python."""
        cdef uint64_t count = 0
        cdef Pile* pile = self.w.hold.ended
        while pile != NULL:
            count += pile.packets
            pile = pile.next
        pile = self.w.hold.given_up
        while pile != NULL:
            count += pile.packets
            pile = pile.next
        return count

    def expire(self, int64_t now):
        """End flows idle at packet time `now` (ns)."""
        flow_expire(self.w.table, now)

    def drain(self):
        """Flows ended since the last call, in the order they ended."""
        return table_drain(self.w.table)

    def flush(self):
        """End every flow: shutdown."""
        table_flush(self.w.table)

    def counters(self):
        """Counters since the start, by name (`portable.COUNTERS`, and the flow table's)."""
        cdef Counts* c = &self.w.counts
        out = {
            "seen": c.seen, "seen_bytes": c.seen_bytes, "rejected": c.rejected, "forwarded": c.forwarded,
            "held": c.held, "unmatched": c.unmatched, "sampled_out": c.sampled_out,
            "duplicate_capture": c.duplicate_capture, "yielded": c.yielded,
        }
        for i, name in enumerate(STATUS_NAMES):
            out[name] = c.by_status[i]
        out["unmatched"] += self.w.hold.dropped
        out["holding"] = self.w.hold.packets + self._leaving()
        out.update(table_counters(self.w.table))
        return out


cdef int fill_bytes(uint8_t* out, object array, int size) except -1:
    cdef const uint8_t[::1] view = array
    if view.shape[0] != size:
        raise ValueError("a table has the wrong size")
    memcpy(out, &view[0], size)
    return 0


cdef void* copy_of(object array) except? NULL:
    """A malloc'ed copy of a contiguous array; NULL when it is empty."""
    cdef const uint8_t[::1] view = array.reshape(-1).view(np.uint8)
    cdef void* out
    if view.shape[0] == 0:
        return NULL
    out = malloc(view.shape[0])
    if out == NULL:
        raise MemoryError("plan tables")
    memcpy(out, &view[0], view.shape[0])
    return out


cdef int copy_out(object events, const Event* rows, size_t size) except -1:
    cdef uint8_t[::1] view
    if size:
        view = events.view(np.uint8)
        memcpy(&view[0], rows, size)
    return 0


def gather(data, offset, sizes):
    """The bytes `data[offset[i] : offset[i] + sizes[i]]`, back to back. Raises ValueError outside `data`."""
    cdef const uint8_t[::1] source = np.frombuffer(data, np.uint8) if not isinstance(data, np.ndarray) else data
    cdef const uint64_t[::1] starts = np.ascontiguousarray(offset, np.uint64)
    cdef const uint32_t[::1] lengths = np.ascontiguousarray(sizes, np.uint32)
    cdef uint64_t total = 0, at = 0
    cdef Py_ssize_t i, n = starts.shape[0]
    if lengths.shape[0] != n:
        raise ValueError("offsets and sizes differ in length")
    for i in range(n):
        if starts[i] > <uint64_t>source.shape[0] or lengths[i] > <uint64_t>source.shape[0] - starts[i]:
            raise ValueError("a packet lies outside its buffer")
        total += lengths[i]
    cdef bytes out = PyBytes_FromStringAndSize(NULL, <Py_ssize_t>total)  # nobody has seen it yet, so it may be filled
    cdef char* sink = PyBytes_AS_STRING(out)
    for i in range(n):
        if lengths[i]:
            memcpy(sink + at, &source[starts[i]], lengths[i])
        at += lengths[i]
    return out
