"""The exchanges of `vectors.json`, for a party's runner; what the steps are stands there."""

import json
from pathlib import Path

_ALL = json.loads(Path(__file__).with_name("vectors.json").read_text(encoding="utf-8"))["vectors"]


def vectors_for(party):
    """Those that a party is held to."""
    return [vector for vector in _ALL if vector.get("for", party) == party]


KEYS = {
    "connects", "connects elsewhere", "answers", "server", "client", "server unread",
    "client unread", "server sends", "client sends", "server takes", "client takes", "cut",
    "server closes", "client closes", "client returns", "server stops", "server closed",
    "client closed", "server forgets", "server event", "client event", "passes_s",
    "server logs", "server tells place", "server misses", "server goes on from",
    "server releases", "refuses",
}  # fmt: skip


def steps_of(vector):
    """(key, value) of each step, one after the other."""
    return list(_flat(vector["steps"]))


def _flat(steps):
    for step in steps:
        if "repeat" in step:
            for _ in range(step["repeat"]):
                yield from _flat(step["steps"])
        else:
            [(key, value)] = step.items()
            assert key in KEYS, step
            yield key, value


def message_of(value):
    """The str or bytes that a step means."""
    if isinstance(value, str):
        return value
    if "hex" in value:
        return bytes.fromhex(value["hex"])
    return value.get("head", "") + value["of"] * value["times"]


def hello_of(text, tokens):
    """A hello, with the token that stands for a name in it; None for what is none."""
    if not isinstance(text, str) or not text.startswith("h{"):
        return None
    hello = json.loads(text[1:])
    return hello | {"session": tokens.get(hello["session"], hello["session"])}
