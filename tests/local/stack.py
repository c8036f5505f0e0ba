"""The local stack: MiniStack, the Stripe double, a provisioner and one origin in front of them."""

import json
import math
import os
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager, contextmanager
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Self

import httpx
import uvicorn
from botocore.config import Config
from starlette.applications import Starlette
from starlette.routing import Mount

from line_requests.billing.events import WEBHOOK_EVENTS
from tests.local import control, prefork
from tests.local.demo import PRODUCT_API_KEY, Demo
from tests.local.deployment import Deployment, deploy, layer_packages
from tests.local.gateway import Gateway
from tests.local.keep import Keep, Kept
from tests.local.ministack import ACCOUNT, REGION, MiniStack, StartError
from tests.local.provisioner import Provisioner
from tests.local.session_tokens import AUTHORIZED_PARTY, ISSUER, Issuer
from tests.local.stripe_double import StripeDouble
from tests.local.stripe_double.clock import Clock as StripeClock
from tests.local.stripe_double.webhooks import WebhookMode
from tests.local.time_ahead import sitecustomize as time_ahead
from tests.trace import recorder

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator

WEBHOOK_SECRETS = ["whsec_local_current", "whsec_local_previous"]  # two, as while a secret is rotated

LINES = "/api/line-requests"
# The workers that the first requests need, some of them twice: a cold one takes most of a second.
WARM_UP = (*[("POST", LINES), ("GET", LINES)] * 2, ("POST", f"{LINES}/{'0' * 24}"), ("POST", "/stripe/webhook"))

MAX_RUNS = 60  # of the reconciler in one advance, which a person waits for

Json = dict[str, Any]


