"""Text from the wire: bytes to `str` without loss of position and without errors.

Promise: never raises, linear. Escaping for a terminal, file name or page is not done here: whoever shows text does it.
"""

from __future__ import annotations


def decode(data: bytes) -> str:
    """Decode as UTF-8; bytes that are not UTF-8 are read as ISO 8859-1, so nothing is lost."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def is_digits(value: str) -> bool:
    """Tell whether the text is ASCII digits only, at least one."""
    return value.isascii() and value.isdigit()


def to_number(value: str, *, limit: int) -> int | None:
    """Read ASCII digits as a number up to `limit`; anything else is None."""
    value = value.strip()
    if not is_digits(value) or len(value) > 20:
        return None
    number = int(value)
    return number if number <= limit else None
