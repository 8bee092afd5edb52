"""The app's WebSockets as an AsyncAPI 3.0 document: https://www.asyncapi.com/docs/reference.

The app is what is described: it receives what clients call, and sends what it calls of them. The
schemas are JSON Schema's draft 7, which is all that AsyncAPI's own are sure to be.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from typing import Any
from urllib.parse import urlsplit

from flask import Flask
from werkzeug.routing import Rule

from ...calls.signatures import Signature, is_notification
from ..routes import handlers_by_rule
from . import rpc_schemas
from .hubs import HubContract, Interface, contract_of_hub, is_hub
from .schemas import Schemas
from .type_names import type_names

Json = dict[str, Any]

_VARIABLE = re.compile(
    r"""<(?:(?P<converter>\w+)(?:\((?:[^"')]|"[^"]*"|'[^']*')*\))?:)?(?P<name>\w+)>"""
)
_NO_KEY = re.compile(r"[^\w.-]", re.ASCII)
_FREE = "Any text or bytes: what they are is the handler's affair."


def asyncapi(app: Flask, *, title: str, version: str, server: str | None) -> Json:
    """The document. Raises TypeError and NameError for annotations that can't be used."""
    return _Document(app, title, version, server).as_json()


class _Document:
    def __init__(self, app: Flask, title: str, version: str, server: str | None) -> None:
        self._head: Json = {
            "asyncapi": "3.0.0",
            "info": {"title": title, "version": version},
            "defaultContentType": "application/json",
        }
        if server is not None:
            self._head["servers"] = {"default": _server(server)}
        routes = handlers_by_rule(app)
        hubs = {cls: contract_of_hub(cls) for _, found in routes for cls in found if is_hub(cls)}
        interfaces = [each for contract in hubs.values() for each in contract.interfaces()]
        classes = list(dict.fromkeys(each.cls for each in interfaces))
        self._names = dict(zip(classes, type_names(classes), strict=True))
        self._schemas = Schemas(list(_annotations(interfaces)))
        if interfaces:
            self._schemas.components.update(rpc_schemas.COMMON)
        self._channels: Json = {}
        self._operations: Json = {}
        self._messages: Json = {}
        self._bases: dict[tuple[type, str], str] = {}
        for rule, handlers in routes:
            channel = _free(self._channels, _key(rule.endpoint))
            contracts = [hubs[cls] for cls in handlers if cls in hubs]
            self._add_channel(channel, rule)
            for contract in contracts:
                self._add_hub(channel, contract)
            if not contracts or len(contracts) < len(handlers):
                self._add_free(channel)

    def as_json(self) -> Json:
        components = {"messages": self._messages, "schemas": self._schemas.components}
        return {
            **self._head,
            "channels": self._channels,
            "operations": self._operations,
            "components": {name: each for name, each in components.items() if each},
        }

    def _add_channel(self, channel: str, rule: Rule) -> None:
        address, parameters = _address(rule.rule)
        self._channels[channel] = {"address": address, "messages": {}}
        if parameters:
            self._channels[channel]["parameters"] = parameters
        self._channels[channel]["bindings"] = {"ws": {"method": "GET"}}

    def _add_hub(self, channel: str, contract: HubContract) -> None:
        for interface in contract.interfaces():
            for call in interface.calls.values():
                self._add_call(channel, interface, call)
        for name, message in rpc_schemas.NOTES.items():
            self._add_message(channel, name, message)
        self._add_notes(channel, "receive", list(rpc_schemas.NOTES))
        if contract.page is not None:
            self._add_notes(channel, "send", ["cancel"])

    def _add_notes(self, channel: str, action: str, names: list[str]) -> None:
        # No call begins with $.
        self._operations[f"{channel}.{action}.-"] = {
            "action": action,
            "channel": _channel(channel),
            "summary": "What concerns calls that are under way.",
            "messages": [_in(channel, name) for name in names],
        }

    def _add_call(self, channel: str, interface: Interface, call: Signature) -> None:
        action = "send" if interface.is_page else "receive"
        name = _free(self._operations, f"{channel}.{action}.{_key(call.name)}")
        base = self._base(interface, call)
        is_answered = not (interface.is_page and is_notification(call))
        asked = f"{base}.request" if is_answered else base
        request = self._request(call, is_page=interface.is_page, is_answered=is_answered)
        self._add_message(channel, asked, request)
        operation: Json = {"action": action, "channel": _channel(channel)}
        operation |= _described(call.doc)
        operation["messages"] = [_in(channel, asked)]
        if is_answered:
            operation["reply"] = {
                "channel": _channel(channel),
                "messages": [_in(channel, each) for each in self._add_answers(channel, base, call)],
            }
        self._operations[name] = operation

    def _base(self, interface: Interface, call: Signature) -> str:
        """What the keys of a call's messages begin with, which can't have all that its name may."""
        return self._bases.setdefault(
            (interface.cls, call.name),
            _free(self._bases.values(), f"{self._names[interface.cls]}.{_key(call.name)}"),
        )

    def _request(self, call: Signature, *, is_page: bool, is_answered: bool) -> Json:
        of = rpc_schemas.params_of_page if is_page else rpc_schemas.params_of_hub
        params, is_optional = of(call, self._schemas.of)
        payload = rpc_schemas.request(
            call.name, params, is_optional=is_optional, is_answered=is_answered
        )
        return {"name": call.name, **_described(call.doc), "payload": payload}

    def _add_answers(self, channel: str, base: str, call: Signature) -> Iterator[str]:
        returned: Json = self._schemas.of(None if is_notification(call) else call.returns)
        if call.is_stream:
            item = rpc_schemas.item(returned)
            self._add_message(channel, f"{base}.item", item)
            yield f"{base}.item"
            returned = {"description": "What the stream has returned at its end, mostly null."}
        self._add_message(channel, f"{base}.response", rpc_schemas.response(returned))
        yield f"{base}.response"
        self._add_message(channel, "error", rpc_schemas.ERROR)
        yield "error"

    def _add_message(self, channel: str, name: str, message: Json) -> None:
        self._messages[name] = message
        reference = {"$ref": f"#/components/messages/{name}"}
        self._channels[channel]["messages"][name] = reference

    def _add_free(self, channel: str) -> None:
        self._channels[channel]["messages"]["message"] = {"description": _FREE, "payload": {}}
        for action in ("receive", "send"):
            self._operations[f"{channel}.{action}"] = {
                "action": action,
                "channel": _channel(channel),
                "messages": [_in(channel, "message")],
            }


def _annotations(interfaces: Iterable[Interface]) -> Iterator[Any]:
    for interface in interfaces:
        for call in interface.calls.values():
            yield from (each.type for each in call.parameters)
            yield call.returns


def _described(text: str) -> Json:
    summary, _, rest = text.partition("\n")
    found = {"summary": summary, "description": rest.strip()}
    return {name: each for name, each in found.items() if each}


def _channel(channel: str) -> Json:
    return {"$ref": f"#/channels/{channel}"}


def _in(channel: str, message: str) -> Json:
    return {"$ref": f"#/channels/{channel}/messages/{message}"}


def _key(name: str) -> str:
    return _NO_KEY.sub("_", name)


def _free(taken: Collection[str], name: str) -> str:
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{name}_{number}"
    return free


def _server(url: str) -> Json:
    parts = urlsplit(url)
    if parts.scheme not in ("ws", "wss") or not parts.netloc:
        raise ValueError(f"a server is ws://… or wss://…, not {url!r}")
    server = {"host": parts.netloc, "protocol": parts.scheme}
    return {**server, "pathname": parts.path} if parts.path.strip("/") else server


def _address(rule: str) -> tuple[str, Json]:
    """A rule's URL as AsyncAPI has it, and its parameters."""
    parameters: Json = {}
    address, end = "", 0
    for variable in _VARIABLE.finditer(rule):
        address += _literal(rule[end : variable.start()]) + f"{{{variable['name']}}}"
        end = variable.end()
        parameters[variable["name"]] = {"description": variable["converter"] or "string"}
    return address + _literal(rule[end:]), parameters


def _literal(text: str) -> str:
    return text.replace("{", "%7B").replace("}", "%7D")
