"""`packhound inspect`: every flow and every message of a capture as rows under registry names.

Promise: rows come in the order in which the capture decides them: a message when its last packet is read, a flow when
it ends. Text is raw from the wire: whoever prints it makes it safe.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from packhound.net.flowrow import flow_rows
from packhound.sensor.agent import Agent, AgentSettings
from packhound.sensor.scan import Message
from packhound.sensor.tap.frames import Tap


def message_row(message: Message, interface: str) -> dict[str, Any]:
    """One message as a row."""
    return {
        "kind": message.fact.kind,
        "frame": message.number,
        "time_ns": message.ts,
        "interface": interface,
        "flow.id": message.flow,
        **{key: value for key, value in message.header.items() if key not in ("ip.addr", "port")},
        **message.fact.fields,
    }


class Inspection:
    """Reads a tap to its end; `rows` yields what it holds. `kinds`: only these (None: all; a prefix such as `tls`
    takes `tls.client_hello` too)."""

    def __init__(self, tap: Tap, *, settings: AgentSettings, kinds: frozenset[str] | None = None) -> None:
        self._tap = tap
        self._kinds = kinds
        self._rows: list[dict[str, Any]] = []
        self.agent = Agent(
            tap,
            settings=settings,
            on_batch=lambda _: None,
            on_flows=self._flows,
            on_message=self._message,
            inspect=True,
        )

    def _wanted(self, kind: str) -> bool:
        return self._kinds is None or kind in self._kinds or kind.split(".", 1)[0] in self._kinds

    def _message(self, message: Message) -> None:
        if self._wanted(message.fact.kind):
            self._rows.append(message_row(message, self._tap.interfaces[message.iface].name))

    def _flows(self, records: Any, hosts: dict[int, str], _filters: dict[int, tuple[str, ...]]) -> None:
        if self._wanted("flow"):
            names = [each.name for each in self._tap.interfaces]
            self._rows += flow_rows(records, hosts=hosts, interfaces=names)

    def rows(self, on_tick: Callable[[dict[str, int]], None] | None = None) -> Iterator[dict[str, Any]]:
        """Every row, as the capture is read."""
        for _ in self.agent.steps():
            if on_tick is not None:
                on_tick(self.agent.counters())
            yield from self._rows
            self._rows.clear()
