"""Services behind a gateway, as a test wants them: real sockets, in threads of the test."""

import contextlib
import socket
import struct
import threading

from tests.deadlines import DEADLINE_S


class Service:
    """Listens; each connection is a socket that the test takes by `accept`, or is served."""

    def __init__(self, serve=None, *, path=None):
        """`serve` is called with each connection, in a thread of its own."""
        if path is None:
            self._listener = socket.create_server(("127.0.0.1", 0))
            self.address = list(self._listener.getsockname())
        else:
            self._listener = socket.socket(socket.AF_UNIX)
            self._listener.bind(str(path))
            self._listener.listen()
            self.address = str(path)
        self._listener.settimeout(DEADLINE_S)
        self._taken = []
        self._threads = []
        if serve is not None:
            self._begin(self._serve_all, serve)

    def accept(self):
        """The next connection."""
        connection, _ = self._listener.accept()
        connection.settimeout(DEADLINE_S)
        self._taken.append(connection)
        return connection

    def end_connections(self):
        """Close those that were taken."""
        while self._taken:
            connection = self._taken.pop()
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    def _serve_all(self, serve):
        while True:
            try:
                connection = self.accept()
            except OSError:  # the end
                return
            self._begin(self._serve_one, serve, connection)

    def _serve_one(self, serve, connection):
        with contextlib.suppress(OSError), connection:
            serve(connection)

    def _begin(self, run, *args):
        thread = threading.Thread(target=run, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def stop(self):
        """End all connections."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._taken:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(DEADLINE_S)
        for connection in self._taken:
            connection.close()


def echo(connection):
    """Send back what comes, in pieces."""
    while data := connection.recv(65536):
        connection.sendall(data)


def read_exactly(connection, size):
    """So many bytes of a stream."""
    data = bytearray()
    while len(data) < size:
        piece = connection.recv(min(65536, size - len(data)))
        assert piece, f"the stream has ended after {len(data)} bytes of {size}"
        data += piece
    return bytes(data)


def read_to_end(connection):
    """All that comes."""
    data = bytearray()
    while piece := connection.recv(65536):
        data += piece
    return bytes(data)


def reset(connection):
    """End with a RST."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
