"""The user's own `kubectl`: calls that end, and children that run until we do; ports of pods on this host.

Promise: everything is done with the rights of the user's kubeconfig, which is never read here; no credential is
stored. A child ends when it is told, when its block ends, and when this process does, however that happens: it hangs
on a pipe from us. What kubectl complains of becomes a Stop that says what to do. One event loop.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import subprocess
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

from packhound.kit.errors import BadInput, NotPermitted, Stop

CALL_WITHIN = 30.0  #: seconds
OPEN_WITHIN = 20.0
END_WITHIN = 3.0
SAY_WITHIN = 0.5
MAX_LINE = 1 << 20


class Missing(BadInput):
    """The cluster has no such object."""


_PORT = re.compile(rb"Forwarding from 127\.0\.0\.1:(\d{1,5}) ->")
# The child does not outlive the pipe that the shell reads from, which the system closes when we end, even by kill -9.
_LEASH = '"$@" </dev/null & child=$!; exec >/dev/null 2>&1; read -r _; kill "$child"; wait "$child"'
_INSTALL = "install it (https://kubernetes.io/docs/tasks/tools/) or put its folder on PATH"
_KINDS = "install Packhound in the cluster: helm upgrade --install packhound-crds, then packhound (docs/kubernetes.md)"
_REFUSALS: tuple[tuple[tuple[str, ...], type[Stop], str, str], ...] = (
    (("forbidden", "is not allowed"), NotPermitted, "the cluster does not let you",
     "see what you may: kubectl auth can-i --list; ask an administrator for the rest (docs/kubectl.md has the list)"),
    (("unauthorized", "must be logged in", "provide credentials", "getting credentials", "token has expired",
      "certificate has expired"), NotPermitted, "the cluster does not know you",
     "log in again, or choose another user: kubectl config get-contexts, --context NAME"),
    (("doesn't have a resource type", "no matches for kind", "ensure crds are installed"), BadInput,
     "the cluster has no such kind", _KINDS),
    (("notfound", "not found"), Missing, "there is no such thing in the cluster",
     "kubectl packhound status -A lists filters"),
    (("does not exist", "no configuration has been provided", "invalid configuration", "error loading config",
      "no context", "stat /"), BadInput, "the kubeconfig cannot be used",
     "set KUBECONFIG or --kubeconfig, and --context: kubectl config get-contexts"),
    (("refused", "unable to connect", "no such host", "i/o timeout", "timed out", "deadline exceeded", "no route",
      "unreachable", "connection reset", "tls handshake", "eof"), BadInput, "the cluster cannot be reached",
     "is it the right one? kubectl config current-context; kubectl cluster-info"),
    (("denied the request", "is invalid", "invalid:", "error validating"), BadInput, "the cluster refused it",
     "kubectl packhound check FILE says what is wrong"),
)  # fmt: skip


def fault(said: str, *, doing: str) -> Stop:
    """What kubectl said on its standard error, as a Stop that says what to do."""
    lines = [line.strip() for line in said.splitlines() if line.strip() and not re.match(r"[EWI]\d{4} ", line.strip())]
    text = " ".join(lines[-3:]) or said.strip()[-500:] or "kubectl said nothing"
    low = text.lower()
    for words, kind, means, advice in _REFUSALS:
        if any(word in low for word in words):
            return kind(f"{means}: {doing}: {text}", notes=(advice,))
    return BadInput(f"kubectl failed: {doing}: {text}")


@dataclass(frozen=True, slots=True)
class Kubectl:
    """How to call kubectl: flags of ours that are its own too, empty for what the user's configuration says."""

    kubeconfig: str = ""
    context: str = ""
    user: str = ""

    def command(self, *words: str) -> list[str]:
        """The whole command. Raises BadInput when there is no kubectl."""
        found = shutil.which("kubectl")
        if found is None:
            raise BadInput("there is no kubectl on PATH", notes=(_INSTALL,))
        given = (("--kubeconfig", self.kubeconfig), ("--context", self.context), ("--as", self.user))
        return [found, *words, *(f"{flag}={value}" for flag, value in given if value)]

    def text(self, *words: str, given: str | None = None, doing: str = "", within: float = CALL_WITHIN) -> str:
        """Run it to its end; what it printed. Raises Stop."""
        what = doing or " ".join(words[:2])
        try:
            done = subprocess.run(  # noqa: S603 - the user's kubectl, no shell
                self.command(*words), input=given, stdin=subprocess.DEVNULL if given is None else None,
                capture_output=True, text=True, errors="replace", timeout=within, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise fault("timed out", doing=what) from None
        except OSError as error:
            raise BadInput(f"kubectl cannot be run: {error.strerror}", notes=(_INSTALL,)) from error
        if done.returncode:
            raise fault(done.stderr or done.stdout, doing=what)
        return done.stdout

    def json(self, *words: str, given: str | None = None, doing: str = "") -> Any:
        """Run it with `-o json`; its answer. Raises Stop."""
        text = self.text(*words, "-o", "json", given=given, doing=doing)
        try:
            return json.loads(text)
        except ValueError:
            raise BadInput(f"kubectl printed no JSON: {doing or words[0]}: {text[:200]!r}") from None

    def items(self, *words: str, doing: str = "") -> list[dict[str, Any]]:
        """The objects of a list."""
        found = self.json("get", *words, doing=doing)
        return list(found.get("items") or ()) if "items" in found else [found]

    def namespace(self) -> str:
        """The namespace of the context in use."""
        # A kubeconfig that says nothing is no error here: what comes next will say so.
        with suppress(BadInput, NotPermitted):
            words = ("config", "view", "--minify", "-o", "jsonpath={..namespace}")
            return self.text(*words).strip() or "default"
        return "default"


async def fetched(kubectl: Kubectl, *words: str, doing: str) -> Any:
    """The answer of `kubectl ... -o json`, asked beside other work. Raises Stop."""
    command = kubectl.command(*words, "-o", "json", f"--request-timeout={int(CALL_WITHIN / 2)}s")
    pipe = asyncio.subprocess.PIPE
    try:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.DEVNULL, stdout=pipe, stderr=pipe, start_new_session=True
        )
    except OSError as error:
        raise BadInput(f"kubectl cannot be run: {error.strerror}", notes=(_INSTALL,)) from error
    try:
        async with asyncio.timeout(CALL_WITHIN):
            out, said = await process.communicate()
    except TimeoutError:
        raise fault("timed out", doing=doing) from None
    finally:
        if process.returncode is None:
            process.kill()
    if process.returncode:
        raise fault((said or out).decode("utf-8", "replace"), doing=doing)
    try:
        return json.loads(out)
    except ValueError:
        raise BadInput(f"kubectl printed no JSON: {doing}") from None


