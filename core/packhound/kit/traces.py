"""Traces: spans of this process to an OTLP/gRPC collector, joined across processes by W3C trace context.

Promise: the only door to OpenTelemetry. Without an endpoint every call is nearly free and contexts are still passed
on. Never a span per packet: a span is a batch, a group commit, an edit of a filter. A collector that is away costs
spans, counted by the SDK, never the caller's time. Any thread.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags

Kind = Literal["internal", "producer", "consumer", "client", "server"]
_KINDS = {
    "internal": SpanKind.INTERNAL, "producer": SpanKind.PRODUCER, "consumer": SpanKind.CONSUMER,
    "client": SpanKind.CLIENT, "server": SpanKind.SERVER,
}  # fmt: skip
_TRACEPARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")


@dataclass(frozen=True, slots=True)
class TraceSettings:
    """`endpoint`: URL of an OTLP/gRPC collector, empty for none; `ratio`: share of traces that begin here and are
    recorded, 0 to 1; `service` and `attributes` describe this process (OTel resource conventions)."""

    service: str
    endpoint: str = ""
    ratio: float = 1.0
    insecure: bool = True
    attributes: Mapping[str, str] | None = None


class Span:
    """A span that is open. `traceparent` is what goes into a message's header; empty when nobody records."""

    __slots__ = ("_span",)

    def __init__(self, span: trace.Span) -> None:
        self._span = span

    @property
    def traceparent(self) -> str:
        """The span as a W3C `traceparent` header."""
        context = self._span.get_span_context()
        if not context.is_valid:
            return ""
        return f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"

    def set(self, **attributes: Any) -> None:
        """Set attributes; `__` in a name stands for a dot."""
        for name, value in attributes.items():
            self._span.set_attribute(name.replace("__", "."), value)

    def event(self, name: str, **attributes: Any) -> None:
        """Note that something happened."""
        self._span.add_event(name, {key.replace("__", "."): value for key, value in attributes.items()})

    def failed(self, reason: str) -> None:
        """Mark the span as an error."""
        self._span.set_status(Status(StatusCode.ERROR, reason))

    def end(self, at: int | None = None) -> None:
        """Close a span that was opened with `begin` (`at`: ns since the epoch, now when None)."""
        self._span.end(at)


class Traces:
    """The tracer of this process. Close it to send what waits."""

    def __init__(self, settings: TraceSettings, *, exporter: SpanExporter | None = None) -> None:
        self.enabled = bool(settings.endpoint or exporter)
        self._provider: TracerProvider | None = None
        self._tracer: trace.Tracer = trace.NoOpTracer()
        if not self.enabled:
            return
        resource = Resource.create({"service.name": settings.service, **(settings.attributes or {})})
        sampler = ParentBased(TraceIdRatioBased(settings.ratio))
        self._provider = TracerProvider(resource=resource, sampler=sampler)
        self._provider.add_span_processor(BatchSpanProcessor(exporter or _otlp(settings)))
        self._tracer = self._provider.get_tracer("packhound")

    def begin(
        self,
        name: str,
        *,
        parent: str = "",
        links: Iterable[str] = (),
        kind: Kind = "internal",
        start: int | None = None,
        **attributes: Any,
    ) -> Span:
        """Open a span that the caller ends. `parent` and `links` are traceparents (what is none is ignored)."""
        if not self.enabled:
            return Span(_passed_on(parent))
        return Span(
            self._tracer.start_span(
                name,
                context=trace.set_span_in_context(_passed_on(parent)),
                links=[Link(context) for context in map(_context, links) if context is not None],
                kind=_KINDS[kind],
                start_time=start,
                attributes={key.replace("__", "."): value for key, value in attributes.items()},
            )
        )

    @contextmanager
    def span(
        self, name: str, *, parent: str = "", links: Iterable[str] = (), kind: Kind = "internal", **attributes: Any
    ) -> Iterator[Span]:
        """A span around a block; an exception marks it as failed and goes on."""
        opened = self.begin(name, parent=parent, links=links, kind=kind, **attributes)
        try:
            yield opened
        except BaseException as error:
            opened.failed(type(error).__name__)
            raise
        finally:
            opened.end()

    def close(self, timeout: float = 3.0) -> None:
        """Send what waits, for at most `timeout` seconds."""
        if self._provider is not None:
            self._provider.force_flush(int(timeout * 1000))
            self._provider.shutdown()


OFF = Traces(TraceSettings("packhound"))


def _otlp(settings: TraceSettings) -> SpanExporter:
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter(endpoint=settings.endpoint, insecure=settings.insecure, timeout=5)


def _context(traceparent: str) -> SpanContext | None:
    found = _TRACEPARENT.fullmatch(traceparent)
    if found is None:
        return None
    flags = TraceFlags(int(found[3], 16))
    context = SpanContext(int(found[1], 16), int(found[2], 16), is_remote=True, trace_flags=flags)
    return context if context.is_valid else None


def _passed_on(traceparent: str) -> trace.Span:
    context = _context(traceparent)
    return trace.INVALID_SPAN if context is None else NonRecordingSpan(context)
