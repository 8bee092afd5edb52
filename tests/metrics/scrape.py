"""A scrape, as Prometheus does it, and what is in it."""

import dataclasses

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
