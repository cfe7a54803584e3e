"""AS paths of BGP (RFC 4271 section 4.3, 5065, 6793, 8205): segments of AS numbers, and how people write them.

Promise: at most `MAX_PATH` AS numbers a path; raises nothing but `Short`. Whether numbers have two or four octets is
for the caller to say; where it does not know, the width that fits the bytes counts.
"""

from __future__ import annotations

from packhound.net.octets import Octets, Short, numbers

MAX_PATH = 1024
SET, SEQUENCE, CONFED_SEQUENCE, CONFED_SET = 1, 2, 3, 4
_BRACKETS = {SET: "{}", CONFED_SEQUENCE: "()", CONFED_SET: "[]"}
Segment = tuple[int, tuple[int, ...]]


def segments(data: bytes, width: int) -> list[Segment]:
    """Read an AS path of AS numbers of `width` octets; raises Short when it does not fit exactly."""
    cursor, out, count = Octets(data), list[Segment](), 0
    while len(cursor):
        kind, size = cursor.number(1), cursor.number(1)
        if not SET <= kind <= CONFED_SET:
            raise Short(cursor.at)
        members = numbers(cursor.part(size * width), width)
        count += len(members)
        if count > MAX_PATH:
            break
        out.append((kind, members))
    return out


def segments_of_any_width(data: bytes, width: int) -> list[Segment]:
    """Read an AS path in the width agreed on; where that is not known or does not fit, in the one that does."""
    first = width or 4
    try:
        return segments(data, first)
    except Short:
        return segments(data, 6 - first)


def whole_path(path: list[Segment], path4: list[Segment]) -> list[Segment]:
    """Put the AS numbers that an old speaker could not hold back into its path (RFC 6793 section 4.2.3)."""
    ours, theirs = _hops(path), _hops(path4)
    if not theirs or theirs > ours:
        return path
    out, left = [], ours - theirs
    for kind, members in path:
        if left <= 0:
            break
        kept = members[:left] if kind in (SEQUENCE, CONFED_SEQUENCE) else members
        out.append((kind, kept))
        left -= _hops([(kind, kept)])
    if out and path4 and out[-1][0] == path4[0][0] == SEQUENCE:
        return [*out[:-1], (SEQUENCE, out[-1][1] + path4[0][1]), *path4[1:]]
    return out + path4


def _hops(path: list[Segment]) -> int:
    """Length of a path: a set counts one, confederations nothing (RFC 5065)."""
    return sum(len(members) if kind == SEQUENCE else kind == SET for kind, members in path)


def segment_text(segment: Segment) -> str:
    """Write a segment: a set in braces, a sequence as it is, confederations in ( ) and [ ]."""
    kind, members = segment
    text = " ".join(map(str, members))
    return text if kind == SEQUENCE else f"{_BRACKETS[kind][0]}{text}{_BRACKETS[kind][1]}"


def secure_path(body: Octets) -> list[Segment]:
    """Read the Secure_Path of BGPsec (RFC 8205 section 3.1): count, flags and AS number of each hop."""
    size = body.number(2)
    if size < 2:
        raise Short(body.at)
    path = body.part(size - 2)
    members = []
    for _ in range(min(len(path) // 6, MAX_PATH)):
        repeat = path.number(1)
        path.skip(1)
        members += [path.number(4)] * max(1, repeat)
        if len(members) > MAX_PATH:
            raise Short(path.at)
    return [(SEQUENCE, tuple(members))] if members else []
