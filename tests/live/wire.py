"""A WebSocket client that can send any bytes."""

import contextlib
import select
import socket
import ssl
import struct
import threading

from websockets.frames import Frame, Opcode

from tests.deadlines import DEADLINE_S

KEY = "dGhlIHNhbXBsZSBub25jZQ=="  # RFC 6455 section 1.3
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def frame(opcode, payload=b"", fin=True, rsv1=False):
    """A masked frame."""
    if isinstance(payload, str):
        payload = payload.encode()
    data = Frame(Opcode(opcode), payload, fin).serialize(mask=True)
    return bytes((data[0] | (0x40 if rsv1 else 0),)) + data[1:]


def text(payload):
    return frame(Opcode.TEXT, payload)


def close(code=1000, reason=""):
    return frame(Opcode.CLOSE, struct.pack("!H", code) + reason.encode())


class RawClient:
    """A TCP connection, with or without TLS. One thread may read while others send."""

    def __init__(self, host, tls=False):
        self.host = host
        name, port = host.split(":")
        self.socket = socket.create_connection((name, int(port)), DEADLINE_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls:
            context = ssl._create_unverified_context()
            self.socket = context.wrap_socket(self.socket, server_hostname=name)
        self._buffer = b""
        # No two threads may be inside of one TLS connection.
        self._lock = threading.Lock() if tls else contextlib.nullcontext()

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self.end()

    def end(self):
        with contextlib.suppress(OSError):
            self.socket.close()

    def reset(self):
        """Vanish with a RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def send(self, data):
        with self._lock:
            self.socket.sendall(data)

    def request(
        self, path, headers=(), method="GET", version="HTTP/1.1", leave_out=(), change=None
    ):
        """The bytes of a handshake request."""
        lines = {
            "Host": self.host,
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Key": KEY,
            "Sec-WebSocket-Version": "13",
            **(change or {}),
        }
        for name in leave_out:
            del lines[name]
        pairs = [*lines.items(), *headers]
        head = [f"{method} {path} {version}", *(f"{name}: {value}" for name, value in pairs)]
        return "\r\n".join([*head, "", ""]).encode()

    def handshake(self, path, headers=(), early=b"", **request):
        """Send a handshake request with `early` behind it; `status` and `headers` are set."""
        self.send(self.request(path, headers, **request) + early)
        return self.read_response()

    def read_response(self):
        head = self._read_until(b"\r\n\r\n").decode("latin-1")
        status_line, *lines = head.rstrip().split("\r\n")
        self.status = int(status_line.split()[1])
        self.headers = [tuple(line.split(": ", 1)) for line in lines]
        return self.status

    def header(self, name):
        """All values of a header, joined."""
        values = [value for key, value in self.headers if key.lower() == name.lower()]
        return ", ".join(values) or None

    def read_body(self):
        """The text behind a response's head."""
        return self._read(int(self.header("Content-Length"))).decode()

    def read_frame(self):
        """The next frame as (opcode, payload); None at the end of the stream."""
        try:
            first, second = self._read(2)
        except EOFError:
            return None
        size = second & 0x7F
        assert not second & 0x80, "a server's frame is not masked"
        if size == 126:
            (size,) = struct.unpack("!H", self._read(2))
        elif size == 127:
            (size,) = struct.unpack("!Q", self._read(8))
        self.rsv1 = bool(first & 0x40)
        assert first & 0x80, "the server does not fragment"
        return Opcode(first & 0x0F), self._read(size)

    def read_text(self):
        opcode, payload = self.read_frame()
        assert opcode is Opcode.TEXT, (opcode, payload)
        return payload.decode()

    def read_close(self):
        """Skip to the close frame: its code and reason. ("EOF", "") when there is none."""
        while True:
            found = self.read_frame()
            if found is None:
                return "EOF", ""
            opcode, payload = found
            if opcode is Opcode.CLOSE:
                if not payload:
                    return 1005, ""
                return struct.unpack("!H", payload[:2])[0], payload[2:].decode()

    def read_to_end(self):
        """Whether the stream ends properly, rather than by a reset."""
        try:
            while self.socket.recv(65536):
                pass
        except ConnectionResetError:
            return False
        return True

    def _read(self, size):
        while len(self._buffer) < size:
            self._fill()
        data, self._buffer = self._buffer[:size], self._buffer[size:]
        return data

    def _read_until(self, end):
        while end not in self._buffer:
            self._fill()
        data, _, self._buffer = self._buffer.partition(end)
        return data

    def _fill(self):
        # Waited for without the lock, so that others can send.
        is_here = getattr(self.socket, "pending", int)()
        if not is_here and not select.select([self.socket], [], [], self.socket.gettimeout())[0]:
            raise TimeoutError
        with self._lock:
            data = self.socket.recv(65536)
        if not data:
            raise EOFError
        self._buffer += data
