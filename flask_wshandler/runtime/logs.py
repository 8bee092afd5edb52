"""What this package logs: by the loggers of `logging`, whatever their handlers do.

A filter, a handler or a formatter of the app's may raise: that is counted, and ends nothing. It may
broadcast: a line of a thread that holds a lock is written when it holds none any more. It may take
its time: the lines of a thread that must not wait, because there is only one for all clients, are
written by a thread of their own, in order, as many of them as there is room for. So are the lines
that no callback has caused: a crowd that leaves would take all threads of those who stay.
"""

from __future__ import annotations

import collections
import contextlib
import contextvars
import logging
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from typing import Any, Protocol

from . import faults, first_use, locks, threads

_MOST_WAITING = 1000
"""Lines that wait for a slow handler; what comes past it is dropped and counted."""

_DEEPEST = 3
"""A handler that causes a line itself gets that one, too; so deep, and no deeper."""


class _Depth(threading.local):
    count = 0


class _Line:
    """One that is to be written: what is known where it is logged."""

    __slots__ = ("args", "exc_info", "extra", "file", "function", "level", "line", "logger",
                 "message", "thread_name", "variables")  # fmt: skip

    def __init__(
        self,
        logger: logging.Logger,
        level: int,
        message: str,
        args: tuple[object, ...],
        error: BaseException | None,
        extra: Mapping[str, object] | None,
    ) -> None:
        frame = sys._getframe(3)  # of the caller of the logger's method
        self.file, self.line = frame.f_code.co_filename, frame.f_lineno
        self.function = frame.f_code.co_name
        self.logger: Any = logger  # an app may have one of structlog's or loguru's
        self.level = level
        self.message = message
        self.args = args
        self.exc_info = None if error is None else (type(error), error, error.__traceback__)
        self.extra = extra
        self.thread_name = threading.current_thread().name
        #: In which a filter or a formatter finds what it looks for. Copying them takes no time.
        self.variables = contextvars.copy_context()

    def write(self) -> None:
        """Give it to the handlers. Never raises."""
        depth = _process.depth
        if depth.count >= _DEEPEST:
            faults.note("log")
            return
        depth.count += 1
        try:
            if isinstance(self.logger, logging.Logger):
                self._write_record(self.logger)
            elif isinstance(self.logger, logging.LoggerAdapter):
                self.logger.log(self.level, self.message, *self.args, exc_info=self.exc_info)
            else:
                log = getattr(self.logger, logging.getLevelName(self.level).lower())
                log(self._text())  # no other arguments: loguru would format the message by them
        except BaseException:
            faults.note("log")
            _show(self)
        finally:
            depth.count -= 1

    def _write_record(self, logger: logging.Logger) -> None:
        if logger.isEnabledFor(self.level):
            record = logger.makeRecord(
                logger.name, self.level, self.file, self.line, self.message, self.args,
                self.exc_info, self.function, self.extra,
            )  # fmt: skip
            record.threadName = self.thread_name
            logger.handle(record)

    def _text(self) -> str:
        text = self.message % self.args if self.args else self.message
        if self.exc_info is None:
            return text
        return text + "\n" + "".join(traceback.format_exception(*self.exc_info)).rstrip()


def _show(line: _Line) -> None:
    """Say on stderr that a line could not be written, as `logging` does of its own handlers."""
    if logging.raiseExceptions and sys.stderr is not None:
        with contextlib.suppress(Exception):
            print(f"--- flask-wshandler could not log {line.message!r} ---", file=sys.stderr)
            traceback.print_exc()


class Logger:
    """A logger of `logging` whose methods never raise. Any thread, also under a lock."""

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger

    def info(self, message: str, *args: object, extra: Mapping[str, object] | None = None) -> None:
        """Log a line that no callback has caused: no poller waits for it, while there is room."""
        self._log_later(logging.INFO, message, args, extra)

    def warning(self, message: str, *args: object) -> None:
        """Log a warning."""
        self._log(logging.WARNING, message, args)

    def error(self, message: str, *args: object, error: BaseException | None = None) -> None:
        """Log an error, with its traceback where there is one."""
        self._log(logging.ERROR, message, args, error)

    def is_enabled_for(self, level: int) -> bool:
        """Whether anybody wants lines of this level."""
        try:
            return self._logger.isEnabledFor(level)
        except Exception:
            faults.note("log")
            return False

    def _log(
        self,
        level: int,
        message: str,
        args: tuple[object, ...],
        error: BaseException | None = None,
    ) -> None:
        self._write(_Line(self._logger, level, message, args, error, None))

    def _log_later(
        self,
        level: int,
        message: str,
        args: tuple[object, ...],
        extra: Mapping[str, object] | None,
    ) -> None:
        line = _Line(self._logger, level, message, args, None, extra)
        if threads.current() is None or not _process.writer.put(line):
            self._write(line)

    def _write(self, line: _Line) -> None:
        thread = threads.current()
        if thread is not None and not thread.may_wait_for_logs:
            if not _process.writer.put(line):
                faults.note("log")
        elif not locks.put_off(line.write):
            line.write()


def logger(name: str) -> Logger:
    """The logger of a module of this package."""
    return Logger(logging.getLogger(name))


class HasLogger(Protocol):
    """An app, as far as it concerns us."""

    @property
    def logger(self) -> logging.Logger: ...


def of_app(app: HasLogger) -> Logger:
    """The logger of `app`; this package's while that can't be had."""
    try:
        return Logger(app.logger)  # made at its first use, with handlers of the app's
    except Exception:
        faults.note("log")
        return logger("flask_wshandler")


class _Writer:
    """Writes the lines of threads that must not wait."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        # Guarded by _changed.
        self._lines: collections.deque[_Line] = collections.deque()
        self._is_writing = False
        self._thread = threads.BackgroundThread(
            "log", self._write_all, None, may_wait_for_logs=True
        )

    def put(self, line: _Line) -> bool:
        """Have a line written; False if there is no room. Never waits for a handler."""
        with self._changed:
            if len(self._lines) >= _MOST_WAITING:
                return False
            self._lines.append(line)
            self._changed.notify_all()
        self._thread.start()
        return True

    def flush(self, seconds: float) -> None:
        """Wait until all is written, for so long at most."""
        until_s = time.monotonic() + seconds
        with self._changed:
            while self._thread.is_running and (self._lines or self._is_writing):
                rest_s = until_s - time.monotonic()
                if rest_s <= 0:
                    return
                self._changed.wait(rest_s)

    def _write_all(self) -> None:
        while True:
            with self._changed:
                self._is_writing = False
                self._changed.notify_all()
                while not self._lines:
                    self._changed.wait()
                line = self._lines.popleft()
                self._is_writing = True
            line.variables.run(line.write)


class _OfThisProcess:
    writer = first_use.MadeOnFirstUse["_Writer"](lambda _: _Writer())
    depth = first_use.MadeOnFirstUse["_Depth"](lambda _: _Depth())


_process = _OfThisProcess()


def flush(seconds: float) -> None:
    """Wait until what has been logged is written, for so long at most."""
    _process.writer.flush(seconds)


def reset_after_fork() -> None:
    """In a forked child: what its parent has not written yet is its parent's."""
    first_use.forget(_process)
