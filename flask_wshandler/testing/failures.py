"""What callbacks have raised, until a test has seen it.

Invariant: every failure is seen once: raised in the test, shown below another exception, or
reported at the end.
"""

from __future__ import annotations

import threading


class Failures:
    """The exceptions of one client's callbacks, in their order. Any thread."""

    def __init__(self, *, are_raised: bool) -> None:
        """With `are_raised` False nothing is kept: the app wants no exception propagated."""
        #: Written by the handshake, before the first callback.
        self.are_raised = are_raised
        self._lock = threading.Lock()
        # Guarded by _lock.
        self._unseen: list[BaseException] = []

    def append(self, error: BaseException) -> None:
        """A callback has raised `error`. Called where it is logged."""
        with self._lock:
            # on_error may raise what it was told of: before the close that a client waits for.
            if self.are_raised and not any(known is error for known in self._unseen):
                self._unseen.append(error)

    @property
    def has_some(self) -> bool:
        """Whether there is one that no test has seen."""
        return bool(self._unseen)

    def take(self) -> list[BaseException]:
        """All that no test has seen; whoever takes them shows them."""
        with self._lock:
            unseen, self._unseen = self._unseen, []
        return unseen

    def raise_next(self) -> None:
        """Raise the first that no test has seen."""
        with self._lock:
            error = self._unseen.pop(0) if self._unseen else None
        if error is not None:
            raise error

    def raise_all(self) -> None:
        """Raise the first that no test has seen, with the others below it."""
        unseen = self.take()
        if unseen:
            raise chained(unseen)

    def show_below(self, error: BaseException) -> None:
        """Have the traceback of `error` show what no test has seen."""
        chained([error, *self.take()])


def chained(errors: list[BaseException]) -> BaseException:
    """The first of `errors`, whose traceback shows the others, too."""
    first = last = errors[0]
    for error in errors[1:]:
        while (below := last.__cause__ or last.__context__) is not None:
            last = below
        if error is not last and error is not first:
            last.__context__ = error
            last.__suppress_context__ = False
    return first
