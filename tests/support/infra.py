"""Real payloads and facts for the tests of infrastructure protocols, and what every reader of datagrams is held to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache

from packhound.net.facts import Fact, Malformed, Value
from packhound.net.session import FIELDS_FILLED, Session
from packhound.processor.store.columns import SEVERAL
from tests.support.corpus import CORPUS
from tests.support.dissected import dissect
from tests.support.payloads import talks

Reader = Callable[[bytes], Sequence[Fact | Malformed]]


@cache
def facts(capture: str, kind: str) -> tuple[Mapping[str, Value], ...]:
    """Fields of the facts of one kind, in the order of the capture."""
    said = dissect(str(CORPUS / "captures" / capture))
    return tuple(each.fact.fields for each in said if isinstance(each.fact, Fact) and each.fact.kind == kind)


def payloads(capture: str, *, port: int) -> list[bytes]:
    """Payloads of the first packets of every flow with that port; none where there is no corpus."""
    if not CORPUS.is_dir():
        return []
    spoken = [each for talk in talks(f"captures/{capture}") for each in talk.spoken]
    return [each.data for each in spoken if port in (each.sport, each.dport)]


def held(found: Sequence[Fact | Malformed]) -> Sequence[Fact | Malformed]:
    """The same, after checking that each fact holds only fields that its kind declares, and lists only where tables do."""
    for each in found:
        if isinstance(each, Fact):
            assert set(each.fields) <= FIELDS_FILLED[each.kind]
            assert {name for name, value in each.fields.items() if isinstance(value, tuple)} <= SEVERAL
    return found


def cut_everywhere(read: Reader, data: bytes) -> int:
    """Read every prefix of a message and every message with one byte turned over; how many of the prefixes were
    malformed."""
    for at in range(len(data)):
        held(read(data[:at] + bytes((data[at] ^ 0xFF,)) + data[at + 1 :]))
    return sum(any(isinstance(each, Malformed) for each in held(read(data[:size]))) for size in range(1, len(data)))


def stream(session: Session, pieces: Sequence[bytes], *, direction: int = 0) -> list[Fact | Malformed]:
    """What a session says of the pieces of one direction."""
    return [each for piece in pieces for each in held(session.feed(direction, piece, now=0))]