class LocalStack:
    """The whole product on one origin, as a context manager; `ready` once everything is deployed and usable."""

    def __init__(  # noqa: PLR0913 - independent settings, named at every call
        self,
        port: int = 0,
        *,
        iam_decisions: Path | None = None,
        keep: Keep | None = None,
        record: bool = False,
        warm_up: "Iterable[tuple[str, str]]" = WARM_UP,
        progress: "Callable[[str], object]" = str,
    ) -> None:
        """Choose the port; 0 takes the one that was kept, or a free one.

        With `iam_decisions` IAM is enforced, and recorded in that file; with `keep` it goes on where another run has
        stopped; with `record` it writes down everything that happens, for tests.trace to check. `warm_up` are requests
        that are sent before the stack is ready, all at once. `progress` is told each step of the start.
        """
        self._iam_decisions = iam_decisions
        self._keep = keep
        self._record = record and prefork.possible()
        self._kept = keep.kept if keep else None
        self._seconds_ahead = self._kept.seconds_ahead if self._kept else 0
        self._progress = progress
        self._requests = list(warm_up)
        self.ready = False
        self.webhook_mode: WebhookMode = "deliver"
        self._advancing = threading.Lock()
        self._port = port
        self._undo = ExitStack()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> Self:
        """Bring everything up; on any failure everything is down again before it is raised."""
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        if self._keep and self.ready:
            self.double.flush()  # its webhooks do not outlive it
        self._undo.close()
        self.ready = False

    def wait(self) -> NoReturn:
        """Block until MiniStack ends by itself, and raise why; a signal is the usual end."""
        raise StartError(self.ministack.last_words())

    def set_webhook_mode(self, mode: WebhookMode) -> None:
        self.double.set_webhook_mode(mode)
        self.webhook_mode = mode

    def reset(self) -> None:
        """Set modes and faults to what they are at start; workspaces and lines stay."""
        self.set_webhook_mode("deliver")
        self.provisioner.set_mode("auto")
        self.double.set_faults("error_before", 0)

    def now(self) -> str:
        """The stack's time, in ISO 8601."""
        return datetime.fromtimestamp(self.double.advance(0), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    def advance_clock(self, seconds: int, *, runs: int | None = None) -> Json:
        """Lets time pass for gateway, schedule, bus, functions, Stripe and this process together.

        The time passes in equal steps, each of which ends with a run of the reconciler, so that everything
        happens in order: a renewal is seen before the next one. There are as many as its schedule would run, within
        limits, unless `runs` says how many.
        """
        runs = runs_within(seconds) if runs is None else runs
        with self._advancing:
            before = self._seconds_ahead
            for step in range(1, (runs or 1) + 1):
                self.double.flush()  # a webhook's signature is 300 s good
                self._seconds_ahead = before + seconds * step // (runs or 1)
                self.ministack.move_time(self._seconds_ahead)
                self.double.advance(0)  # its clock has moved with this process's; do what is due
                if runs:
                    self.reconcile()
            self.double.flush()
        return {"now": self.now(), "reconcilerRuns": runs}

    def reconcile(self) -> Json:
        """Run the deployed reconciler once, as its schedule would; its summary."""
        tick = {
            "version": "0",
            "id": os.urandom(16).hex(),
            "detail-type": "Scheduled Event",
            "source": "aws.events",
            "account": ACCOUNT,
            # Whole seconds, as AWS writes it; rounded up, so that everything due by now is due to this run.
            "time": datetime.fromtimestamp(math.ceil(time.time()), UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "region": REGION,
            "resources": [f"arn:aws:events:{REGION}:{ACCOUNT}:rule/reconcile"],
            "detail": {},
        }
        return self._invoke("reconciler", tick)

    @cached_property
    def _lambda(self) -> Any:  # noqa: ANN401 - boto3's client types are not there at run time
        # The reconciler may take 300 s.
        config = Config(read_timeout=310, retries={"total_max_attempts": 1}, max_pool_connections=50)
        return self.ministack.session.client("lambda", endpoint_url=self.ministack.endpoint, config=config)

    def _invoke(self, function: str, event: Json) -> Json:
        answer = self._lambda.invoke(FunctionName=self.deployment.functions[function], Payload=json.dumps(event))
        payload: Json = json.loads(answer["Payload"].read() or b"{}") or {}
        if answer.get("FunctionError"):
            raise RuntimeError(f"{function}: {payload}")
        return payload

    def _start(self) -> None:
        # A signal may come between any two lines. Threads end with this process; what would outlive it, MiniStack and
        # its directory, is registered before it is there.
        kept = self._kept
        listener = _listen(self._port or (kept.origin_port if kept else 0))
        self._undo.callback(listener.close)
        self._port = listener.getsockname()[1]
        self.origin = f"http://127.0.0.1:{self._port}"
        packages = layer_packages(self._progress)
        self._progress("Starting the local AWS…")
        with _bound("MiniStack's", kept.ministack_port if kept else 0) as port:
            self.ministack = MiniStack(packages, port, iam_decisions=self._iam_decisions, record=self._record)
        self._undo.callback(self.ministack.stop)
        self.ministack.start()
        self.ministack.move_time(self._seconds_ahead)
        # Operators' commands, session tokens and the double are of this process.
        self._undo.callback(time_ahead.follow(self.ministack.seconds_ahead))
        with _bound("the Stripe double's", kept.stripe_port if kept else 0) as port:
            self.double = StripeDouble(
                port,
                product_api_key=PRODUCT_API_KEY,
                webhook_secrets=WEBHOOK_SECRETS,
                clock=StripeClock(_wall_time_s),
                state=kept.stripe if kept else None,
            )
        self.double.webhook_event_types = WEBHOOK_EVENTS
        if self.ministack.trace:
            self.double.on_act = recorder.record_acts(self.ministack.trace)
        self.double.start()
        self._undo.callback(self.double.stop)
        self.issuer = Issuer()
        self.ministack.wait_until_ready()
        self._progress("Deploying template.yaml…")
        self.deployment = self._deploy()
        if self._keep:
            self._undo.callback(self._save, self._keep)
        self.provisioner = Provisioner(self.ministack, self.deployment.bus)
        self.provisioner.start()
        self._undo.callback(self.provisioner.stop)
        self._serve(listener)
        self._progress("Making plans and workspaces…")
        if kept:
            with self._table().batch_writer() as batch:
                for item in kept.items:
                    batch.put_item(item)  # the stream publishes each line's state again
        self.demo = Demo(self.ministack, self.deployment.table, self.double, kept.demo if kept else None)
        self._progress("Starting the functions…")
        self._wait_for_snapshots()
        self._warm_up()
        self.double.webhook_endpoint = f"{self.origin}/stripe/webhook"  # not told of what was made so far
        self.ready = True

    def _table(self) -> Any:  # noqa: ANN401 - boto3's resource types are not there at run time
        dynamodb = self.ministack.session.resource("dynamodb", endpoint_url=self.ministack.endpoint)
        return dynamodb.Table(self.deployment.table)

    def _save(self, keep: Keep) -> None:
        """Keep everything that the next run goes on with; nothing of a stack that did not start."""
        if not self.ready:
            return
        pages = self._table().meta.client.get_paginator("scan").paginate(TableName=self.deployment.table)
        keep.save(
            Kept(
                demo=self.demo.state(),
                items=[item for page in pages for item in page["Items"]],
                stripe=self.double.state(),
                origin_port=self._port,
                ministack_port=_port_of(self.ministack.endpoint),
                stripe_port=_port_of(self.double.url),
                seconds_ahead=self._seconds_ahead,
            )
        )

    def _deploy(self) -> Deployment:
        secrets = self.ministack.session.client("secretsmanager", endpoint_url=self.ministack.endpoint)
        secret = {"api_key": PRODUCT_API_KEY, "webhook_secrets": WEBHOOK_SECRETS}
        self.parameters = {
            "StripeSecretArn": secrets.create_secret(Name="stripe", SecretString=json.dumps(secret))["ARN"],
            "StripeApiBase": self.double.url,
            "ClerkIssuer": ISSUER,
            "ClerkPublicKey": self.issuer.public_pem,
            "ClerkAuthorizedParties": f"{AUTHORIZED_PARTY},{self.origin}",
            "AllowedOrigins": AUTHORIZED_PARTY,
            "ReconcileSchedule": "rate(36500 days)",  # so that only `reconcile` runs it, however time is moved
        }
        return deploy(self.ministack, self.parameters)

    def _serve(self, listener: socket.socket) -> None:
        gateway = self.gateway = Gateway(self.ministack.endpoint, self.deployment.api_id)

        @asynccontextmanager
        async def close_afterwards(_: Starlette) -> "AsyncIterator[None]":
            yield
            await gateway.close()

        application = Starlette(routes=[*control.routes(self), Mount("/", gateway)], lifespan=close_afterwards)
        application.router.default = gateway  # a path with a line break in it matches no route of Starlette's
        application.router.redirect_slashes = False
        server = uvicorn.Server(
            uvicorn.Config(
                application,
                log_level="critical",
                access_log=False,
                date_header=False,  # MiniStack's answers have one
                server_header=False,
                lifespan="on",
                timeout_keep_alive=75,  # longer than any client keeps an idle connection
                timeout_graceful_shutdown=1,
            )
        )
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True, name="origin")

        def stop() -> None:
            server.should_exit = True
            thread.join(timeout=5)

        thread.start()
        self._undo.callback(stop)
        while not server.started:
            if not thread.is_alive():
                raise StartError(f"The server at {self.origin} did not start")
            time.sleep(0.01)

    def _wait_for_snapshots(self) -> None:
        """MiniStack starts a worker of each published version in the background; a request before starts another."""
        waiter = self._lambda.get_waiter("published_version_active")
        for arn in self.deployment.functions.values():
            waiter.wait(FunctionName=arn, WaiterConfig={"Delay": 0.05, "MaxAttempts": 600})

    def _warm_up(self) -> None:
        with httpx.Client(base_url=self.origin, timeout=60) as client, ThreadPoolExecutor(len(self._requests)) as pool:
            list(pool.map(lambda request: client.request(*request), self._requests))


def runs_within(seconds: int) -> int:
    """How often the reconciler runs meanwhile: once a minute within an hour, else once an hour, at most MAX_RUNS."""
    return min(MAX_RUNS, seconds // (60 if seconds <= 3600 else 3600))


def _wall_time_s() -> float:
    return time.time()  # looked up at each call: the function that moves with the stack


def _port_of(origin: str) -> int:
    return int(origin.rpartition(":")[2])


@contextmanager
def _bound(what: str, port: int) -> "Iterator[int]":
    """Say which port is taken; only one that was kept can be."""
    try:
        yield port
    except OSError as error:
        raise StartError(
            f"Port {port} of 127.0.0.1, which {what} had before, cannot be used ({error.strerror})"
        ) from error


def _listen(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # asyncio: TCP_NODELAY by protocol
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
    except OSError as error:
        listener.close()
        raise StartError(f"Port {port} of 127.0.0.1 cannot be used ({error.strerror}): try PORT={port + 1}") from error
    return listener