class Child:
    """A kubectl that runs until it is ended."""

    def __init__(self, process: asyncio.subprocess.Process, doing: str) -> None:
        self._process, self._doing = process, doing
        self._said: deque[str] = deque(maxlen=20)
        self._hearing = asyncio.ensure_future(self._hear())

    @classmethod
    async def start(cls, command: Sequence[str], *, doing: str) -> Child:
        """Start it, in a session of its own: Ctrl-C is ours to act on."""
        leash = os.name == "posix"
        whole = ["/bin/sh", "-c", _LEASH, "packhound", *command] if leash else list(command)
        pipe = asyncio.subprocess.PIPE
        try:
            process = await asyncio.create_subprocess_exec(
                *whole, stdin=pipe, stdout=pipe, stderr=pipe, limit=MAX_LINE, start_new_session=leash
            )
        except OSError as error:
            raise BadInput(f"kubectl cannot be run: {error.strerror}", notes=(_INSTALL,)) from error
        return cls(process, doing)

    async def _hear(self) -> None:
        assert self._process.stderr is not None
        with suppress(ValueError):
            async for line in self._process.stderr:
                self._said.append(line.decode("utf-8", "replace").rstrip())

    async def line(self) -> bytes:
        """Its next line; empty when it ended."""
        assert self._process.stdout is not None
        try:
            return await self._process.stdout.readline()
        except ValueError:  # longer than MAX_LINE
            return b"\n"

    async def fault(self, *, ended: bool) -> Stop:
        """Why it ended, or does not go on. One that ended is heard out: without its last words nobody knows why."""
        with suppress(TimeoutError):  # wait_for before Python 3.12 forgets a cancellation that comes with the end
            async with asyncio.timeout(OPEN_WITHIN if ended else SAY_WITHIN):
                await asyncio.shield(self._hearing)
        return fault("\n".join(self._said), doing=self._doing)

    async def end(self) -> None:
        """End it and wait until it has."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        if os.name != "posix":
            with suppress(ProcessLookupError):
                self._process.terminate()
        try:
            async with asyncio.timeout(END_WITHIN):
                await self._process.wait()
        except TimeoutError:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL) if os.name == "posix" else self._process.kill()
            await self._process.wait()
        finally:
            self._hearing.cancel()


@asynccontextmanager
async def running(kubectl: Kubectl, *words: str, doing: str) -> AsyncIterator[Child]:
    """A child for a block."""
    child = await Child.start(kubectl.command(*words), doing=doing)
    try:
        yield child
    finally:
        await asyncio.shield(asyncio.ensure_future(child.end()))


@asynccontextmanager
async def forwarded(kubectl: Kubectl, namespace: str, pod: str, port: int) -> AsyncIterator[int]:
    """A port of a pod on 127.0.0.1, for a block; the number it has here. Raises Stop."""
    words = ("port-forward", f"--namespace={namespace}", f"pod/{pod}", f":{port}", "--address=127.0.0.1")
    async with running(kubectl, *words, doing=f"port-forward to {namespace}/{pod}") as child:
        try:
            async with asyncio.timeout(OPEN_WITHIN):
                while line := await child.line():
                    if found := _PORT.match(line):
                        break
                else:
                    raise await child.fault(ended=True)
        except TimeoutError:
            raise await child.fault(ended=False) from None
        drained = asyncio.ensure_future(_drain(child))  # it says something of every connection
        try:
            yield int(found[1])
        finally:
            drained.cancel()


async def _drain(child: Child) -> None:
    while await child.line():
        pass
