"""The HTTP server: keep-alive, a thread per connection, silent once it is closed."""

from __future__ import annotations

import socket
import sys
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Callable
    from email.message import Message

    from .refusals import Answer

    # Method, target, headers and body of a request.
    AnswerRequest = Callable[[str, str, Message, bytes], Answer]

_IDLE_CONNECTION_S = 120


class Listener(ThreadingHTTPServer):
    """Threads per connection; remembers connections so that a stopped double is silent."""

    daemon_threads = True
    request_queue_size = 512

    def __init__(self, port: int, answer: AnswerRequest) -> None:
        self._connections: set[socket.socket] = set()
        super().__init__(("127.0.0.1", port), partial(_Handler, answer))

    @override
    def process_request(self, request: Any, client_address: Any) -> None:
        self._connections.add(request)
        super().process_request(request, client_address)

    @override
    def shutdown_request(self, request: Any) -> None:
        self._connections.discard(request)
        super().shutdown_request(request)

    @override
    def handle_error(self, request: Any, client_address: Any) -> None:
        # Clients that hang up (time-outs are part of the tests) are no error of ours.
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)

    def close_connections(self) -> None:
        for connection in list(self._connections):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = _IDLE_CONNECTION_S

    def __init__(self, answer: AnswerRequest, *args: Any) -> None:  # noqa: ANN401 - whatever http.server hands over
        self._answer = answer
        super().__init__(*args)

    def _respond(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        answer = self._answer(self.command, self.path, self.headers, body)
        self.send_response(answer.status)
        for name, value in answer.headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body)

    do_GET = do_POST = do_DELETE = _respond  # noqa: N815 - the names http.server calls

    @override
    def log_message(self, format: str, *args: Any) -> None:
        """Stay silent: the request log is the record."""
