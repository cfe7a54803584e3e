"""Classic BPF: instructions, which programs are valid, and an interpreter.

Promise: pure; `run` of a valid program always ends and never reads outside the packet. It is the specification of
kernel/_bpf.pxi and agrees with libpcap.
"""

from __future__ import annotations

from collections.abc import Sequence

Insn = tuple[int, int, int, int]
Program = tuple[Insn, ...]

MAX_INSNS = 4096  # BPF_MAXINSNS of Linux
ACCEPT = 262144
MEMORY = 16

LD, LDX, ST, STX, ALU, JMP, RET, MISC = range(8)
W, H, B = 0x00, 0x08, 0x10
IMM, ABS, IND, MEM, LEN, MSH = 0x00, 0x20, 0x40, 0x60, 0x80, 0xA0
JA, JEQ, JGT, JGE, JSET = 0x00, 0x10, 0x20, 0x30, 0x40
X_SOURCE = 0x08
ALU_OPS = {
    0x00,
    0x10,
    0x20,
    0x30,
    0x40,
    0x50,
    0x60,
    0x70,
    0x80,
    0x90,
    0xA0,
}  # add sub mul div or and lsh rsh neg mod xor
BACKWARD = 1 << 31  # from here on offsets are negative: a loop, or SKF_AD_OFF (data only the kernel has)
EN10MB = 1
NO_NETMASK = 0xFFFFFFFF  # PCAP_NETMASK_UNKNOWN: `ip broadcast` is refused, it would depend on the node


def validate(program: Sequence[Insn]) -> str | None:
    """What is wrong with a program (jumps, opcodes, memory, division by zero, no return at its end), or None."""
    size = len(program)
    if not 0 < size <= MAX_INSNS:
        return f"a program has between 1 and {MAX_INSNS} instructions"
    if program[-1][0] & 7 != RET:
        return "a program ends in a return"
    for at, insn in enumerate(program):
        reason = _bad_insn(insn, size - at - 1)
        if reason:
            return f"instruction {at}: {reason}"
    return None


def _bad_insn(insn: Insn, left: int) -> str | None:
    code, jt, jf, k = insn
    kind, op = code & 7, code & 0xF0
    if not (0 <= code <= 0xFF and 0 <= jt <= 0xFF and 0 <= jf <= 0xFF and 0 <= k <= 0xFFFFFFFF):
        return "a field is out of range"
    if kind in (LD, LDX):
        if code & 0xE0 == MEM and k >= MEMORY:
            return "no such memory word"
        good = code in (LD | W | ABS, LD | H | ABS, LD | B | ABS, LD | W | IND, LD | H | IND, LD | B | IND, LD | LEN,
                        LD | IMM, LD | MEM, LDX | IMM, LDX | MEM, LDX | LEN, LDX | B | MSH)  # fmt: skip
    elif kind in (ST, STX):
        good = code == kind and k < MEMORY
    elif kind == ALU:
        if op in (0x30, 0x90) and not code & X_SOURCE and k == 0:
            return "division by zero"
        good = op in ALU_OPS
    elif kind == JMP:
        good = op in (JA, JEQ, JGT, JGE, JSET) and (k < left if op == JA else max(jt, jf) < left)
    elif kind == RET:
        good = code in (RET, RET | 0x10)
    else:
        good = code in (MISC, MISC | 0x80)
    return None if good else "unknown opcode or jump out of the program"


def run(program: Sequence[Insn], packet: bytes, wirelen: int) -> int:
    """Run a valid program over the captured bytes; 0 rejects. A load outside the packet rejects (as libpcap does)."""
    a = x = pc = 0
    memory = [0] * MEMORY
    while True:
        code, jt, jf, k = program[pc]
        pc += 1
        kind = code & 7
        if kind == RET:
            return a if code & 0x18 else k
        if kind in (LD, LDX):
            value = _load(code, k, x, packet, wirelen, memory)
            if value is None:
                return 0
            if kind == LD:
                a = value
            else:
                x = value
        elif kind == ST:
            memory[k] = a
        elif kind == STX:
            memory[k] = x
        elif kind == ALU:
            result = _alu(code & 0xF0, a, x if code & X_SOURCE else k)
            if result is None:
                return 0
            a = result
        elif kind == JMP:
            pc += _jump(code, jt, jf, k, a, x)
        elif code & 0x80:
            a = x
        else:
            x = a


def _load(code: int, k: int, x: int, p: bytes, wirelen: int, memory: list[int]) -> int | None:
    mode = code & 0xE0
    if mode == IMM:
        return k
    if mode == MEM:
        return memory[k]
    if mode == LEN:
        return wirelen & 0xFFFFFFFF
    if mode == MSH:
        return (p[k] & 15) * 4 if k < len(p) else None
    size = {W: 4, H: 2, B: 1}[code & 0x18]
    at = k if mode == ABS else k + x
    if at + size > len(p):
        return None
    return int.from_bytes(p[at : at + size], "big")


def _alu(op: int, a: int, b: int) -> int | None:
    if op in (0x30, 0x90) and b == 0:
        return None
    if op in (0x60, 0x70) and b > 31:
        return 0
    result = {
        0x00: a + b, 0x10: a - b, 0x20: a * b, 0x30: a // (b or 1), 0x40: a | b, 0x50: a & b, 0x60: a << (b & 31),
        0x70: a >> (b & 31), 0x80: -a, 0x90: a % (b or 1), 0xA0: a ^ b,
    }[op]  # fmt: skip
    return result & 0xFFFFFFFF


def _jump(code: int, jt: int, jf: int, k: int, a: int, x: int) -> int:
    op, b = code & 0xF0, x if code & X_SOURCE else k
    if op == JA:
        return k
    taken = a == b if op == JEQ else a > b if op == JGT else a >= b if op == JGE else bool(a & b)
    return jt if taken else jf
