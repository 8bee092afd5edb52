"""The test vectors: see their `format`."""

import json
from pathlib import Path

VECTORS = json.loads(Path(__file__).with_name("vectors.json").read_text())["vectors"]


def vectors_for(party):
    return [each for each in VECTORS if each.get("for", party) == party]


def message_of(value):
    """A message as it stands in a vector: str or bytes."""
    if isinstance(value, str):
        return value
    if "hex" in value:
        return bytes.fromhex(value["hex"])
    return value.get("head", "") + value["of"] * value["times"]


def steps_of(vector):
    """(what, with what) of each step, without the repeats."""
    return list(_flat(vector["steps"]))


def _flat(steps):
    for step in steps:
        if "repeat" in step:
            for _ in range(step["repeat"]):
                yield from _flat(step["steps"])
        else:
            yield from step.items()


def hello_of(text, tokens):
    """A hello, with the token that stands for a name in it; None for what is none."""
    if not isinstance(text, str) or not text.startswith("h{"):
        return None
    hello = json.loads(text[1:])
    return hello | {"session": tokens.get(hello["session"], hello["session"])}
