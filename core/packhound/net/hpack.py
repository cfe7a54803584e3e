"""HPACK, the header compression of HTTP/2 (RFC 7541): header blocks -> header fields, with the table they share.

Promise: linear in the block (Huffman text grows 8/5 at most, a reference costs one step); the table holds at most
`MAX_TABLE` bytes, a list at most `MAX_FIELDS` fields and `MAX_LIST` bytes of which more are decoded but not kept, so a
block of references to one long entry is no bomb; never raises. A table that was not seen from its start is no error:
references to what is missing are left out and said (`HeaderList.missing`), later ones are right again, because HPACK
counts from the newest entry.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from functools import cache

from packhound.net.facts import Malformed
from packhound.net.octets import Octets, Short
from packhound.net.text import decode

MAX_TABLE = 64 * 1024
MAX_FIELDS = 256
MAX_LIST = 64 * 1024
MAX_STRING = 32 * 1024
DEFAULT_TABLE = 4096
_OVERHEAD = 32  # RFC 7541 section 4.1
_END = 256

_NAMES = (
    ":authority", ":method", ":method", ":path", ":path", ":scheme", ":scheme", ":status", ":status", ":status",
    ":status", ":status", ":status", ":status", "accept-charset", "accept-encoding", "accept-language",
    "accept-ranges", "accept", "access-control-allow-origin", "age", "allow", "authorization", "cache-control",
    "content-disposition", "content-encoding", "content-language", "content-length", "content-location",
    "content-range", "content-type", "cookie", "date", "etag", "expect", "expires", "from", "host", "if-match",
    "if-modified-since", "if-none-match", "if-range", "if-unmodified-since", "last-modified", "link", "location",
    "max-forwards", "proxy-authenticate", "proxy-authorization", "range", "referer", "refresh", "retry-after",
    "server", "set-cookie", "strict-transport-security", "transfer-encoding", "user-agent", "vary", "via",
    "www-authenticate",
)  # fmt: skip
_VALUES = {
    2: "GET", 3: "POST", 4: "/", 5: "/index.html", 6: "http", 7: "https", 8: "200", 9: "204", 10: "206", 11: "304",
    12: "400", 13: "404", 14: "500", 16: "gzip, deflate",
}  # fmt: skip
Entry = tuple[bytes, bytes]
#: RFC 7541 appendix A.
STATIC: tuple[Entry, ...] = tuple(
    (name.encode("ascii"), _VALUES.get(index, "").encode("ascii")) for index, name in enumerate(_NAMES, 1)
)

#: Bits of each symbol's code; the code is canonical, so they say it all (RFC 7541 appendix B, 256 is the end).
_LENGTHS = (
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28,
    28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15,
    6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22,
    20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23,
    23, 24, 22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22,
    22, 22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26,
    27, 24, 21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27,
    26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, 30,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class HeaderList:
    """Header fields in order, names as sent; `missing` references to entries never seen, `cut` fields behind a cap."""

    fields: tuple[tuple[str, str], ...]
    missing: int = 0
    cut: int = 0

    def get(self, name: str) -> str:
        """Return the first value of a field by its name; empty when absent."""
        return next((value for key, value in self.fields if key == name), "")


@dataclass(slots=True)
class _Gathered:
    fields: list[tuple[str, str]] = field(default_factory=list)
    size: int = 0
    missing: int = 0
    cut: int = 0

    def add(self, entry: Entry | None) -> None:
        if entry is None or not entry[0]:
            self.missing += 1
            return
        self.size += _size(entry)
        if len(self.fields) >= MAX_FIELDS or self.size > MAX_LIST:
            self.cut += 1
        else:
            self.fields.append((decode(entry[0]), decode(entry[1])))


class HpackDecoder:
    """The decoding side of one direction of a connection."""

    __slots__ = ("_limit", "_size", "_table")

    def __init__(self) -> None:
        self._table: deque[Entry] = deque()  # newest first
        self._size = 0
        self._limit = DEFAULT_TABLE

    def forget(self) -> None:
        """Drop the table: header blocks were lost, its entries are no longer where they were."""
        self._table.clear()
        self._size = 0

    def decode(self, block: bytes) -> HeaderList | Malformed:
        """Read one whole header block; `Malformed` when it breaks HPACK (the table is then no longer reliable)."""
        cursor = Octets(block)
        found = _Gathered()
        try:
            while len(cursor):
                first = cursor.number(1)
                if first & 0x80:
                    found.add(self._entry(_integer(cursor, first, 7)))
                elif first & 0x40:
                    entry = self._literal(cursor, _integer(cursor, first, 6))
                    self._insert(entry)
                    found.add(entry)
                elif first & 0x20:
                    self._resize(cursor, _integer(cursor, first, 5))
                else:
                    found.add(self._literal(cursor, _integer(cursor, first, 4)))
        except Short as short:
            return Malformed("HPACK header block breaks", short.offset)
        return HeaderList(tuple(found.fields), found.missing, found.cut)

    def _entry(self, index: int) -> Entry | None:
        if 1 <= index <= len(STATIC):
            return STATIC[index - 1]
        index -= len(STATIC) + 1
        return self._table[index] if 0 <= index < len(self._table) else None

    def _literal(self, cursor: Octets, index: int) -> Entry:
        """Read a literal; the name is empty where it refers to an entry never seen."""
        if not index:
            name = _string(cursor)
            if not name:
                raise Short(cursor.at)
        else:
            known = self._entry(index)
            name = known[0] if known else b""
        return name, _string(cursor)

    def _insert(self, entry: Entry) -> None:
        self._table.appendleft(entry)
        self._size += _size(entry)
        self._evict()

    def _resize(self, cursor: Octets, size: int) -> None:
        if size > MAX_TABLE:
            raise Short(cursor.at)
        self._limit = size
        self._evict()

    def _evict(self) -> None:
        while self._size > self._limit and self._table:
            self._size -= _size(self._table.pop())


def _size(entry: Entry) -> int:
    return len(entry[0]) + len(entry[1]) + _OVERHEAD


def _integer(cursor: Octets, first: int, bits: int) -> int:
    """Read an integer whose first octet was read (RFC 7541 section 5.1), at most 28 bits behind its prefix."""
    mask = (1 << bits) - 1
    value = first & mask
    if value < mask:
        return value
    for shift in (0, 7, 14, 21):
        octet = cursor.number(1)
        value += (octet & 0x7F) << shift
        if not octet & 0x80:
            return value
    raise Short(cursor.at)


def _string(cursor: Octets) -> bytes:
    """Read a string literal (RFC 7541 section 5.2)."""
    first = cursor.number(1)
    size = _integer(cursor, first, 7)
    if size > MAX_STRING:
        raise Short(cursor.at)
    data = cursor.take(size)
    if not first & 0x80:
        return data
    plain = huffman(data)
    if plain is None:
        raise Short(cursor.at)
    return plain


def huffman(data: bytes) -> bytes | None:
    """Decode Huffman text; None when it holds the end symbol or its padding is not the start of it (section 5.2)."""
    steps, good_end = _machine()
    out = bytearray()
    state = 0
    for octet in data:
        for nibble in (octet >> 4, octet & 15):
            state, symbol = steps[state << 4 | nibble]
            if symbol >= 0:
                out.append(symbol)
            if state < 0:
                return None
    return bytes(out) if state in good_end else None


@cache
def _machine() -> tuple[tuple[tuple[int, int], ...], frozenset[int]]:
    """The code as a machine over four bits: (state, bits) -> (next state, symbol or -1), and the states a text may end
    in. A state is an inner node of the tree; -1 says that the bits are no text."""
    children = _tree()
    steps = []
    for node in range(len(children)):
        for nibble in range(16):
            at, symbol = node, -1
            for bit in (8, 4, 2, 1):
                at = children[at][bool(nibble & bit)]
                if at < 0:  # a leaf; no code is shorter than five bits, so at most one in four
                    symbol, at = ~at, 0
                    if symbol == _END:
                        at, symbol = -1, -1
                        break
            steps.append((at, symbol))
    good_end, at = {0}, 0
    for _ in range(7):  # padding: at most seven bits of the end symbol, which is all ones
        at = children[at][1]
        good_end.add(at)
    return tuple(steps), frozenset(good_end)


def _tree() -> list[list[int]]:
    """The code as a tree: node -> its two children; a leaf is ~symbol."""
    children = [[0, 0]]
    code, before = 0, 0
    for symbol in sorted(range(len(_LENGTHS)), key=lambda each: (_LENGTHS[each], each)):
        code <<= _LENGTHS[symbol] - before
        before = _LENGTHS[symbol]
        at = 0
        for bit in range(before - 1, 0, -1):
            side = code >> bit & 1
            if not children[at][side]:
                children[at][side] = len(children)
                children.append([0, 0])
            at = children[at][side]
        children[at][code & 1] = ~symbol
        code += 1
    return children
