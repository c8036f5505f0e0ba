"""The double itself: a server for one account, with its controls."""

from __future__ import annotations

import asyncio
import pickle
import socket
import threading
from functools import partial
from typing import TYPE_CHECKING, Self

import uvicorn
from starlette.applications import Starlette
from starlette.routing import Route
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from . import hosted_page
from .account import Account
from .api import Api, LoggedRequest
from .clock import Clock
from .controls import Controls
from .idempotency import IdempotencyKeys
from .webhooks import WebhookSender

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from .webhooks import Delivery, WebhookMode

__all__ = ["LoggedRequest", "StripeDouble"]

_HANG_S = 60.0


class StripeDouble(Api, Controls):
    """A stateful Stripe on 127.0.0.1, usable as a context manager; every method is thread-safe."""

    def __init__(  # noqa: PLR0913 - independent settings, named at every call
        self,
        port: int = 0,
        *,
        product_api_key: str | None = None,
        webhook_endpoint: str | None = None,
        webhook_secrets: list[str] | None = None,
        latency_ms: float = 0,
        calls_per_second_per_endpoint: float | None = None,
        hang_s: float = _HANG_S,
        clock: Clock | None = None,
        state: bytes | None = None,
    ) -> None:
        """Bind the port; 0 takes any free one. `state` is another double's, to go on from."""
        self._socket = socket.socket(proto=socket.IPPROTO_TCP)  # asyncio sets TCP_NODELAY by protocol
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind(("127.0.0.1", port))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self.clock = clock or Clock()
        self._webhooks = WebhookSender(webhook_endpoint, webhook_secrets or [], self.clock.shifted_wall_time)
        fresh = Account(self._webhooks.send, self.url, self.clock), IdempotencyKeys()
        account, keys = fresh if state is None else pickle.loads(state)  # noqa: S301 - its own writing
        account.attach(self._webhooks.send, self.url, self.clock)
        super().__init__(account, keys, hang_s)
        self.product_api_key = product_api_key
        self.latency_ms = latency_ms
        self.calls_per_second_per_endpoint = calls_per_second_per_endpoint
        self._application = Starlette(
            routes=[
                Route("/i/{token}", self._page(hosted_page.show), methods=["GET"]),
                Route("/i/{token}/pay", self._page(hosted_page.pay), methods=["POST"]),
                Route("/v1/{path:path}", self.respond, methods=["GET", "POST", "DELETE"]),
            ]
        )
        self._started = threading.Event()
        self._loop: asyncio.AbstractEventLoop
        self._stop_serving = asyncio.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="stripe")

    def _run(self) -> None:
        # Made in this thread: a signal interrupts the main one, and would leave a loop that is half made.
        self._loop = asyncio.new_event_loop()
        self._loop.run_until_complete(self._serve())

    async def _serve(self) -> None:
        """Serve until stopped. `uvicorn.Server` needs 0.15 s to stop, which hundreds of tests would pay."""
        config = uvicorn.Config(
            self._application,
            access_log=False,
            log_level="critical",
            server_header=False,
            timeout_keep_alive=75,  # longer than any client keeps an idle connection
        )
        config.load()
        state = ServerState()
        make = partial(H11Protocol, config=config, server_state=state, app_state={})
        async with await self._loop.create_server(make, sock=self._socket):
            self._started.set()
            await self._stop_serving.wait()
            for connection in list(state.connections):
                connection.transport.abort()

    def start(self) -> Self:
        """Serve in a thread of its own."""
        self._webhooks.start()
        self._thread.start()
        self._started.wait()
        return self

    def stop(self) -> None:
        """Release hanging calls, close every connection and give up pending webhooks."""
        self._faults.set("error_before", 0, "")
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop_serving.set)
            self._thread.join()
            self._loop.close()
        self._socket.close()
        self._webhooks.stop()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _page(self, act: hosted_page.Act) -> hosted_page.Endpoint:
        async def endpoint(request: Request) -> Response:
            with self._lock:
                self._account.catch_up()
                return act(self._account, request.path_params["token"])

        return endpoint

    @property
    def webhook_endpoint(self) -> str | None:
        """Where events go; none: nowhere."""
        return self._webhooks.endpoint

    @webhook_endpoint.setter
    def webhook_endpoint(self, url: str | None) -> None:
        self._webhooks.endpoint = url

    @property
    def webhook_secrets(self) -> list[str]:
        """The active signing secrets: one `v1` signature each."""
        return self._webhooks.secrets

    @webhook_secrets.setter
    def webhook_secrets(self, secrets: list[str]) -> None:
        self._webhooks.secrets = list(secrets)

    @property
    def webhook_event_types(self) -> frozenset[str] | None:
        """The event types that the endpoint subscribes to; none: all."""
        return self._webhooks.event_types

    @webhook_event_types.setter
    def webhook_event_types(self, types: frozenset[str] | None) -> None:
        self._webhooks.event_types = types

    @property
    def webhook_deliveries(self) -> list[Delivery]:
        """Every delivery attempt so far."""
        return list(self._webhooks.deliveries)

    def set_webhook_mode(self, mode: WebhookMode) -> None:
        """Choose how events arrive from now on; `drop` also drops what is still pending."""
        self._webhooks.set_mode(mode)

    def resend_event(self, event_id: str) -> None:
        """Deliver a recorded event once more, as the mode says."""
        with self._lock:
            self._webhooks.send(self._account.get("event", event_id))

    def wait_idle(self, timeout_s: float = 10) -> bool:
        """Wait until every webhook is delivered or given up; false on time-out."""
        return self._webhooks.wait_idle(timeout_s)

    def flush(self, timeout_s: float = 10) -> bool:
        """Like `wait_idle`, but without waiting for reverse windows and retry delays."""
        return self._webhooks.wait_idle(timeout_s, hurry=True)
