"""Programs for a live socket: several joined into one, and what user space must decide itself let through.

Promise: pure. A joined program accepts at least what any of its parts accepts: a load outside the packet, which ends a
program with "reject", goes on to the next part instead. Lengths are those that a kernel sees (the whole packet).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from packhound.rules.insns import (
    ABS,
    ACCEPT,
    ALU,
    BACKWARD,
    EN10MB,
    IMM,
    IND,
    JA,
    JEQ,
    JGE,
    JMP,
    JSET,
    LD,
    LDX,
    LEN,
    MAX_INSNS,
    MEM,
    MEMORY,
    MISC,
    MSH,
    RET,
    ST,
    STX,
    X_SOURCE,
    B,
    H,
    Insn,
    Program,
    W,
)

EVERYTHING: Program = ((RET, 0, 0, ACCEPT),)
VLAN_TAG_PRESENT = 0xFFFFF000 + 48  # SKF_AD_OFF + SKF_AD_VLAN_TAG_PRESENT
RAW_TYPES = frozenset({12, 14, 101, 228, 229})
_SUB, _AND = ALU | 0x10, ALU | 0x50
_DIV, _MOD = 0x30, 0x90
_TXA = MISC | 0x80


class _Jump(NamedTuple):
    """A jump between labels; `true` and `false` are the same for one without condition."""

    code: int
    k: int
    true: object
    false: object


class _Label(NamedTuple):
    """A place to jump to."""

    name: object


def union(programs: Sequence[Program]) -> Program:
    """One program that accepts what any of `programs` accepts; accepts everything when that cannot be said."""
    if not programs:
        return EVERYTHING
    parts: list[Insn | _Jump | _Label] = []
    for number, program in enumerate(programs):
        made = _part(program, number)
        if made is None:
            return EVERYTHING
        parts += made
    parts += [_Label(("start", len(programs))), (RET, 0, 0, 0)]
    return _emitted(parts) or EVERYTHING


def live_program(program: Program, *, linktype: int = EN10MB) -> Program:
    """`program` for a live socket: also accepts what only user space can decide exactly, namely frames whose VLAN tag
    the kernel has taken out, and pieces of IP datagrams."""
    return union((_undecidable(linktype), program))


def _undecidable(linktype: int) -> Program:
    """Accepts VLAN tags taken out and IP fragments (IPv6: those without an extension header before the fragment's)."""
    accept, reject = (RET, 0, 0, ACCEPT), (RET, 0, 0, 0)
    head: list[Insn] = [(LD | W | ABS, 0, 0, VLAN_TAG_PRESENT), (JMP | JEQ, 0, 1, 1), accept]
    if linktype == EN10MB:
        return (
            *head, (LD | H | ABS, 0, 0, 12), (JMP | JEQ, 0, 3, 0x0800),
            (LD | H | ABS, 0, 0, 20), (JMP | JSET, 4, 0, 0x3FFF), reject,
            (JMP | JEQ, 0, 3, 0x86DD), (LD | B | ABS, 0, 0, 20), (JMP | JEQ, 0, 1, 44), accept, reject,
        )  # fmt: skip
    if linktype in RAW_TYPES:
        return (
            *head, (LD | B | ABS, 0, 0, 0), (_AND, 0, 0, 0xF0), (JMP | JEQ, 0, 3, 0x40),
            (LD | H | ABS, 0, 0, 6), (JMP | JSET, 4, 0, 0x3FFF), reject,
            (JMP | JEQ, 0, 3, 0x60), (LD | B | ABS, 0, 0, 6), (JMP | JEQ, 0, 1, 44), accept, reject,
        )  # fmt: skip
    return (*head, reject)


def _part(program: Program, number: int) -> list[Insn | _Jump | _Label] | None:
    """A program as part of a union: every way to reject leads to the next part. None: that cannot be written."""
    used = {insn[3] for insn in program if insn[0] in (ST, STX, LD | MEM, LDX | MEM)}
    free = next((word for word in reversed(range(MEMORY)) if word not in used), None)
    following = ("start", number + 1)
    out: list[Insn | _Jump | _Label] = [_Label(("start", number)), (LD | IMM, 0, 0, 0), (LDX | IMM, 0, 0, 0)]
    for at, insn in enumerate(program):
        code, jt, jf, k = insn
        out.append(_Label((number, at)))
        if code == RET:
            out.append(insn if k else _Jump(JMP | JA, 0, following, following))
            continue
        if code & 7 == RET:
            return None
        if code & 7 == JMP:
            jt, jf = (k, k) if code == JMP | JA else (jt, jf)
            out.append(_Jump(code, k, (number, at + 1 + jt), (number, at + 1 + jf)))
            continue
        guards = _guards(insn, free, following)
        if guards is None:
            return None
        out += [*guards, insn]
    return out


def _guards(insn: Insn, free: int | None, following: object) -> list[Insn | _Jump | _Label] | None:
    """What goes before an instruction that would reject, and goes to `following` instead. None: not possible."""
    code, _, _, k = insn
    mode, here = code & 0xE0, object()
    check = [_Label(here)]
    if code & 7 == LD and mode in (ABS, IND):
        end = k + {W: 4, H: 2, B: 1}[code & 0x18]
        if k >= BACKWARD:
            return [] if mode == ABS else None  # data of the kernel's own is always there
        bound = _Jump(JMP | JGE, end, here, following)
        if mode == ABS:
            return [(LD | LEN, 0, 0, 0), bound, *check]
        inner = object()
        inside = _Jump(JMP | JGE | X_SOURCE, 0, inner, following)
        return [(LD | LEN, 0, 0, 0), inside, _Label(inner), (_SUB | X_SOURCE, 0, 0, 0), bound, *check]
    if code == LDX | B | MSH:
        save, restore = (ST, 0, 0, free or 0), (LD | MEM, 0, 0, free or 0)
        if free is None:
            return None
        return [save, (LD | LEN, 0, 0, 0), _Jump(JMP | JGE, k + 1, here, following), *check, restore]
    if code & 7 == ALU and code & 0xF0 in (_DIV, _MOD) and code & X_SOURCE:
        if free is None:
            return None
        save, restore = (ST, 0, 0, free), (LD | MEM, 0, 0, free)
        return [save, (_TXA, 0, 0, 0), _Jump(JMP | JEQ, 0, following, here), *check, restore]
    return []


def _emitted(parts: Sequence[Insn | _Jump | _Label]) -> Program | None:
    """Instructions with labels resolved; None when they are too many. Conditions whose way is longer than 8 bits say
    become three instructions."""
    places: dict[object, int] = {}
    long: set[int] = set()
    while True:
        at = 0
        for index, part in enumerate(parts):
            if isinstance(part, _Label):
                places[part.name] = at
            else:
                at += 3 if index in long else 1
        if at > MAX_INSNS:
            return None
        fresh = _too_long(parts, places, long)
        if not fresh:
            return _resolved(parts, places, long)
        long |= fresh


def _too_long(parts: Sequence[Insn | _Jump | _Label], places: dict[object, int], long: set[int]) -> set[int]:
    fresh, at = set(), 0
    for index, part in enumerate(parts):
        if isinstance(part, _Label):
            continue
        at += 3 if index in long else 1
        if not isinstance(part, _Jump) or part.code == JMP | JA or index in long:
            continue
        if max(places[part.true], places[part.false]) - at > 0xFF:
            fresh.add(index)
    return fresh


def _resolved(parts: Sequence[Insn | _Jump | _Label], places: dict[object, int], long: set[int]) -> Program:
    out: list[Insn] = []
    for index, part in enumerate(parts):
        if isinstance(part, _Label):
            continue
        if not isinstance(part, _Jump):
            out.append(part)
            continue
        at = len(out) + 1
        true, false = places[part.true], places[part.false]
        if part.code == JMP | JA:
            out.append((JMP | JA, 0, 0, true - at))
        elif index in long:
            out += [(part.code, 0, 1, part.k), (JMP | JA, 0, 0, true - at - 1), (JMP | JA, 0, 0, false - at - 2)]
        else:
            out.append((part.code, true - at, false - at, part.k))
    return tuple(out)
