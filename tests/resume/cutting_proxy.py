"""A TCP proxy that cuts connections after a number of bytes, in the ways that networks do."""

import contextlib
import enum
import select
import socket
import struct
import threading


class Cut(enum.Enum):
    """What the client sees."""

    RESET = enum.auto()
    HALF_CLOSE = enum.auto()
    """The stream's end, and no more."""
    SILENCE = enum.auto()
    """Nothing at all."""


class CuttingProxy:
    """Forwards to a port. The n-th connection is cut by the n-th (bytes, Cut) of a plan."""

    def __init__(self, port, plan=()):
        self.target = ("127.0.0.1", port)
        self.plan = list(plan)
        self.cuts = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.stop, self.stopped = socket.socketpair()
        self.threads = [threading.Thread(target=self.accept)]

    @property
    def uri(self):
        return f"ws://127.0.0.1:{self.port}/"

    def __enter__(self):
        self.threads[0].start()
        return self

    def __exit__(self, *_):
        self.stop.close()
        self.listener.shutdown(socket.SHUT_RDWR)
        for thread in self.threads:
            thread.join()
        self.listener.close()
        self.stopped.close()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                near, _ = self.listener.accept()
                budget, cut = self.plan.pop(0) if self.plan else (None, None)
                thread = threading.Thread(target=self.serve, args=(near, budget, cut))
                self.threads.append(thread)
                thread.start()

    def serve(self, near, budget, cut):
        with (
            near,
            contextlib.suppress(OSError),
            socket.create_connection(self.target) as far,
        ):
            if self.pump(near, far, budget):
                self.cuts.append(cut)
                self.cut(near, far, cut)

    def cut(self, near, far, cut):
        if cut is Cut.RESET:
            at_once = struct.pack("ii", 1, 0)
            near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
            far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
            return
        if cut is Cut.HALF_CLOSE:
            near.shutdown(socket.SHUT_WR)
            far.close()
        self.swallow(near)

    def pump(self, near, far, budget):
        """Forward until one of both is at its end, or the budget is used up: then True."""
        while True:
            ready, _, _ = select.select([near, far, self.stopped], [], [])
            if self.stopped in ready:
                return False
            for channel in ready:
                data = channel.recv(4096)
                if not data:
                    return False
                if budget is not None:
                    data = data[:budget]
                    budget -= len(data)
                (far if channel is near else near).sendall(data)
                if budget == 0:
                    return True

    def swallow(self, near):
        """Read and answer nothing, until the client goes."""
        while True:
            ready, _, _ = select.select([near, self.stopped], [], [])
            if self.stopped in ready or not near.recv(65536):
                return
