"""Ways to a server, as proxies, firewalls and the addresses of services are."""

import contextlib
import socket
import threading
import time


class Way:
    """A port that leads to another, which may change; who is idle may be cut off.

    After `idle_s` without a byte a connection is closed, or, if the way is `silent`, what comes
    later is taken and goes nowhere.
    """

    def __init__(self, port, idle_s=None, *, silent=False):
        self.target_port = port
        self._idle_s = idle_s
        self._is_silent = silent
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.connections = []
        self._threads = []
        self._start(self._accept)

    def _start(self, run, *arguments):
        self._threads.append(threading.Thread(target=run, args=arguments, daemon=True))
        self._threads[-1].start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self.target_port))
                self.connections.append(_Connection(client, server))
                self._start(self._carry, self.connections[-1], client, server)
                self._start(self._carry, self.connections[-1], server, client)

    def _carry(self, connection, source, target):
        with contextlib.suppress(OSError):
            while True:
                source.settimeout(connection.rest_s(self._idle_s))
                try:
                    data = source.recv(65536)
                except TimeoutError:
                    if connection.rest_s(self._idle_s) > 0.001:
                        continue
                    connection.is_cut = True
                    if self._is_silent:
                        self._swallow(source)
                    break
                if not data:
                    break
                connection.used_s = time.monotonic()
                target.sendall(data)
        connection.close()

    @staticmethod
    def _swallow(source):
        source.settimeout(None)
        while source.recv(65536):
            pass

    def ages_s(self):
        """How long each connection has been open that still is, and was not cut off."""
        return [each.age_s for each in self.connections if not (each.is_closed or each.is_cut)]

    def cut_count(self):
        return sum(each.is_cut for each in self.connections)

    def stop(self):
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self.connections:
            connection.close()
        for thread in self._threads:
            thread.join()


class _Connection:
    def __init__(self, *sockets):
        self._sockets = sockets
        self._begun_s = self.used_s = time.monotonic()
        self.is_cut = self.is_closed = False

    @property
    def age_s(self):
        return time.monotonic() - self._begun_s

    def rest_s(self, idle_s):
        if idle_s is None:
            return None
        return max(0.001, self.used_s + idle_s - time.monotonic())

    def close(self):
        self.is_closed = True
        for sock in self._sockets:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()
