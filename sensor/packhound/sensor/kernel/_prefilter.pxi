# Literal prefilter. Native twin of packhound.rules.literals: walks the same tables, exact after verification.

cdef enum:
    MAX_TIERS = 2

cdef packed struct Entry:
    uint32_t word
    uint32_t start
    uint32_t size
    uint32_t offset
    int32_t next

cdef struct Tier:
    uint32_t gram
    uint32_t stride
    uint32_t shift         # of the hash, to the Bloom block
    uint32_t head_shift    # of the hash, to the chain
    uint64_t* bloom
    int32_t* heads
    Entry* entries

cdef struct Prefilter:
    uint32_t count
    Tier tiers[MAX_TIERS]
    uint8_t* blob


cdef inline uint32_t gram_word(const uint8_t* p, uint32_t gram) noexcept nogil:
    """The first `gram` bytes of the four at `p` as a folded number."""
    cdef uint32_t word
    memcpy(&word, p, 4)
    word |= 0x20202020u
    return word if gram == 4 else word & (0xFFFFFFFFu >> (32 - 8 * gram))


cdef bint literal_at(const uint8_t* p, const uint8_t* literal, uint32_t size) noexcept nogil:
    cdef uint32_t i
    cdef uint8_t c
    for i in range(size):
        c = p[i]
        if 65 <= c <= 90:
            c += 32
        if c != literal[i]:
            return False
    return True


cdef bint verify(const Tier* t, const uint8_t* blob, const uint8_t* p, uint32_t n, uint32_t at, uint32_t word,
                 uint32_t h) noexcept nogil:
    cdef int32_t index = t.heads[h >> t.head_shift]
    cdef const Entry* e
    while index >= 0:
        e = &t.entries[index]
        if (e.word == word and at >= e.offset and at - e.offset + e.size <= n
                and literal_at(p + at - e.offset, blob + e.start, e.size)):
            return True
        index = e.next
    return False


cdef inline bint probe(const Tier* t, uint32_t h) noexcept nogil:
    cdef uint64_t block = t.bloom[h >> t.shift]
    return block >> (h >> 15 & 63) & block >> (h >> 9 & 63) & 1


cdef inline bint tier_scan(const Tier* tier, const uint8_t* blob, const uint8_t* p, uint32_t n,
                           uint32_t gram) noexcept nogil:
    # inlined once for grams of four bytes, so that the common loop has no choice in it
    cdef Tier t = tier[0]
    cdef const uint8_t* q = p
    cdef const uint8_t* end = p + n
    cdef uint8_t tail[8]
    cdef uint32_t word, h
    while end - q >= 4:
        word = gram_word(q, gram)
        h = word * 0x9E3779B1u
        if probe(&t, h) and verify(tier, blob, p, n, <uint32_t>(q - p), word, h):
            return True
        q += t.stride
    while gram < 4 and end - q >= <int64_t>gram:
        # the last places of a tier of short literals: four bytes can no longer be read
        memset(tail, 0, sizeof(tail))
        memcpy(tail, q, gram)
        word = gram_word(tail, gram)
        h = word * 0x9E3779B1u
        if probe(&t, h) and verify(tier, blob, p, n, <uint32_t>(q - p), word, h):
            return True
        q += t.stride
    return False


cdef bint prefilter_hit(const Prefilter* f, const uint8_t* p, uint32_t n) noexcept nogil:
    """Tell whether any literal is in the payload, ASCII letters without case."""
    cdef uint32_t i
    if f == NULL:
        return False
    for i in range(f.count):
        if f.tiers[i].gram == 4:
            if tier_scan(&f.tiers[i], f.blob, p, n, 4):
                return True
        elif tier_scan(&f.tiers[i], f.blob, p, n, f.tiers[i].gram):
            return True
    return False


cdef void prefilter_free(Prefilter* f) noexcept:
    cdef uint32_t i
    if f != NULL:
        for i in range(MAX_TIERS):
            free(f.tiers[i].bloom)
            free(f.tiers[i].heads)
            free(f.tiers[i].entries)
        free(f.blob)
        free(f)


cdef int load_tier(Tier* t, object tier) except -1:
    if len(tier.bloom) << 6 != 1 << tier.bits or len(tier.heads) != 1 << tier.head_bits:
        raise ValueError("the tables of a literal tier have the wrong size")
    t.gram = tier.gram
    t.stride = tier.stride
    t.shift = 38 - tier.bits
    t.head_shift = 32 - tier.head_bits
    t.bloom = <uint64_t*>copy_of(tier.bloom)
    t.heads = <int32_t*>copy_of(tier.heads)
    t.entries = <Entry*>copy_of(tier.entries)
    return 0


cdef Prefilter* prefilter_load(object literals) except NULL:
    """Copy the tables of a `packhound.rules.literals.LiteralSet`."""
    cdef Prefilter* f
    cdef uint32_t i
    if len(literals.tiers) > MAX_TIERS:
        raise ValueError("more literal tiers than the kernel walks")
    f = <Prefilter*>calloc(1, sizeof(Prefilter))
    if f == NULL:
        raise MemoryError("literals")
    try:
        for i in range(<uint32_t>len(literals.tiers)):
            load_tier(&f.tiers[i], literals.tiers[i])
            f.count = i + 1
        f.blob = <uint8_t*>copy_of(np.frombuffer(literals.blob, np.uint8))
    except Exception:
        prefilter_free(f)
        raise
    return f


def prefilter_one(literals, bytes payload not None) -> bool:
    """Native `LiteralSet.hit`, for twin tests."""
    cdef Prefilter* f = prefilter_load(literals)
    try:
        return prefilter_hit(f, payload, <uint32_t>len(payload))
    finally:
        prefilter_free(f)
