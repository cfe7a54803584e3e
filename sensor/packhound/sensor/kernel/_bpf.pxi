# Classic BPF interpreter. Native twin of packhound.rules.bpf.run; runs validated programs only.

cdef struct BpfInsn:
    uint16_t code
    uint8_t jt
    uint8_t jf
    uint32_t k


cdef BpfInsn* bpf_load(object program, uint32_t* count) except NULL:
    """A validated copy of a program; ValueError says what is wrong with it."""
    from packhound.rules.bpf import validate
    cdef BpfInsn* insns
    cdef uint32_t i
    fault = validate(program)
    if fault:
        raise ValueError(f"not a pcap program: {fault}")
    insns = <BpfInsn*>calloc(len(program), sizeof(BpfInsn))
    if insns == NULL:
        raise MemoryError("pcap program")
    for i, insn in enumerate(program):
        insns[i].code, insns[i].jt, insns[i].jf, insns[i].k = insn
    count[0] = len(program)
    return insns


cdef bint bpf_read(uint16_t code, uint64_t at, const uint8_t* p, uint32_t n, uint32_t* out) noexcept nogil:
    cdef uint32_t size = 4 if code & 0x18 == 0 else 2 if code & 0x18 == 8 else 1
    if at + size > n:
        return False
    p += at
    if size == 4:
        out[0] = <uint32_t>p[0] << 24 | <uint32_t>p[1] << 16 | <uint32_t>p[2] << 8 | p[3]
    elif size == 2:
        out[0] = <uint32_t>p[0] << 8 | p[1]
    else:
        out[0] = p[0]
    return True


cdef bint bpf_alu(uint16_t op, uint32_t* a, uint32_t b) noexcept nogil:
    if op == 0x00:
        a[0] += b
    elif op == 0x10:
        a[0] -= b
    elif op == 0x20:
        a[0] *= b
    elif op == 0x30 or op == 0x90:
        if b == 0:
            return False
        a[0] = a[0] // b if op == 0x30 else a[0] % b
    elif op == 0x40:
        a[0] |= b
    elif op == 0x50:
        a[0] &= b
    elif op == 0x60:
        a[0] = a[0] << b if b < 32 else 0
    elif op == 0x70:
        a[0] = a[0] >> b if b < 32 else 0
    elif op == 0x80:
        a[0] = 0 - a[0]
    else:
        a[0] ^= b
    return True


cdef uint32_t bpf_run(const BpfInsn* insns, uint32_t count, const uint8_t* p, uint32_t wirelen,
                      uint32_t n) noexcept nogil:
    """Run over `n` captured bytes; 0 rejects, and so does a load outside the packet."""
    cdef uint32_t a = 0, x = 0, b, value
    cdef uint32_t memory[16]
    cdef const BpfInsn* i = insns
    cdef uint16_t kind, mode, op
    cdef bint taken
    memset(memory, 0, sizeof(memory))
    while i < insns + count:
        kind = i.code & 7
        if kind == 6:
            return a if i.code & 0x18 else i.k
        if kind <= 1:
            mode = i.code & 0xE0
            if mode == 0:
                value = i.k
            elif mode == 0x60:
                value = memory[i.k]
            elif mode == 0x80:
                value = wirelen
            elif mode == 0xA0:
                if i.k >= n:
                    return 0
                value = (p[i.k] & 15) * 4
            elif not bpf_read(i.code, <uint64_t>i.k + (x if mode == 0x40 else 0), p, n, &value):
                return 0
            if kind == 0:
                a = value
            else:
                x = value
        elif kind == 2:
            memory[i.k] = a
        elif kind == 3:
            memory[i.k] = x
        elif kind == 4:
            if not bpf_alu(i.code & 0xF0, &a, x if i.code & 8 else i.k):
                return 0
        elif kind == 5:
            op = i.code & 0xF0
            b = x if i.code & 8 else i.k
            if op == 0:
                i += i.k
            else:
                taken = a == b if op == 0x10 else a > b if op == 0x20 else a >= b if op == 0x30 else (a & b) != 0
                i += i.jt if taken else i.jf
        elif i.code & 0x80:
            a = x
        else:
            x = a
        i += 1
    return 0


def bpf_one(program, bytes packet not None, uint32_t wirelen) -> int:
    """Native `packhound.rules.bpf.run`, for twin tests."""
    cdef uint32_t count = 0
    cdef BpfInsn* insns = bpf_load(program, &count)
    try:
        return bpf_run(insns, count, packet, wirelen, <uint32_t>len(packet))
    finally:
        free(insns)
