"""Metrics: what a process counts, read when somebody asks, in the Prometheus text format.

Promise: the only door to prometheus_client. A source is a function that returns samples; it is called for each scrape
in the scraper's thread, so it must only read. Names carry base units (`_bytes`, `_seconds`, `_total`); labels come
from closed sets (a name from the wire is never one).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Literal, NamedTuple

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.process_collector import ProcessCollector

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Descriptor(NamedTuple):
    """One metric: name without `_total`, what it is, one line of help, names of its labels."""

    name: str
    kind: Literal["counter", "gauge", "info"]
    help: str
    labels: tuple[str, ...] = ()


class Sample(NamedTuple):
    """One value: name of the metric, value, label values in the order of the descriptor (info: all as pairs)."""

    name: str
    value: float
    labels: tuple[str, ...] = ()


Source = Callable[[], Iterable[Sample]]


class Metrics:
    """Everything this process tells a scraper. A sample whose name no descriptor has is a bug and raises KeyError."""

    def __init__(self, descriptors: Iterable[Descriptor], *, info: Mapping[str, str] | None = None) -> None:
        self._descriptors = {row.name: row for row in descriptors}
        self._info = dict(info or {})
        self._sources: list[Source] = []
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._registry.register(_Collector(self.families))

    def add(self, source: Source) -> None:
        """Ask `source` too at each scrape."""
        self._sources.append(source)

    def families(self) -> Iterator[Metric]:
        """Every metric with the samples that its sources give now."""
        found: dict[str, Metric] = {}
        if self._info:
            yield InfoMetricFamily("packhound_build", "version and ways of working", value=self._info)
        for source in self._sources:
            for sample in source():
                row = self._descriptors[sample.name]
                if row.name not in found:
                    made = CounterMetricFamily if row.kind == "counter" else GaugeMetricFamily
                    found[row.name] = made(row.name, row.help, labels=row.labels)
                found[row.name].add_metric(sample.labels, sample.value)  # type: ignore[attr-defined]
        yield from found.values()

    def text(self) -> bytes:
        """The answer to a scrape."""
        return bytes(generate_latest(self._registry))


class _Collector:
    def __init__(self, collect: Callable[[], Iterator[Metric]]) -> None:
        self._collect = collect

    def collect(self) -> Iterator[Metric]:
        return self._collect()

    def describe(self) -> list[Metric]:
        return []
