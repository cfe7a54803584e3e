# Literal prefilter. Native twin of packhound.rules.literals: walks the same tables, exact after verification.

cdef enum:
    BITMAP_BITS = 17
    HEAD_BITS = 13

cdef packed struct Entry:
    uint32_t word
    uint32_t start
    uint32_t size
    uint32_t offset
    int32_t next

cdef struct Prefilter:
    uint32_t window
    uint32_t gram
    uint32_t stride
    uint8_t* bitmap
    int32_t* heads
    Entry* entries
    uint8_t* blob


cdef inline uint32_t gram_word(const uint8_t* p, uint32_t gram) noexcept nogil:
    cdef uint32_t word = 0
    if gram == 4:
        memcpy(&word, p, 4)
        return word | 0x20202020u
    word = p[0] | 0x20
    if gram > 1:
        word |= <uint32_t>(p[1] | 0x20) << 8
    if gram > 2:
        word |= <uint32_t>(p[2] | 0x20) << 16
    return word


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


cdef bint verify(const Prefilter* f, const uint8_t* p, uint32_t n, uint32_t at, uint32_t word,
                 uint32_t h) noexcept nogil:
    cdef int32_t index = f.heads[h >> (32 - HEAD_BITS)]
    cdef Entry* e
    while index >= 0:
        e = &f.entries[index]
        if e.word == word and at >= e.offset and at - e.offset + e.size <= n:
            if literal_at(p + at - e.offset, f.blob + e.start, e.size):
                return True
        index = e.next
    return False


cdef bint prefilter_hit(const Prefilter* f, const uint8_t* p, uint32_t n) noexcept nogil:
    """Tell whether any literal is in the payload, ASCII letters without case."""
    cdef uint32_t at = 0, word, h, bit
    if f == NULL or f.window == 0 or n < f.window:
        return False
    while at + f.gram <= n:
        word = gram_word(p + at, f.gram)
        h = word * 0x9E3779B1u
        bit = h >> (32 - BITMAP_BITS)
        if f.bitmap[bit >> 3] >> (bit & 7) & 1 and verify(f, p, n, at, word, h):
            return True
        at += f.stride
    return False


cdef void prefilter_free(Prefilter* f) noexcept:
    if f != NULL:
        free(f.bitmap)
        free(f.heads)
        free(f.entries)
        free(f.blob)
        free(f)


cdef Prefilter* prefilter_load(object literals) except NULL:
    """Copy the tables of a `packhound.rules.literals.LiteralSet`."""
    cdef Prefilter* f = <Prefilter*>calloc(1, sizeof(Prefilter))
    if f == NULL:
        raise MemoryError("literals")
    if len(literals.bitmap) != 1 << BITMAP_BITS >> 3 or len(literals.heads) != 1 << HEAD_BITS:
        free(f)
        raise ValueError("the literal tables differ between kernel and LiteralSet")
    f.window = literals.window
    f.gram = literals.gram
    f.stride = literals.stride
    f.bitmap = <uint8_t*>copy_of(literals.bitmap)
    f.heads = <int32_t*>copy_of(literals.heads)
    f.entries = <Entry*>copy_of(literals.entries)
    f.blob = <uint8_t*>copy_of(np.frombuffer(literals.blob, np.uint8))
    return f


def prefilter_one(literals, bytes payload not None) -> bool:
    """Native `LiteralSet.hit`, for twin tests."""
    cdef Prefilter* f = prefilter_load(literals)
    try:
        return prefilter_hit(f, payload, <uint32_t>len(payload))
    finally:
        prefilter_free(f)
