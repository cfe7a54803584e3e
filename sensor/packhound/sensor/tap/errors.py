"""What a tap cannot do, in words for a person.

    TapError                 exit_code says how the process should end
    +-- CaptureError         a capture file or interface is bad or missing (exit code 3)
    +-- NotPermitted         a privilege is missing (exit code 4)

`CaptureError` is also a value: a tap that meets a fault keeps what was good before it and puts the error in
`Tap.fault` instead of raising it.
"""

from __future__ import annotations


class TapError(Exception):
    """Base of this package's errors: `reason` a sentence fragment, `exit_code` how the process should end."""

    def __init__(self, reason: str, *, exit_code: int) -> None:
        super().__init__(reason)
        self.reason = reason
        self.exit_code = exit_code


class CaptureError(TapError):
    """A source that cannot be read, or not to its end.

    `path` is the file or interface; `offset` the byte at which the fault starts (of the unpacked stream when the
    file is compressed; 0 where it has no meaning).
    """

    def __init__(self, path: str, offset: int, reason: str, exit_code: int = 3) -> None:
        super().__init__(reason, exit_code=exit_code)
        self.path = path
        self.offset = offset

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}" + (f" (at byte {self.offset})" if self.offset else "")


class NotPermitted(TapError):
    """A privilege that capture needs and the process lacks; `missing` names it (`CAP_NET_RAW`)."""

    def __init__(self, reason: str, *, missing: str) -> None:
        super().__init__(reason, exit_code=4)
        self.missing = missing
