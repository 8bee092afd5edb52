"""The figures of an app's WebSockets for Prometheus, right under any number of workers.

    from flask_wshandler.prometheus import PrometheusMetrics

    PrometheusMetrics(app, path="/metrics")

Whichever worker answers a scrape, it answers for all processes of its server. Needs
`prometheus_client`, which the extra `[metrics]` brings.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterable, Iterator

from flask import Flask, Response, request

from .handlers.instrumentation import instrument
from .monitoring.app_metrics import Measured
from .monitoring.callback_histogram import BOUNDS_S
from .monitoring.metric_families import CALLBACK_SECONDS, FAMILIES, Family, Kind
from .monitoring.samples import SUM, Figures, add

try:
    from prometheus_client import REGISTRY, CollectorRegistry
    from prometheus_client.core import (
        CounterMetricFamily,
        GaugeMetricFamily,
        HistogramMetricFamily,
        Metric,
    )
    from prometheus_client.exposition import choose_encoder
    from prometheus_client.multiprocess import MultiProcessCollector
    from prometheus_client.registry import Collector
except ImportError as error:
    raise ImportError(
        "flask_wshandler.prometheus needs prometheus_client: pip install 'flask-wshandler[metrics]'"
    ) from error

_KEY = "wshandler.prometheus"


class PrometheusMetrics:
    """Metrics of the WebSockets of apps.

    `registry` shows them from then on, beside what it has. With `path`, the app serves that
    registry there; without, whatever serves it does. None: none shows them, but one to which
    `flask_wshandler.prometheus.collector` is given.
    """

    def __init__(
        self,
        app: Flask | None = None,
        *,
        path: str | None = None,
        registry: CollectorRegistry | None = REGISTRY,
    ) -> None:
        self._path = path
        self._registry = registry
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Measure the connections that `app` accepts from now on. Starts nothing."""
        if _KEY not in app.extensions:
            app.extensions[_KEY] = measured = Measured(app)
            instrument(app, measured)
            collector.add(measured)
        if self._registry is not None and self._registry not in _registries:
            self._registry.register(collector)
            _registries.add(self._registry)
        if self._path is not None:
            app.add_url_rule(self._path, "wshandler_metrics", self._view)

    def _view(self) -> Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return Response(encode(self._shown()), content_type=content_type)

    def _shown(self) -> Collector:
        if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
            # Then metrics of others are in files, and what a registry has of them is one worker's.
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
            registry.register(collector)
            return registry
        return collector if self._registry is None else self._registry


class WebSocketCollector(Collector):
    """Collects the metrics of all apps in this process that were given to a `PrometheusMetrics`.

    Each collection asks the other processes of their servers, and waits a second at most.
    """

    def __init__(self) -> None:
        self._measured: weakref.WeakSet[Measured] = weakref.WeakSet()

    def add(self, measured: Measured) -> None:
        """Collect those of one more app."""
        self._measured.add(measured)

    def describe(self) -> Iterable[Metric]:
        """Their names, without asking anybody."""
        return [_new_metric(family) for family in FAMILIES]

    def collect(self) -> Iterator[Metric]:
        """The metrics of this moment."""
        by_app = self._sums()
        for family in FAMILIES:
            metric = _new_metric(family)
            for app_name, figures in by_app.items():
                if isinstance(metric, HistogramMetricFamily):
                    _add_histograms(metric, app_name, figures)
                else:
                    _add_samples(metric, family, app_name, figures)
            yield metric

    def _sums(self) -> dict[str, Figures]:
        # Two objects of one app, as factories make them, share a ledger: each has both in its sum.
        measured = {each.ledger_name: each for each in list(self._measured) if not each.is_gone}
        by_app: dict[str, Figures] = {}
        for each in measured.values():
            figures = each.sum()
            if figures is not None:  # else a gap, rather than counters that fall
                add(by_app.setdefault(each.app_name, {}), figures)
        return by_app


_Numbers = GaugeMetricFamily | CounterMetricFamily


def _new_metric(family: Family) -> _Numbers | HistogramMetricFamily:
    name, labels = f"flask_wshandler_{family.name}", ["app", *family.labels]
    if family.kind in (Kind.GAUGE, Kind.SHARED_GAUGE):
        return GaugeMetricFamily(name, family.help, labels=labels)
    if family.kind is Kind.COUNTER:
        return CounterMetricFamily(name, family.help, labels=labels)
    return HistogramMetricFamily(name, family.help, labels=labels)


def _add_samples(metric: _Numbers, family: Family, app_name: str, figures: Figures) -> None:
    for (name, *labels), value in figures.items():
        if name == family.name:
            metric.add_metric([app_name, *labels], value)


def _add_histograms(metric: HistogramMetricFamily, app_name: str, figures: Figures) -> None:
    keys = {key[1:3] for key in figures if key[0] == CALLBACK_SECONDS.name}
    for handler, callback in sorted(keys):
        start = CALLBACK_SECONDS.name, handler, callback
        count = 0.0
        buckets = []
        for index, bound in enumerate((*BOUNDS_S, float("inf"))):
            count += figures.get((*start, str(index)), 0)
            buckets.append(("+Inf" if bound == float("inf") else str(bound), count))
        metric.add_metric(
            [app_name, handler, callback], buckets=buckets, sum_value=figures.get((*start, SUM), 0)
        )


#: For registries that are not given to a `PrometheusMetrics`.
collector = WebSocketCollector()

_registries: weakref.WeakSet[CollectorRegistry] = weakref.WeakSet()
"""Those that have the collector."""
