"""A client's network connection over HTTP: a response that goes on, and POSTs on another socket.

It never waits, apart from `wait`. All of it is its thread's.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import ssl
from typing import TYPE_CHECKING

import h11

from ..protocol.carrier import Transport
from ..protocol.errors import CloseCode
from ..protocol.frames import Message
from ..resume.endpoint import PROBE, SUBPROTOCOL, ResumeProtocolError, parse_hello
from .backoff import Backoff
from .errors import HandshakeFailed, HandshakeRefused
from .event_stream import Close, EventStream, StreamError
from .post_line import Answer, PostLine
from .post_queue import PostQueue
from .reaching import NOT_NOW

if TYPE_CHECKING:
    from .patience import Patience

_READ_BYTES = 16 * 1024

_MOST_FAILURES = 3
"""Of POSTs in a row that have no answer; then the way is lost."""
_AGAIN_AFTER_S = 1.0

_TAKEN = 204
_COME_BACK = frozenset({404, 409})
_TOO_LARGE = 413
_LATER = frozenset({408, 425, 429, 500, 502, 503, 504})
_FORBIDDEN = frozenset({401, 403})


class StreamConnection:
    """One stream: a `NetworkConnection`."""

    transport = Transport.STREAM
    subprotocol = SUBPROTOCOL

    def __init__(
        self,
        channel: socket.socket,
        http: h11.Connection,
        line: PostLine,
        max_size: int | None,
        patience: Patience,
    ) -> None:
        """Take over a socket on which the head of the response has come."""
        channel.setblocking(False)
        self._socket = channel
        self._http = http
        self._line = line
        self._patience = patience
        self._clock = patience.clock
        self._events = EventStream(max_size)
        self._posts: PostQueue | None = None
        self._session = ""
        self._not_before_s: float | None = None
        self._failures = 0
        self._backoff = Backoff(patience.jitter)
        self._progress = 0
        self._progress_s = 0.0
        self._is_probing = False
        self._is_broken = False
        self._is_rejected = False
        self._has_failed = False
        self._closed_here: Close | None = None
        self._closed_there: Close | None = None
        #: Whether nothing comes any more.
        self.is_over = False
        self._selector = selectors.DefaultSelector()
        self._registered: dict[int, int] = {}
        self._is_line_ready = False
        # The first events come together with the head, mostly.
        self._early = self._take_body()

    @property
    def unwritten_bytes(self) -> int:
        """Bytes that no POST has yet."""
        return 0 if self._posts is None else self._posts.waiting_bytes

    @property
    def is_open(self) -> bool:
        """Whether neither end has closed it."""
        return not (self._closed_here or self._closed_there or self.is_over)

    @property
    def is_closed_by_server(self) -> bool:
        """Whether its close event has come."""
        return self._closed_there is not None

    @property
    def _close(self) -> Close:
        return self._closed_there or self._closed_here or Close(int(CloseCode.ABNORMAL_CLOSURE), "")

    @property
    def close_code(self) -> int:
        """Of the server's close event, or else of ours; 1006 if there is none."""
        return self._close.code

    @property
    def close_reason(self) -> str:
        """What is said besides."""
        return self._close.reason

    @property
    def was_cut(self) -> bool:
        """Whether the network has ended it; not a server that takes no POSTs."""
        return self.close_code == CloseCode.ABNORMAL_CLOSURE and not self._is_rejected

    # To wait.

    def wake_on(self, waker: socket.socket) -> None:
        """Have `wait` end when there is something to read from `waker`."""
        self._selector.register(waker, selectors.EVENT_READ)

    def wait(self, seconds: float | None, *, reads: bool) -> bool:
        """Wait until there is something to do; whether there is something to read."""
        if reads and (self._early or self._is_broken or self.is_over or self._has_decrypted()):
            return True
        wanted = {self._socket.fileno(): selectors.EVENT_READ} if reads else {}
        if self._line.wanted is not None:
            fd, events = self._line.wanted
            wanted[fd] = events
        self._register(wanted)
        is_readable = False
        for key, _ in self._selector.select(self._until_due_s(seconds)):
            if key.fd == self._socket.fileno():
                is_readable = True
            elif self._line.wanted is not None and key.fd == self._line.wanted[0]:
                self._is_line_ready = True
        return is_readable

    def _has_decrypted(self) -> bool:
        return isinstance(self._socket, ssl.SSLSocket) and self._socket.pending() > 0

    def _register(self, wanted: dict[int, int]) -> None:
        """Have the selector wait for that, besides the waker."""
        for fd in [fd for fd in self._registered if fd not in wanted]:
            self._unregister(fd)
        for fd, events in wanted.items():
            if fd not in self._registered:
                self._selector.register(fd, events)
            elif self._registered[fd] != events:
                self._selector.modify(fd, events)
        self._registered = wanted

    def _unregister(self, fd: int) -> None:
        if self._registered.pop(fd, None) is not None:
            self._selector.unregister(fd)

    def _until_due_s(self, seconds: float | None) -> float | None:
        """For how long to wait, in real seconds."""
        due_s = self._not_before_s
        timeout_s = self._patience.open_timeout_s
        if self._line.is_busy:
            due_s = None if timeout_s is None else self._progress_s + timeout_s
        if due_s is None:
            return seconds
        left_s = self._clock.real_s(max(0.0, due_s - self._clock.now_s()) + 0.001)
        return left_s if seconds is None else min(seconds, left_s)

    # To read.

    def read(self) -> list[Message] | None:
        """The messages that have come; None if nothing has."""
        if self._early:
            early, self._early = self._early, []
            return early
        if self.is_over:
            return None
        try:
            data = self._socket.recv(_READ_BYTES)
        except NOT_NOW:
            self.is_over = self._is_broken
            return None
        except (OSError, ValueError):
            data = b""
        self._http.receive_data(data)
        return self._take_body()

    def _take_body(self) -> list[Message]:
        messages: list[Message] = []
        try:
            while not self.is_over:
                event = self._http.next_event()
                if isinstance(event, h11.Data):
                    self._take_events(bytes(event.data), messages)
                elif event is h11.NEED_DATA:
                    break
                else:
                    self.is_over = True
        except h11.RemoteProtocolError:  # the end amid a chunk, or no chunk at all
            self.is_over = True
        except StreamError as error:
            self._has_failed = True
            self.close(error.code, error.reason)
        return messages

    def _take_events(self, data: bytes, messages: list[Message]) -> None:
        if self._closed_there or self._has_failed:
            return  # nothing follows a close
        for event in self._events.feed(data):
            if isinstance(event, Close):
                self._closed_there = event
                return
            if self._posts is None:
                self._note_hello(event)
            self._is_probing = False
            messages.append(event)

    def _note_hello(self, message: Message) -> None:
        """From here on something can be posted. The session looks at whether it is a good one."""
        with contextlib.suppress(ResumeProtocolError):
            hello = parse_hello(message)
            self._session = hello.session
            self._posts = PostQueue(hello.received)

    # To write.

    def send(self, message: Message) -> None:
        """Put a message behind what is not written."""
        if self._posts is not None:
            self._posts.put(message)

    def ping(self) -> None:
        """Have the server answer."""
        if not self._is_probing:
            self._is_probing = True
            self.send(PROBE)

    def close(self, code: int, reason: str) -> None:
        """Close it behind what is not written, unless it is closed."""
        if not self.is_open:
            return
        self._closed_here = Close(int(code), reason)
        if self._posts is None:
            self.is_over = True  # there is nobody to tell
        else:
            self._posts.put_close(code, reason)

    def flush(self) -> bool:
        """Write what the network takes; whether it has taken something."""
        before = self._line.progress
        try:
            self._advance()
        except (OSError, ValueError, HandshakeFailed):
            self._note_failure()
        return self._line.progress > before

    def _advance(self) -> None:
        """Go on with a POST, or begin the next."""
        while not self._is_broken:
            if not self._line.is_busy:
                if not self._begin():
                    return
            elif self._line.wanted is not None and not self._is_line_ready:
                self._check_progress()
                return
            self._wait_no_more_for_line()
            answer = self._line.step()
            if answer is not None:
                self._take_answer(answer)
            elif self._line.progress != self._progress:
                self._note_progress()

    def _wait_no_more_for_line(self) -> None:
        self._is_line_ready = False
        if self._line.wanted is not None:
            # Before it is closed: another socket may have its number then.
            self._unregister(self._line.wanted[0])

    def _begin(self) -> bool:
        body = None if self._posts is None else self._posts.body
        if body is None or self._is_too_early():
            return False
        headers = [("X-WSHandler-Session", self._session), ("Content-Type", "application/json")]
        if body.first is not None:
            headers.append(("X-WSHandler-First", str(body.first)))
        self._not_before_s = None
        self._line.begin(headers, body.data)
        self._note_progress()
        return True

    def _is_too_early(self) -> bool:
        return self._not_before_s is not None and self._clock.now_s() < self._not_before_s

    def _note_progress(self) -> None:
        self._progress = self._line.progress
        self._progress_s = self._clock.now_s()

    def _check_progress(self) -> None:
        timeout_s = self._patience.open_timeout_s
        if timeout_s is not None and self._clock.now_s() > self._progress_s + timeout_s:
            self._wait_no_more_for_line()
            self._line.close()
            raise TimeoutError("the server does not answer in time")

    def _note_failure(self) -> None:
        """A POST has had no answer."""
        self._failures += 1
        if self._failures >= _MOST_FAILURES:
            self._come_back()
        else:
            self._put_off(self._backoff.next_delay_s())

    def _put_off(self, seconds: float) -> None:
        self._not_before_s = self._clock.now_s() + seconds

    def _come_back(self) -> None:
        # What has come before is still to be read.
        self._is_broken = self._is_rejected = True

    def _take_answer(self, answer: Answer) -> None:
        assert self._posts is not None
        status = answer.status
        if status in _LATER:
            self._put_off(self._later_s(answer))
            return
        self._failures = 0
        if status == _TAKEN:
            self._backoff = Backoff(self._patience.jitter)
            self._posts.taken()
        elif status in _COME_BACK:
            self._come_back()
        elif status == _TOO_LARGE:
            if not self._posts.split():
                self._drop_for(CloseCode.MESSAGE_TOO_BIG, "the server takes no message so large")
        else:
            code = CloseCode.POLICY_VIOLATION if status in _FORBIDDEN else CloseCode.PROTOCOL_ERROR
            self._drop_for(code, f"the server has answered {status} to what was posted")
            self.is_over = True  # that would be answered in the same way

    def _drop_for(self, code: int, reason: str) -> None:
        """Close it in the place of what the server does not take."""
        assert self._posts is not None
        closed = self._closed_here = self._closed_here or Close(int(code), reason)
        self._posts.clear()
        self._posts.put_close(closed.code, closed.reason)

    def _later_s(self, answer: Answer) -> float:
        refused = HandshakeRefused("the server", answer.status, answer.headers, b"")
        retry_after_s = refused.retry_after_s
        if retry_after_s is None:
            return max(_AGAIN_AFTER_S, self._backoff.next_delay_s())
        return min(max(0.0, retry_after_s), 60.0)

    def abort(self) -> None:
        """Let go of the network at once."""
        self.is_over = True
        self._line.close()
        self._selector.close()
        with contextlib.suppress(OSError):
            self._socket.close()
