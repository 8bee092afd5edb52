"""ASP.NET's `IHttpHandler`: a class that processes requests, WebSocket and plain."""

from __future__ import annotations

from typing import Any, ClassVar, NoReturn

from flask import Request, current_app, request, session
from flask.sessions import SessionMixin
from flask.typing import ResponseReturnValue
from flask.views import View
from werkzeug.datastructures import Headers, ImmutableMultiDict, MultiDict

from ..handlers.context import ITEMS_KEY, WebSocketContext, request_user
from ..handlers.handler import WebSocketHandler
from ..handlers.near_misses import check_callbacks, warn_of_near_misses
from ..protocol import opening_handshake
from . import accept, admission


class HttpContext:
    """The current request, by the names of ASP.NET's `HttpContext`.

    For the thread and the time of its request.
    """

    def __init__(self) -> None:
        self._accepted: WebSocketHandler | None = None
        self._response: ResponseReturnValue | None = None

    @property
    def request(self) -> Request:
        """Flask's request."""
        return request._get_current_object()  # type: ignore[attr-defined, no-any-return]

    @property
    def session(self) -> SessionMixin:
        """Flask's session."""
        return session._get_current_object()  # type: ignore[attr-defined, no-any-return]

    @property
    def application(self) -> Any:
        """Flask's app."""
        return current_app._get_current_object()  # type: ignore[attr-defined]

    @property
    def query_string(self) -> MultiDict[str, str]:
        """The query's parameters, as `request.args`."""
        return request.args

    @property
    def headers(self) -> Headers:
        """The request's headers; names in any case."""
        return request.headers

    @property
    def cookies(self) -> ImmutableMultiDict[str, str]:
        """The request's cookies."""
        return request.cookies

    @property
    def user(self) -> Any:
        """The user: Flask-Login's where the app has a login manager, else REMOTE_USER or None."""
        return request_user(request.environ)

    @property
    def items(self) -> dict[Any, Any]:
        """A dict for whatever goes with this request; the accepted WebSocket's has it, too."""
        if self.websocket_context is not None:
            return self.websocket_context.items
        items: dict[Any, Any] = request.environ.setdefault(ITEMS_KEY, {})
        return items

    @property
    def is_websocket_request(self) -> bool:
        """Whether the request asks to become a WebSocket, and can."""
        return admission.is_websocket_request()

    @property
    def is_websocket_request_upgrading(self) -> bool:
        """Whether the request has been accepted as a WebSocket."""
        return accept.is_websocket_request_upgrading()

    @property
    def requested_subprotocols(self) -> list[str]:
        """The subprotocols that the client offers, in its order; empty when none."""
        return opening_handshake.requested_subprotocols(request.environ)

    @property
    def subprotocol(self) -> str | None:
        """The subprotocol that was agreed on; None before, and when there is none."""
        context = self.websocket_context
        return None if context is None else context.subprotocol

    @property
    def websocket_context(self) -> WebSocketContext | None:
        """The accepted WebSocket's context; None before."""
        return None if self._accepted is None else self._accepted.context

    def accept_websocket_request(
        self,
        handler: WebSocketHandler,
        *,
        subprotocol: str | None = None,
        require_same_origin: bool | None = None,
    ) -> ResponseReturnValue:
        """Accept the request; see `flask_wshandler.accept_websocket_request`.

        In a plain view return what this returns; `process_request` may leave that out.
        """
        response = accept.accept_websocket_request(
            handler, subprotocol=subprotocol, require_same_origin=require_same_origin
        )
        self._accepted = handler
        self._response = response
        return response


class HttpHandler(View):
    """A view class: override `process_request`, and route it by `as_view`.

    `app.add_url_rule("/ws.ashx", view_func=MyHandler.as_view("ws"))`. The URL's variables are in
    `context.request.view_args`.
    """

    #: Whether one instance processes all requests, in several threads; else each has its own.
    is_reusable: ClassVar[bool] = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        warn_of_near_misses(cls, ("process_request", "is_reusable"))
        check_callbacks(cls, ("process_request",))
        cls.init_every_request = not cls.is_reusable

    def process_request(self, context: HttpContext) -> ResponseReturnValue | None:
        """Answer a request; what a Flask view returns, or `context.accept_websocket_request()`.

        What returns nothing, as in ASP.NET, has answered by the accepting; and by 426, where it
        has accepted nothing.
        """
        raise NotImplementedError(f"{type(self).__name__} does not override process_request()")

    def dispatch_request(self, **view_args: Any) -> ResponseReturnValue:
        """Called by Flask."""
        context = HttpContext()
        answer = self.process_request(context)
        if answer is None:
            answer = context._response
        if answer is None:
            raise admission.UpgradeRequired
        return answer

    def __call__(self, environ: object = None, start_response: object = None) -> NoReturn:
        """Raise TypeError: the class was routed as it is, and Flask has called that for a view."""
        name = type(self).__name__
        raise TypeError(
            f'{name} is no view: app.add_url_rule(…, view_func={name}.as_view("{name.lower()}"))'
        )
