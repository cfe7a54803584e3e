"""What a dissector says: facts about the wire, or why the bytes could not be read.

Promise: values only; every dissector of `packhound.net` returns these and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

Scalar = str | int | float | bool
Value = Scalar | tuple[Scalar, ...]


@dataclass(frozen=True, slots=True)
class Malformed:
    """Bytes that break their protocol: `reason` is ours (never bytes from the wire), `offset` where it broke."""

    reason: str
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Fact:
    """One dissected message.

    `kind` is the message kind (`sip`, `dns`, `tls.client_hello`, ...); `fields` maps registry names
    (`packhound.fields`) to a scalar, or a tuple where the message holds several. Strings from the wire are raw
    (already decoded to text, not sanitised): whoever shows them sanitises them.
    """

    kind: str
    fields: Mapping[str, Value] = field(default_factory=dict)
