"""Every target by name."""

from __future__ import annotations

from functools import cache

from tests.fuzz import captures, language, messages, packets, sessions, streams
from tests.fuzz.target import Target


@cache
def targets() -> dict[str, Target]:
    """All of them, in the order of the table of docs/fuzzing.md."""
    found = [
        *sessions.targets(), *packets.targets(), *streams.targets(), *captures.targets(), *messages.targets(), *language.targets(),
    ]  # fmt: skip
    return {each.name: each for each in found}
