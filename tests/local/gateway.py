"""Pass every request of the one origin to the deployed HTTP API, byte for byte, and answer as AWS's edge would.

Where MiniStack's API Gateway answers differently from AWS, the difference is fixed here, with its reason.
"""

import json
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

import httpcore

# An HTTP API refuses a larger body itself, and gives an integration no more time.
MAX_BODY_BYTES = 10 * 1024 * 1024
INTEGRATION_TIMEOUT_SECONDS = 30

# RFC 9110 7.6.1, and what the two servers and the client here say themselves.
HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"content-length",
        b"expect",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)

Headers = list[tuple[bytes, bytes]]
Answer = tuple[int, Headers, bytes]


class Gateway:
    """An ASGI application in front of one API of MiniStack."""

    def __init__(self, endpoint: str, api_id: str) -> None:
        host, port = endpoint.removeprefix("http://").split(":")
        self._api_id = api_id
        self._origin = (b"http", host.encode(), int(port))
        self._pool = httpcore.AsyncConnectionPool(max_connections=None, keepalive_expiry=30)
        self.in_flight = 0
        """Requests that are not answered yet, also of clients that are gone."""

    async def close(self) -> None:
        await self._pool.aclose()

    async def __call__(
        self,
        scope: MutableMapping[str, Any],
        receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
        send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
    ) -> None:
        if scope["type"] != "http":
            return
        self.in_flight += 1
        try:
            await self._answer(scope, receive, send)
        finally:
            self.in_flight -= 1

    async def _answer(
        self,
        scope: MutableMapping[str, Any],
        receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
        send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
    ) -> None:
        body = await _read(receive)
        if body is None:
            answer = _aws_error(413, "Request Entity Too Large")
        else:
            answer = await self._forward(scope, body)
        status, headers, content = answer
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": content})

    async def _forward(self, scope: MutableMapping[str, Any], body: bytes) -> Answer:
        scheme, host, port = self._origin
        query = b"?" + scope["query_string"] if scope["query_string"] else b""
        # By path, not by host name: MiniStack then takes the rest of the path as it is, slashes included.
        target = f"/_aws/execute-api/{self._api_id}/$default".encode() + scope["raw_path"] + query
        headers = [(name, value) for name, value in scope["headers"] if name not in HOP_BY_HOP]
        try:
            response = await self._pool.request(
                scope["method"],
                httpcore.URL(scheme=scheme, host=host, port=port, target=target),
                headers=[*_with_utf8_told(headers, body), (b"content-length", str(len(body)).encode())],
                content=body,
                extensions={"timeout": {"read": INTEGRATION_TIMEOUT_SECONDS, "connect": 5, "write": 30, "pool": 30}},
            )
        except httpcore.TimeoutException:
            return _aws_error(503, "Service Unavailable")
        except (httpcore.NetworkError, httpcore.ProtocolError):
            return _aws_error(500, "Internal Server Error")
        answer = response.status, list(_end_to_end(response.headers)), response.content
        return _as_aws_answers(scope["method"], answer)


async def _read(receive: Callable[[], Awaitable[MutableMapping[str, Any]]]) -> bytes | None:
    """The whole body; None when it is larger than API Gateway takes."""
    chunks, size, more = [], 0, True
    while more:
        message = await receive()
        size += len(message.get("body", b""))
        if size <= MAX_BODY_BYTES:
            chunks.append(message.get("body", b""))
        more = message.get("more_body", False)
    return b"".join(chunks) if size <= MAX_BODY_BYTES else None


def _end_to_end(headers: Iterable[tuple[bytes, bytes]]) -> Iterable[tuple[bytes, bytes]]:
    for name, value in headers:
        if name.lower() not in HOP_BY_HOP or name.lower() == b"content-length":
            yield name.lower(), value


def _with_utf8_told(headers: Headers, body: bytes) -> Headers:
    """MiniStack replaces broken UTF-8 in a JSON body, so the function could not refuse it: have it base64-encoded."""
    try:
        body.decode()
    except UnicodeDecodeError:
        others = [(name, value) for name, value in headers if name != b"content-type"]
        return [*others, (b"content-type", b"application/octet-stream")]
    return headers


def _as_aws_answers(method: str, answer: Answer) -> Answer:
    status, _, content = answer
    # AWS tells no one how a function failed; MiniStack answers with the error's text.
    if status == 502 and content.startswith(b'{"errorMessage"'):
        return _aws_error(500, "Internal Server Error")
    # AWS answers a preflight from a foreign origin with 204 and without CORS headers; MiniStack with 403.
    if method == "OPTIONS" and status == 403:
        return 204, [], b""
    return answer


def _aws_error(status: int, message: str) -> Answer:
    content = json.dumps({"message": message}, separators=(",", ":")).encode()
    return status, [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())], content
