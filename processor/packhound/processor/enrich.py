"""Whose traffic it was: pods by address and time, put on flows, calls and packets.

Promise: a pod is named only when the address was its own at the time of the packet; an address shared with its node
names nobody. Tables come from another thread (`use`), names are asked for by one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from packhound.net.sanitise import token
from packhound.processor.store.columns import POD_COLUMNS, POD_FIELDS
from packhound.wire.pods import Pod, PodBook


class PodNames:
    """Names of pods; empty until `use`."""

    def __init__(self) -> None:
        self._book: PodBook | None = None

    @property
    def known(self) -> bool:
        """There are tables to look at."""
        return self._book is not None

    def use(self, book: PodBook) -> None:
        """Look into `book` from now on, which nobody else changes any more. Any thread."""
        self._book = book

    def of(self, address: str, at: int) -> str:
        """The pod as `namespace/name`, sanitised; empty when it was none's."""
        pod = self._book.find(address, at) if self._book is not None else None
        return f"{token(pod.namespace)}/{token(pod.name)}" if pod is not None else ""

    def names(self, addresses: Iterable[str], at: int) -> tuple[str, ...]:
        """The pods of some addresses, each once."""
        found = dict.fromkeys(self.of(address, at) for address in addresses)
        return tuple(name for name in found if name)

    def columns(self, flows: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        """`POD_COLUMNS` of rows of `flows`; None where nothing is known."""
        count = len(flows["flow.first_ns"])
        found = {name: np.full(count, None, object) for name in POD_COLUMNS}
        book = self._book
        if book is None:
            return found
        for end in ("src", "dst"):
            pairs = zip(flows[f"ip.{end}"].tolist(), flows["flow.first_ns"].tolist(), strict=True)
            for row, (address, at) in enumerate(pairs):
                pod = book.find(address, at) if address else None
                for name, value in zip(POD_FIELDS, _said(pod, book.node_of(address or "")), strict=True):
                    found[f"k8s.{end}.{name}"][row] = value
        return found


def _said(pod: Pod | None, node: str) -> tuple[str | None, ...]:
    if pod is None:
        return None, None, None, node or None
    owner = f"{pod.owner_kind}/{pod.owner_name}" if pod.owner_name else None
    return pod.namespace, pod.name, owner, pod.node
