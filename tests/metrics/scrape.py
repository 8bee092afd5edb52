"""A scrape, as Prometheus does it, and what is in it."""

import contextlib
import dataclasses
import http.client

from prometheus_client.parser import text_string_to_metric_families


@dataclasses.dataclass(frozen=True)
class Scrape:
    """The samples of one answer."""

    samples: tuple

    def value(self, name, **labels):
        """The sum of the samples with that name and these labels."""
        return sum(
            sample.value
            for sample in self.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def labels(self, name, label):
        """The values of a label."""
        return {sample.labels[label] for sample in self.samples if sample.name == name}

    @property
    def labels_of(self):
        """The labels of each of our metrics."""
        found = {}
        for sample in self.samples:
            if sample.name.startswith("flask_wshandler_"):
                found.setdefault(sample.name, set()).update(sample.labels)
        return found

    @property
    def counters(self):
        """Everything that must not get less, by name and labels."""
        return {
            (sample.name, *sorted(sample.labels.items())): sample.value
            for sample in self.samples
            if sample.name.endswith(("_total", "_bucket", "_count", "_sum"))
            and sample.name.startswith("flask_wshandler_")
        }


def scrape(server, path="/metrics"):
    """Ask whichever worker answers."""
    response = server.get(path)
    assert response.status == 200, response.body
    families = text_string_to_metric_families(response.body)
    return Scrape(tuple(sample for family in families for sample in family.samples))


def with_everything(server):
    """A scrape after all that can happen has happened: every metric has a sample."""
    for message in ("hello", "fail", "fault"):
        client = server.connect("/echo")
        client.send(message)
        client.recv_frame()
        client.shutdown()
    server.raw("/echo", headers=[("Origin", "https://elsewhere.example")])
    returns = ("Sec-WebSocket-Protocol", "wshandler.1, r.a-handler-that-is-gone.0.0.1")
    with server.raw("/echo", headers=[returns]) as returned:
        assert returned.status == 101
    with contextlib.closing(http.client.HTTPConnection(server.host)) as connection:
        headers = {"X-WSHandler-Session": "of-nobody", "Content-Type": "application/json"}
        connection.request("POST", "/wshandler/send", "[]", headers)
        assert connection.getresponse().status == 404

    def all_closed():
        now = scrape(server)
        has_returned = now.value("flask_wshandler_returns_total")
        return has_returned and now.value("flask_wshandler_closes_total") >= 3 and now

    return server.wait_for(all_closed, "three closes")
