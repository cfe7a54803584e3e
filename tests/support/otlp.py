"""A real OTLP/gRPC receiver: what a collector would have been sent."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as messages
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as service


class Received(NamedTuple):
    """One span: ids in hex, attributes as values, links as (trace, span)."""

    service: str
    name: str
    trace: str
    span: str
    parent: str
    attributes: dict[str, Any]
    links: tuple[tuple[str, str], ...]
    start: int
    end: int
    error: bool
    kind: str = ""
    resource: dict[str, Any] = {}


class Collector(service.TraceServiceServicer):
    """Listens on a free port of loopback; `spans` is what came."""

    def __init__(self) -> None:
        self.spans: list[Received] = []
        self._lock = threading.Lock()
        self._server = grpc.server(ThreadPoolExecutor(4))
        service.add_TraceServiceServicer_to_server(self, self._server)
        self.endpoint = f"http://127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def Export(self, request: Any, context: Any) -> Any:
        with self._lock:
            for resource in request.resource_spans:
                who = values_of(resource.resource.attributes)
                for scope in resource.scope_spans:
                    self.spans += [received(who, span) for span in scope.spans]
        return messages.ExportTraceServiceResponse()

    def wait(self, wanted: Any, *, timeout: float = 10.0) -> list[Received]:
        """The spans, once `wanted(spans)` holds; what there is when the time is over."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline and not wanted(self.spans):
            time.sleep(0.05)
        return list(self.spans)

    def close(self) -> None:
        self._server.stop(0).wait()


def values_of(attributes: Any) -> dict[str, Any]:
    return {a.key: getattr(a.value, a.value.WhichOneof("value")) for a in attributes}


def received(who: dict[str, Any], span: Any) -> Received:
    links = tuple((link.trace_id.hex(), link.span_id.hex()) for link in span.links)
    kind = span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_").lower()
    return Received(
        who["service.name"], span.name, span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex(),
        values_of(span.attributes), links, span.start_time_unix_nano, span.end_time_unix_nano, span.status.code == 2,
        kind, who,
    )  # fmt: skip
