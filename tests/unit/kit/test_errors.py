"""Each end of a process has its exit code and a sentence."""

from __future__ import annotations

import errno

import pytest

from packhound.kit import errors


@pytest.mark.parametrize(
    ("kind", "code"),
    [(errors.Usage, 2), (errors.BadInput, 3), (errors.NotPermitted, 4), (errors.Bug, 1)],
)
def test_exit_code(kind: type[errors.Stop], code: int) -> None:
    stop = kind("say what to do", notes=("more",))
    assert (stop.exit_code, stop.reason, stop.notes, str(stop)) == (code, "say what to do", ("more",), "say what to do")


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM, errno.EROFS])
def test_what_the_system_forbids_is_not_permitted(number: int) -> None:
    stop = errors.from_os(OSError(number, "no", "/somewhere"), what="capture")
    assert isinstance(stop, errors.NotPermitted)
    assert str(stop) == "capture: /somewhere: no"


@pytest.mark.parametrize("number", [errno.ENOENT, errno.EISDIR, errno.ENOSPC, errno.EIO])
def test_every_other_fault_of_the_system_is_bad_input(number: int) -> None:
    assert isinstance(errors.from_os(OSError(number, "no"), what="capture"), errors.BadInput)


def test_an_error_without_text_still_says_something() -> None:
    assert str(errors.from_os(OSError("broken"), what="read")) == "read: broken"
