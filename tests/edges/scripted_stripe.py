"""A Stripe that gives prepared answers over HTTP."""

from __future__ import annotations

import json
import threading
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from line_requests.billing.client import connect, is_live
from line_requests.billing.operator_account import OperatorBilling
from line_requests.clock import Clock
from tests.decision.examples import LINE_ID

Json = dict[str, Any]


class ScriptedStripe(ThreadingHTTPServer):
    """An HTTP server that gives prepared answers, repeats the last one, and records the calls."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: deque[tuple[int, Json, Json]] = deque()
        self.calls: list[tuple[str, str, str | None]] = []
        self.sent: list[tuple[str, dict[str, str]]] = []
        """Method and path of each call, and its parameters as Stripe reads them."""
        self.released = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def answer(self, status: int, body: Json, **headers: str) -> None:
        self.answers.append((status, body, headers))

    def refuse(self, status: int, code: str | None = None, kind: str = "invalid_request_error", **headers: str) -> None:
        error = {"type": kind, "code": code, "param": "customer", "message": "No such customer: ada@example.com"}
        self.answer(status, {"error": error}, **headers)

    def hang(self) -> None:
        self.answers.append((0, {}, {}))

    def billing(self, api_key: str = "sk_test_1", seconds: float = 5.0) -> OperatorBilling:
        client = connect(api_key, api_base=self.url, clock=Clock.start(seconds))
        return OperatorBilling(client, livemode=is_live(api_key))


class _Handler(BaseHTTPRequestHandler):
    server: ScriptedStripe
    protocol_version = "HTTP/1.1"

    def _answer(self) -> None:
        form = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        url = urlsplit(self.path)
        self.server.sent.append(
            (f"{self.command} {url.path}", dict(parse_qsl(form or url.query, keep_blank_values=True)))
        )
        self.server.calls.append((self.command, self.path, self.headers.get("Idempotency-Key")))
        answers = self.server.answers
        status, body, headers = answers.popleft() if len(answers) > 1 else answers[0]
        if status == 0:
            self.server.released.wait(30)
            self.close_connection = True
            return
        encoded = json.dumps(body).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(encoded)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(encoded)

    do_GET = do_POST = do_DELETE = _answer  # noqa: N815 - the names that http.server calls

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's own name
        """Logs nothing: the tests read `calls`."""


def an_invoice(status: str) -> Json:
    return {
        "id": "in_1",
        "object": "invoice",
        "status": status,
        "customer": "cus_acme",
        "metadata": {"workspace_id": "acme", "line_id": LINE_ID},
        "hosted_invoice_url": "https://invoice.stripe.com/i/1",
        "lines": {"object": "list", "data": [], "has_more": False, "url": "/v1/invoices/in_1/lines"},
    }


def listed(*data: Json) -> Json:
    """A list of Stripe's that has no further page."""
    return {"object": "list", "data": list(data), "has_more": False, "url": "/v1/things"}
