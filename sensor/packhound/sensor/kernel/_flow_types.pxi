# What the flow table is made of. A Flow is five cache lines: FLOW_DTYPE in the first three and a half, then what only
# the table needs. A packet of an undisturbed flow touches three of them. Bounds: 328 bytes a flow with its links, 12 to
# 24 a slot of the index; pages become resident when used (measured: 347 bytes a flow at 10^6 flows).

cdef extern from *:
    """
    #if defined(__linux__)
    #include <sys/mman.h>
    #endif
    #if defined(__linux__) && defined(MADV_HUGEPAGE)
    /* random access to hundreds of MB: without huge pages half the time goes to the page walk */
    static void packhound_huge(void *p, size_t n) {
        const uintptr_t huge = (uintptr_t)2 << 20;
        uintptr_t from = ((uintptr_t)p + huge - 1) & ~(huge - 1), to = ((uintptr_t)p + n) & ~(huge - 1);
        if (to > from) (void)madvise((void *)from, to - from, MADV_HUGEPAGE);
    }
    #else
    static void packhound_huge(void *p, size_t n) { (void)p; (void)n; }
    #endif
    static inline uint64_t packhound_mix(uint64_t a, uint64_t b) {
        __uint128_t r = (__uint128_t)a * b;
        return (uint64_t)r ^ (uint64_t)(r >> 64);
    }
    static inline void packhound_prefetch(const void *p) { __builtin_prefetch(p, 1); }
    """
    void packhound_huge(void* p, size_t n) noexcept nogil
    uint64_t packhound_mix(uint64_t a, uint64_t b) noexcept nogil
    void packhound_prefetch(const void* p) noexcept nogil

cdef enum:
    RECORD_SIZE = 224           # what FLOW_DTYPE holds of a Flow
    CLASSES = 15
    TICK = 1000000000

# order of packhound.net.timeouts.Class
cdef enum:
    CLASS_DRAINING = 2
    CLASS_OPENING = 3
    CLASS_OTHER = 5
    CLASS_QUIC_OPENING = 8
    CLASS_QUIC = 9
    CLASS_MEDIA = 14
    CLASS_BY_APP = 255

cdef enum:
    FLOW_HOLD = 1
    FLOW_QUIET = 2
    FLOW_STREAM = 4
    FLOW_MEDIA = 8
    FLOW_SAMPLED = 16
    FLOW_DETECT_DONE = 32
    FLOW_EVER_WANTED = 64
    FLOW_WATCHED = 128
    FLOW_DRAINING = 256
    FLOW_REFINED = 512
    FLOW_EARLY = 1024           # 2048 for the other direction
    REFINED_MORE = 64           # of events.py

cdef enum:
    END_IDLE = 1
    END_FIN = 2
    END_RST = 3
    END_PORT_REUSE = 4
    END_EVICTED = 5
    END_SHUTDOWN = 6

cdef enum:
    GONE_FINISHED = 0
    GONE_IDLE = 1
    GONE_LIVE = 2
    GONE_MEDIA = 3

# Flow.marks: one bit per direction (shift by it)
cdef enum:
    MARK_NEXT = 1               # next_seq is known
    MARK_FIN = 4                # fin_end is known
    MARK_FIN_ACKED = 16
    MARK_SHUT = 64              # the last window offered was zero
    MARK_SYN_TS = 256           # syn_ts is known

cdef struct Hole:
    uint32_t low                # low == high: none
    uint32_t high

cdef struct Flow:
    uint64_t serial             # 0: the slot is free
    uint8_t src[16]
    uint8_t dst[16]
    uint16_t sport
    uint16_t dport
    uint32_t tenant
    uint8_t ip_version
    uint8_t proto
    uint8_t state
    uint8_t app
    uint16_t flags
    uint16_t vlan
    uint16_t iface
    uint8_t tcp_flags[2]
    uint8_t has_isn[2]
    uint8_t end
    uint8_t confidence
    uint64_t packets[2]
    uint64_t bytes[2]
    uint64_t payload[2]
    uint32_t payload_packets[2]
    int64_t last
    int64_t first
    int64_t rtt
    uint32_t isn[2]
    uint32_t retransmissions[2]
    uint32_t out_of_order[2]
    uint32_t zero_window[2]
    uint32_t syn
    uint32_t fin
    uint32_t rst
    int32_t slot
    uint32_t fset[2]
    uint32_t scratch[4]
    uint8_t method
    uint8_t spare[7]
    # the table's own, not exported
    int64_t touched
    uint32_t next_seq[2]
    uint32_t hash
    uint16_t marks
    uint8_t cls
    uint8_t unused
    uint32_t epoch              # plan that judged the flow last, 0: none yet (the walk's)
    uint32_t watch_version      # watches that it was looked up in last (the walk's)
    int64_t syn_ts
    uint32_t fin_end[2]
    Hole holes[2][2]            # by direction, newest first
    uint32_t hole_at[2]
    uint64_t reserve[1]

cdef struct Link:               # neighbours in the queue of a flow's class; `older` also links free slots
    int32_t older
    int32_t newer

cdef struct FlowTable:
    Flow* flows                 # on a cache line
    void* flows_memory
    Link* links                 # by slot: apart, so that moving a flow to the end does not fetch its neighbours
    uint64_t* index             # open addressing: hash << 32 | slot + 1; 0: empty
    uint32_t mask
    uint32_t capacity
    uint32_t unused             # slots from here on were never used
    int32_t free_slot           # newest of the free ones, -1: none
    int32_t newest              # flow of the newest packet, -1: settled
    uint64_t seeds[4]
    int32_t oldest_of[CLASSES]
    int32_t newest_of[CLASSES]
    int64_t timeouts[CLASSES]
    int64_t idle_after
    uint8_t state_class[16]     # CLASS_BY_APP: the application decides
    uint8_t tcp_class[256]
    uint8_t udp_class[256]
    int64_t clock
    int64_t next_tick
    uint8_t* ended              # RECORD_SIZE each
    uint64_t ended_count
    uint64_t ended_room
    uint64_t records_lost       # records that found no memory
    uint64_t active
    uint64_t created
    uint64_t ends[7]
    uint64_t gone[4]            # evictions by cause
