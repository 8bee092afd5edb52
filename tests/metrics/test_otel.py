"""OpenTelemetry, by its own SDK with exporters in memory."""

import pytest
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import Gauge, InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from flask_wshandler import WebSocketHandler
from flask_wshandler.monitoring.metric_families import FAMILIES
from flask_wshandler.otel import OpenTelemetry

HANDLER = "create_app.<locals>.Echo"


@pytest.fixture
def reader():
    return InMemoryMetricReader()


@pytest.fixture
def spans():
    return InMemorySpanExporter()


@pytest.fixture
def tracers(spans):
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(spans))
    yield provider
    provider.shutdown()


@pytest.fixture
def watched(app, reader, tracers):
    """The app, with the SDK behind it."""
    meters = MeterProvider([reader], shutdown_on_exit=False)
    OpenTelemetry(app, meter_provider=meters, tracer_provider=tracers)
    yield app
    meters.shutdown()


def read(reader):
    """The points of each metric, by name."""
    [resource] = reader.get_metrics_data().resource_metrics
    [scope] = resource.scope_metrics
    assert scope.scope.name == "flask_wshandler"
    return {metric.name: metric.data.data_points for metric in scope.metrics}


def value(points, **attributes):
    [found] = [p.value for p in points if attributes.items() <= dict(p.attributes).items()]
    return found


def test_metrics_are_those_of_stats(watched, client, reader):
    """Each collection has the figures of its moment."""
    with client.websocket_connect("/echo") as ws:
        ws.send("hello")
        assert ws.receive_all() == ["hello"]
        now = read(reader)
        assert value(now["flask_wshandler.connections"]) == 1
        assert value(now["flask_wshandler.messages_received"]) == 1
        assert value(now["flask_wshandler.received_bytes"], app=watched.name) == 11
        ws.send("again")
        assert ws.receive_all() == ["again"]
        assert value(read(reader)["flask_wshandler.messages_received"]) == 2
    now = read(reader)
    assert value(now["flask_wshandler.connections"]) == 0
    assert value(now["flask_wshandler.closes"], code="1000") == 1


UNTIL_THERE_ARE_SOME = ("returns", "refusals", "posts", "failures", "faults")


def test_all_families_are_there_with_their_units(watched, client, reader):
    """Names without units, units in UCUM."""
    client.websocket_connect("/echo", propagate_exceptions=False).close()
    [resource] = reader.get_metrics_data().resource_metrics
    units = {metric.name: metric.unit for metric in resource.scope_metrics[0].metrics}
    # Without a point as long as there are none; of faults there may be some of other tests.
    perhaps = {f"flask_wshandler.{name}" for name in UNTIL_THERE_ARE_SOME}
    expected = {
        f"flask_wshandler.{family.name}": family.unit
        for family in FAMILIES
        if family.name != "callback_seconds"
    }
    expected["flask_wshandler.callback.duration"] = "s"
    assert (
        expected.items()
        >= units.items()
        >= {name: unit for name, unit in expected.items() if name not in perhaps}.items()
    )


def test_what_processes_share_is_no_sum(watched, client, reader):
    """A gauge, which a backend does not add up over workers; and of counts nothing else is."""
    client.websocket_connect("/echo").close()
    [resource] = reader.get_metrics_data().resource_metrics
    gauges = {
        metric.name for metric in resource.scope_metrics[0].metrics if type(metric.data) is Gauge
    }
    assert gauges == {"flask_wshandler.history_log_messages", "flask_wshandler.history_log_bytes"}


def test_durations_of_callbacks(watched, client, reader):
    """A histogram by handler and callback."""
    with client.websocket_connect("/echo") as ws:
        for _ in range(3):
            ws.send("x")
        ws.receive_all()
    points = read(reader)["flask_wshandler.callback.duration"]
    counts = {
        (dict(point.attributes)["handler"], dict(point.attributes)["callback"]): point.count
        for point in points
    }
    assert counts == {(HANDLER, "on_open"): 1, (HANDLER, "on_message"): 3, (HANDLER, "on_close"): 1}
    assert 0 < sum(point.sum for point in points) < 5


def test_a_span_for_each_callback_linked_to_the_handshake(watched, client, spans, tracers):
    """A trace of its own, which tells where the connection comes from."""
    with tracers.get_tracer("server").start_as_current_span("GET /echo") as server_span:
        ws = client.websocket_connect("/echo?token=secret")
    with ws:
        ws.send("hello")
        ws.send(b"\0\1")
        ws.receive_all()
    handshake = server_span.get_span_context()
    ours = [span for span in spans.get_finished_spans() if span.name != "GET /echo"]
    names = [f"{HANDLER}.{name}" for name in ("on_open", "on_message", "on_message", "on_close")]
    assert [span.name for span in ours] == names
    assert len({span.context.trace_id for span in ours} | {handshake.trace_id}) == 5
    for span in ours:
        assert span.parent is None
        assert span.kind is SpanKind.SERVER
        assert [link.context.span_id for link in span.links] == [handshake.span_id]
        assert span.attributes["http.route"] == "/echo"
        assert span.attributes["network.protocol.name"] == "websocket"
        assert span.attributes["client.address"] == "127.0.0.1"
        assert "secret" not in str(dict(span.attributes))
    assert ours[1].attributes["flask_wshandler.message.kind"] == "text"
    assert ours[2].attributes["flask_wshandler.message.length"] == 2
    assert len({span.attributes["flask_wshandler.connection_id"] for span in ours}) == 1


def test_spans_of_the_app_are_children_of_the_callback(watched, client, spans, tracers):
    """And without a span of the handshake there is no link."""
    tracer = tracers.get_tracer("app")

    @watched.sockets.route("/traced")
    class Traced(WebSocketHandler):
        def on_message(self, message):
            with tracer.start_as_current_span("query"):
                self.send(message)

    with client.websocket_connect("/traced") as ws:
        ws.send("x")
        ws.receive_all()
    by_name = {span.name.rpartition(".")[2]: span for span in spans.get_finished_spans()}
    assert by_name["query"].parent.span_id == by_name["on_message"].context.span_id
    assert by_name["on_message"].links == ()
    assert trace.get_current_span() is trace.INVALID_SPAN


def test_an_exception_is_in_the_span(watched, client, spans):
    """With its type, and the status of an error; the client is closed as always."""
    with client.websocket_connect("/echo", propagate_exceptions=False) as ws:
        ws.send("fail")
        assert ws.wait_closed() == 1011
    [failed] = [s for s in spans.get_finished_spans() if s.status.status_code is StatusCode.ERROR]
    assert failed.name.endswith(".on_message")
    assert failed.events[0].attributes["exception.type"] == "LookupError"


def test_twice_is_once(watched, client, reader, spans, tracers):
    """An extension that is set up in two places."""
    OpenTelemetry(watched, tracer_provider=tracers)
    client.websocket_connect("/echo").close()
    assert len(spans.get_finished_spans()) == 2
    counts = [point.count for point in read(reader)["flask_wshandler.callback.duration"]]
    assert counts == [1, 1]


def test_each_can_be_left_out(app, client, reader, spans, tracers):
    """Spans without metrics, metrics without spans."""
    meters = MeterProvider([reader], shutdown_on_exit=False)
    OpenTelemetry(app, with_metrics=False, meter_provider=meters, tracer_provider=tracers)
    client.websocket_connect("/echo").close()
    assert reader.get_metrics_data() is None
    assert len(spans.get_finished_spans()) == 2
    meters.shutdown()
