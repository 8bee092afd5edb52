"""The WebSockets of an app for OpenTelemetry: metrics of this process, and a span per callback.

    from flask_wshandler.otel import OpenTelemetry

    OpenTelemetry(app)

Needs `opentelemetry-api`, which the extra `[otel]` brings. Where it all goes is for the SDK to say,
which the app sets up as it wants; without one, nothing is recorded.
"""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from flask import Flask

from .handlers.handler import shown_name_of
from .handlers.instrumentation import Interceptor, instrument
from .monitoring.callback_histogram import BOUNDS_S, Names
from .monitoring.metric_families import CALLBACK_SECONDS, FAMILIES, Family, Kind
from .monitoring.samples import Figures, figures_of
from .upgrade.app_state import state_of

try:
    from opentelemetry import metrics, trace
    from opentelemetry.context import Context
except ImportError as error:
    raise ImportError(
        "flask_wshandler.otel needs opentelemetry-api: pip install 'flask-wshandler[otel]'"
    ) from error

if TYPE_CHECKING:
    from opentelemetry.metrics import CallbackOptions, Meter, MeterProvider, Observation
    from opentelemetry.trace import Tracer, TracerProvider

    from .handlers.handler import WebSocketHandler
    from .handlers.request_snapshot import RequestSnapshot

_SCOPE = "flask_wshandler"
_ROOT = Context()


class OpenTelemetry:
    """Metrics and spans of the WebSockets of apps.

    Each is switched off by its argument; the providers are the global ones unless given.
    """

    def __init__(
        self,
        app: Flask | None = None,
        *,
        with_metrics: bool = True,
        with_spans: bool = True,
        meter_provider: MeterProvider | None = None,
        tracer_provider: TracerProvider | None = None,
    ) -> None:
        self._with_metrics = with_metrics
        self._with_spans = with_spans
        self._meter_provider = meter_provider
        self._tracer_provider = tracer_provider
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Watch the connections that `app` accepts from now on; each way once."""
        if self._with_metrics and _is_first(app, "metrics"):
            meter = metrics.get_meter(_SCOPE, meter_provider=self._meter_provider)
            _observe_figures(meter, app)
            instrument(app, _Durations(meter, app.name))
        if self._with_spans and _is_first(app, "spans"):
            tracer = trace.get_tracer(_SCOPE, tracer_provider=self._tracer_provider)
            instrument(app, _Spans(tracer))


def _is_first(app: Flask, what: str) -> bool:
    key = f"wshandler.otel.{what}"
    is_first = key not in app.extensions
    app.extensions[key] = True
    return is_first


class _Spans:
    """Has a span made for each callback.

    Each is the root of a trace and has a link to the span of the handshake: a connection lives for
    days, and a trace with all of its messages would be of no use, nor be sampled message by
    message.
    """

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    def request_came(self) -> None:
        """Its span is the server's or Flask's."""

    def accepted(self, handler: WebSocketHandler, snapshot: RequestSnapshot) -> Interceptor:
        """Note the span of the handshake."""
        tracer, handler_name = self._tracer, shown_name_of(handler)
        handshake = trace.get_current_span().get_span_context()
        links = [trace.Link(handshake)] if handshake.is_valid else []
        attributes = _attributes(handler_name, snapshot)

        def interceptor(callback: Callable[..., None], *args: Any) -> None:
            of_message = _attributes_of_message(args[0]) if args else {}
            with tracer.start_as_current_span(
                f"{handler_name}.{callback.__name__}",
                context=_ROOT,
                kind=trace.SpanKind.SERVER,
                attributes=attributes | of_message,
                links=links,
            ):
                callback(*args)

        return interceptor


def _attributes(handler_name: str, snapshot: RequestSnapshot) -> dict[str, str | int]:
    """By OpenTelemetry's conventions where there are any. Not the URL: secrets may be in it."""
    attributes: dict[str, str | int] = {
        "network.protocol.name": "websocket",
        "flask_wshandler.handler": handler_name,
        "flask_wshandler.connection_id": snapshot.connection_id,
    }
    if snapshot.url_rule is not None:
        attributes["http.route"] = snapshot.url_rule.rule
    address = snapshot.get("REMOTE_ADDR")
    if address:
        attributes["client.address"] = address
    return attributes


def _attributes_of_message(message: str | bytes) -> dict[str, str | int]:
    kind = "text" if isinstance(message, str) else "binary"
    return {"flask_wshandler.message.kind": kind, "flask_wshandler.message.length": len(message)}


class _Durations:
    """Has the duration of each callback recorded."""

    def __init__(self, meter: Meter, app_name: str) -> None:
        self._app_name = app_name
        self._names = Names()
        self._histogram = meter.create_histogram(
            _name_of(CALLBACK_SECONDS),
            CALLBACK_SECONDS.unit,
            CALLBACK_SECONDS.help,
            explicit_bucket_boundaries_advisory=BOUNDS_S,
        )

    def request_came(self) -> None:
        """There is nothing to prepare."""

    def accepted(self, handler: WebSocketHandler, snapshot: RequestSnapshot) -> Interceptor:
        """Have the handler's callbacks timed."""
        del snapshot
        record, now_s = self._histogram.record, time.perf_counter
        attributes = {"app": self._app_name, "handler": self._names.known(shown_name_of(handler))}

        def interceptor(callback: Callable[..., None], *args: Any) -> None:
            started_s = now_s()
            try:
                callback(*args)
            finally:
                record(now_s() - started_s, attributes | {"callback": callback.__name__})

        return interceptor


def _observe_figures(meter: Meter, app: Flask) -> None:
    snapshots = _Snapshots(app)
    for family in FAMILIES:
        if family.kind is Kind.HISTOGRAM:
            continue
        create = {
            Kind.COUNTER: meter.create_observable_counter,
            # What is at this moment adds up over processes, as what is counted does.
            Kind.GAUGE: meter.create_observable_up_down_counter,
            # But not what they share.
            Kind.SHARED_GAUGE: meter.create_observable_gauge,
        }[family.kind]
        create(_name_of(family), [snapshots.observer_of(family)], family.unit, family.help)


class _Snapshots:
    """The figures of one moment for all instruments of one collection: each asks once."""

    def __init__(self, app: Flask) -> None:
        self._app = weakref.ref(app)
        self._app_name = app.name
        self._figures: Figures = {}
        self._has_asked: set[str] | None = None

    def observer_of(self, family: Family) -> Callable[[CallbackOptions], Iterable[Observation]]:
        """What a collection calls for one instrument."""

        def observe_family(options: CallbackOptions) -> Iterable[Observation]:
            del options
            for (name, *labels), value in self._of_now(family.name).items():
                if name == family.name:
                    named = dict(zip(family.labels, labels, strict=True))
                    yield metrics.Observation(value, {"app": self._app_name} | named)

        return observe_family

    def _of_now(self, name: str) -> Figures:
        if self._has_asked is None or name in self._has_asked:
            self._has_asked = set()
            app = self._app()
            if app is None:
                self._figures = {}
            else:
                state = state_of(app)
                collections = state.collections
                self._figures = figures_of(
                    state.engine.stats(), collections.bus.stats(), collections.logged.stats()
                )
        self._has_asked.add(name)
        return self._figures


def _name_of(family: Family) -> str:
    if family is CALLBACK_SECONDS:
        return f"{_SCOPE}.callback.duration"  # the unit is no part of a name there
    return f"{_SCOPE}.{family.name}"
