"""JSON Schemas of annotations, by msgspec, in the draft that AsyncAPI has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

Json = dict[str, Any]


class Schemas:
    """Of all annotations at once: a class has one schema, whatever leads to it."""

    def __init__(self, annotations: Sequence[Any]) -> None:
        """Raises TypeError for a type that has none."""
        types = [*annotations, None]
        found, components = msgspec.json.schema_components(
            types, ref_template="#/components/schemas/{name}"
        )
        self._by_annotation = {
            id(annotation): in_draft_7(schema)
            for annotation, schema in zip(types, found, strict=True)
        }
        self.components: Json = {
            name: in_draft_7(each) for name, each in sorted(components.items())
        }

    def of(self, annotation: Any) -> Json:
        """The schema of one that was given."""
        schema: Json = self._by_annotation[id(annotation)]
        return schema


def in_draft_7(schema: Any) -> Any:
    """The places of an array, which draft 2020-12 calls otherwise, and no discriminator.

    AsyncAPI's own takes the values for names of components; `anyOf` says all that it would.
    """
    if isinstance(schema, list):
        return [in_draft_7(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    found = {name: in_draft_7(each) for name, each in schema.items()}
    if isinstance(found.get("prefixItems"), list):
        rest = found.pop("items", None)
        found["items"] = found.pop("prefixItems")
        if rest is not None:
            found["additionalItems"] = rest
    if "anyOf" in found and "propertyName" in found.get("discriminator", ()):
        del found["discriminator"]
    return found
