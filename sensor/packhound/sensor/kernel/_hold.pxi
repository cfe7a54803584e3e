# Packets kept back until their flow is decided. Native twin of holding.py: one pile a flow, first packets first,
# bounded per flow and in all; the oldest pile is given up first.

cdef struct Held:
    Held* next
    int64_t ts
    uint64_t number
    uint32_t caplen
    uint32_t wirelen
    uint32_t payload
    uint16_t iface
    uint8_t dir
    uint8_t app
    # the captured bytes follow

cdef struct Pile:
    uint64_t serial
    int32_t slot
    uint32_t packets
    uint64_t bytes
    uint32_t fset[2]        # of the flow when it was given up
    Held* head
    Held* tail
    Pile* older             # by when the pile began
    Pile* newer
    Pile* next              # in the list of those that left

cdef enum:
    SMALL_BLOCK = 256       # sizes of blocks that are used again and again, the head of Held included
    LARGE_BLOCK = 2048
    MEDIA_FACTOR = 8        # flows of calls may keep so many times more: a call is decided by its messages, late

cdef struct Hold:
    Held* small             # blocks free for use, by size; longer packets have their own
    Held* large
    Pile** by_slot
    uint32_t slots
    Pile* oldest
    Pile* newest
    Pile* ended             # piles whose flow has gone and whose slot another flow took
    Pile* given_up          # piles of wanted flows that had to go: Python ships them
    uint64_t bytes
    uint64_t packets
    uint64_t dropped        # packets let go without being wanted
    uint32_t pile_packets
    uint64_t pile_bytes
    uint64_t total_bytes


cdef inline uint8_t* held_bytes(Held* h) noexcept nogil:
    return <uint8_t*>h + sizeof(Held)


cdef Held* held_new(Hold* s, uint32_t caplen) noexcept nogil:
    cdef size_t size = sizeof(Held) + caplen
    cdef Held* h
    if size <= SMALL_BLOCK:
        h = s.small
        if h == NULL:
            return <Held*>malloc(SMALL_BLOCK)
        s.small = h.next
        return h
    if size <= LARGE_BLOCK:
        h = s.large
        if h == NULL:
            return <Held*>malloc(LARGE_BLOCK)
        s.large = h.next
        return h
    return <Held*>malloc(size)


cdef void held_free(Hold* s, Held* h) noexcept nogil:
    cdef size_t size = sizeof(Held) + h.caplen
    if size <= SMALL_BLOCK:
        h.next = s.small
        s.small = h
    elif size <= LARGE_BLOCK:
        h.next = s.large
        s.large = h
    else:
        free(h)


cdef void pile_unlink(Hold* s, Pile* pile) noexcept nogil:
    if pile.older != NULL:
        pile.older.newer = pile.newer
    else:
        s.oldest = pile.newer
    if pile.newer != NULL:
        pile.newer.older = pile.older
    else:
        s.newest = pile.older
    if s.by_slot[pile.slot] == pile:
        s.by_slot[pile.slot] = NULL
    s.bytes -= pile.bytes
    s.packets -= pile.packets


cdef void pile_append(Hold* s, Pile* pile) noexcept nogil:
    pile.newer = NULL
    pile.older = s.newest
    if s.newest != NULL:
        s.newest.newer = pile
    else:
        s.oldest = pile
    s.newest = pile


cdef uint32_t pile_free(Hold* s, Pile* pile) noexcept nogil:
    """Free a pile that is in no list; how many packets it held."""
    cdef Held* h = pile.head
    cdef Held* following
    cdef uint32_t count = pile.packets
    while h != NULL:
        following = h.next
        held_free(s, h)
        h = following
    free(pile)
    return count


cdef void pile_drop(Hold* s, Pile* pile) noexcept nogil:
    pile_unlink(s, pile)
    s.dropped += pile_free(s, pile)


cdef inline Pile* pile_of(Hold* s, int32_t slot, uint64_t serial) noexcept nogil:
    cdef Pile* pile = s.by_slot[slot]
    return pile if pile != NULL and pile.serial == serial else NULL


cdef void pile_give_up(Hold* s, FlowTable* t, Pile* pile) noexcept nogil:
    """Let go of a pile for want of room or time; wanted packets wait for Python to ship them."""
    cdef Flow* flow = flow_live(t, pile.slot, pile.serial)
    if flow == NULL or (flow.fset[0] == 0 and flow.fset[1] == 0):
        pile_drop(s, pile)
        return
    pile.fset[0] = flow.fset[0]
    pile.fset[1] = flow.fset[1]
    pile_unlink(s, pile)
    pile.next = s.given_up
    s.given_up = pile


cdef Pile* pile_new(Hold* s, int32_t slot, uint64_t serial) noexcept nogil:
    cdef Pile* pile = <Pile*>calloc(1, sizeof(Pile))
    cdef Pile* before = s.by_slot[slot]
    if pile == NULL:
        return NULL
    if before != NULL:          # its flow has ended and waits to be drained
        pile_unlink(s, before)
        before.next = s.ended
        s.ended = before
    pile.serial = serial
    pile.slot = slot
    s.by_slot[slot] = pile
    pile_append(s, pile)
    return pile


cdef bint hold_add(Hold* s, FlowTable* t, int32_t slot, uint64_t serial, const uint8_t* p, const Held* like) noexcept nogil:
    """Keep a packet (`like` has all but its bytes); False when its pile is full or there is no memory."""
    cdef Pile* pile = pile_of(s, slot, serial)
    cdef uint32_t factor = MEDIA_FACTOR if t.flows[slot].flags & FLOW_MEDIA else 1
    cdef Held* h
    if pile == NULL:
        pile = pile_new(s, slot, serial)
        if pile == NULL:
            return False
    elif pile.packets >= s.pile_packets * factor or pile.bytes + like.caplen > s.pile_bytes * factor:
        return False
    h = held_new(s, like.caplen)
    if h == NULL:
        return False
    h[0] = like[0]
    h.next = NULL
    memcpy(held_bytes(h), p, like.caplen)
    if pile.tail != NULL:
        pile.tail.next = h
    else:
        pile.head = h
    pile.tail = h
    pile.packets += 1
    pile.bytes += like.caplen
    s.packets += 1
    s.bytes += like.caplen
    while s.bytes > s.total_bytes and s.oldest != s.newest:
        pile_give_up(s, t, s.oldest)
    return True


cdef void hold_age(Hold* s, int64_t before) noexcept nogil:
    """Drop packets older than packet time `before` from the piles that began earliest."""
    cdef Pile* pile = s.oldest
    cdef Pile* following
    cdef Pile* last = s.newest
    cdef Held* h
    while pile != NULL and pile.head != NULL and pile.head.ts < before:
        following = NULL if pile == last else pile.newer
        while pile.head != NULL and pile.head.ts < before:
            h = pile.head
            pile.head = h.next
            if pile.head == NULL:
                pile.tail = NULL
            pile.packets -= 1
            pile.bytes -= h.caplen
            s.packets -= 1
            s.bytes -= h.caplen
            s.dropped += 1
            held_free(s, h)
        if pile.head == NULL:
            pile_unlink(s, pile)
            free(pile)
        else:
            pile_unlink_keep(s, pile)
        pile = following


cdef void pile_unlink_keep(Hold* s, Pile* pile) noexcept nogil:
    """Move a pile to the end of the order of age."""
    if pile == s.newest:
        return
    if pile.older != NULL:
        pile.older.newer = pile.newer
    else:
        s.oldest = pile.newer
    pile.newer.older = pile.older
    pile_append(s, pile)


cdef void hold_free(Hold* s) noexcept:
    cdef Pile* pile
    cdef Held* h
    while s.oldest != NULL:
        pile_drop(s, s.oldest)
    while s.ended != NULL:
        pile = s.ended
        s.ended = pile.next
        pile_free(s, pile)
    while s.given_up != NULL:
        pile = s.given_up
        s.given_up = pile.next
        pile_free(s, pile)
    while s.small != NULL:
        h = s.small
        s.small = h.next
        free(h)
    while s.large != NULL:
        h = s.large
        s.large = h.next
        free(h)
    free(s.by_slot)


cdef Pile* hold_take(Hold* s, int32_t slot, uint64_t serial) noexcept nogil:
    """Take a pile out, by flow; NULL when there is none."""
    cdef Pile** link = &s.ended
    cdef Pile* pile = pile_of(s, slot, serial)
    if pile != NULL:
        pile_unlink(s, pile)
        return pile
    while link[0] != NULL:
        if link[0].serial == serial:
            pile = link[0]
            link[0] = pile.next
            return pile
        link = &link[0].next
    return NULL


cdef list pile_rows(Hold* s, Pile* pile):
    """The packets of a pile as `Kept` wants them; frees it."""
    cdef Held* h = pile.head
    out = []
    while h != NULL:
        out.append((h.ts, h.wirelen, h.iface, h.number, <bytes>(<char*>held_bytes(h))[: h.caplen], pile.serial, h.dir,
                    h.app, h.payload))
        h = h.next
    pile_free(s, pile)
    return out
