"""The product's real code, run on answers: the same answers, the same steps.

Everything below the SDKs is replaced where the SDKs offer it: boto3's own event that makes a client's
class, and an HTTP client given to Stripe's. Of the standard library the product gets three other
things: the clock's time, the intake's thread pool and its random ids. The rest is what is deployed.
"""

import importlib
import json
import os
import sys
import urllib.parse
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import cache, partial
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any, Self

import boto3
import stripe
from boto3.dynamodb.types import TypeDeserializer
from botocore.exceptions import ReadTimeoutError
from requests.structures import CaseInsensitiveDict

from tests.proof.memory_stripe import Reply
from tests.proof.runs import Alarm, current
from tests.proof.world import DynamoDb, NoReply, Pause, Publish, Step, Stripe, Unprocessed

if TYPE_CHECKING:
    from concurrent.futures import Future

ROOT = Path(__file__).parents[2]
TABLE, API_KEY, WEBHOOK_SECRET = "line-requests", "sk_test_proof", "whsec_proof"
FUNCTIONS = (
    "create_line_request",
    "get_line_request",
    "manage_line_request",
    "stripe_webhook",
    "reconciler",
    "publish_changes",
    "provisioning_result",
)
# The operator's, by what the console script is told.
COMMANDS = ("line refund", "line refund --sent-outside", "line retry")
# A poll loop of many short pauses is the same loop with a few long ones; a pause may always be longer.
PAUSE_MIN_MS = 4_000
VALUES_KNOWN_MAX = 100_000
_ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "id",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_DEFAULT_REGION": "eu-central-1",
    "POWERTOOLS_LOG_LEVEL": "CRITICAL",
    "POWERTOOLS_METRICS_NAMESPACE": "LineRequests",
    "POWERTOOLS_SERVICE_NAME": "line-requests",
    "TABLE_NAME": TABLE,
    "BUS_NAME": "line-requests",
    "STRIPE_SECRET_ARN": "stripe",
}


# --- below the SDKs -----------------------------------------------------------------------------


def _make_api_call(client: Any, operation: str, request: Mapping[str, Any]) -> Any:  # noqa: ANN401 - boto3's client
    if operation == "BatchGetItem":
        return _batch_get(request)
    if operation == "GetSecretValue":
        return {"SecretString": json.dumps({"api_key": API_KEY, "webhook_secrets": [WEBHOOK_SECRET]})}
    if operation == "PutEvents":
        entries = request["Entries"]
        step: Step = Publish(
            tuple(json.loads(entry["Detail"]) for entry in entries),
            tuple((entry["Source"], entry["DetailType"]) for entry in entries),
        )
    else:
        step = DynamoDb(operation, request)
    result = current().ask(step)
    if isinstance(result, NoReply):
        raise ReadTimeoutError(endpoint_url="https://aws.example")
    if isinstance(step, Publish):
        return result
    if result.error is not None:
        raise client.exceptions.from_code(result.error)(result.body, operation)
    return result.body


def _batch_get(request: Mapping[str, Any]) -> dict[str, Any]:
    """A batch is no snapshot: one step for each of its items."""
    [(table, wanted)] = request["RequestItems"].items()
    found, left = [], []
    for key in sorted(wanted["Keys"], key=current().order_of):
        result = current().ask(DynamoDb("GetItem", {"TableName": table, "Key": key}, of_batch=True))
        if isinstance(result, NoReply):
            raise ReadTimeoutError(endpoint_url="https://aws.example")
        if isinstance(result, Unprocessed):
            left.append(key)
        elif "Item" in result.body:
            found.append(result.body["Item"])
    return {"Responses": {table: found}, "UnprocessedKeys": {table: {"Keys": left}} if left else {}}


def _give_class(class_attributes: dict[str, Any], **_: object) -> None:
    class_attributes["_make_api_call"] = _make_api_call


class _Http(stripe.HTTPClient):
    """Stripe's SDK above, a step below."""

    name = "proof"

    def __init__(self, remaining_s: Callable[[], float], smallest_call_s: float) -> None:
        super().__init__()
        self._remaining_s = remaining_s
        self._smallest_call_s = smallest_call_s

    def request(
        self, method: str, url: str, headers: Mapping[str, str] | None, post_data: str | None = None, **_: object
    ) -> tuple[str, int, Mapping[str, str]]:
        if self._remaining_s() < self._smallest_call_s:
            raise stripe.APIConnectionError("no time left", should_retry=True)  # type: ignore[no-untyped-call] # as the SDK declares it
        parts = urllib.parse.urlsplit(url)
        params = dict(urllib.parse.parse_qsl(post_data if method == "post" else parts.query))
        key = current().key((headers or {}).get("Idempotency-Key"))
        result = current().ask(Stripe(method.upper(), parts.path, params, key))
        if isinstance(result, NoReply):
            raise stripe.APIConnectionError("timed out", should_retry=result.again)  # type: ignore[no-untyped-call] # as the SDK declares it
        assert isinstance(result, Reply)
        return result.body, result.status, CaseInsensitiveDict(result.headers)

    def _sleep_time_seconds(self, num_retries: int) -> float:  # noqa: ARG002 - the SDK's own signature
        return 0.0

    def close(self) -> None:
        """Nothing is open."""


def _log_alarm(_message: str, *, extra: Mapping[str, object]) -> None:
    """What an alarm logs; its metric follows."""
    current().context = tuple((name, str(value)) for name, value in extra.items())


def _count_alarm(*, name: str, value: float, **_: object) -> AbstractContextManager[None]:
    if value:
        current().alarms.append(Alarm(name, current().context))
    return nullcontext()


class _Deserializer:
    """The product's, but reads an attribute of a stored item once: it never changes."""

    def __init__(self, product: TypeDeserializer) -> None:
        self._product = product
        self._values: dict[int, tuple[Any, Any]] = {}

    def deserialize(self, value: Any) -> Any:  # noqa: ANN401 - as boto3 declares it
        known = self._values.get(id(value))
        if known is None:
            if len(self._values) > VALUES_KNOWN_MAX:
                self._values.clear()
            # The value is kept, too: nothing else may have its id meanwhile.
            known = self._values[id(value)] = (value, self._product.deserialize(value))
        return known[1]


class _Strands:
    """What intake and reconciler take for a thread pool."""

    def __init__(self, max_workers: int) -> None:
        del max_workers

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            current().join()

    def submit(self, call: Callable[..., Any], *args: object) -> "Future[Any]":
        return current().beside(call, *args)


# --- the product --------------------------------------------------------------------------------


@cache
def warm() -> boto3.Session:
    """Loads what is not the product's and takes long; called before processes are forked, each of them has it."""
    for module in ("aws_lambda_powertools.metrics", "jwt.algorithms", "msgspec", "pydantic"):
        importlib.import_module(module)
    os.environ.update(_ENVIRONMENT)
    boto3.setup_default_session()
    session = boto3.DEFAULT_SESSION
    assert session is not None
    for service in ("dynamodb", "events", "secretsmanager"):
        session.events.register(f"creating-client-class.{service}", _give_class)
        session.client(service)
    return session


class Product:
    """The handlers and the modules behind them, on simulated ground; one for each process.

    `root` is the tree that they are imported from.
    """

    def __init__(self, root: Path = ROOT) -> None:
        session = warm()
        self._root = root
        sys.path[:0] = [str(root), str(root / "layers")]
        import line_requests.clock
        import line_requests.deployment
        import line_requests.domain.ids
        import line_requests.flows.create
        import line_requests.flows.event_feed
        import line_requests.storage.attributes
        import line_requests.storage.records
        import line_requests.storage.table
        import line_requests.telemetry

        # Two shards of the index stand for all: what matters is which of them comes first.
        _replace(line_requests.storage.records, "DUE_SHARDS", 2)
        _replace(line_requests.telemetry, "single_metric", _count_alarm)
        # No seam in the product for these: a clock, threads and chance are what it takes for given.
        time = SimpleNamespace(monotonic=_monotonic_s, sleep=_sleep, time_ns=lambda: int(_monotonic_s() * 1e9))
        _replace(line_requests.clock, "time", time)
        # Back-off pauses take no time, so that chance plays no part.
        impatient = partial(line_requests.storage.table.Table, sleep=lambda _: None)
        _replace(line_requests.deployment, "Table", impatient)
        attributes = line_requests.storage.attributes
        _replace(attributes, "_deserializer", _Deserializer(attributes._deserializer))  # noqa: SLF001 - as above
        # Stripe's SDK words each call for a log that is off here: a tenth of the ledger's time.
        _replace(stripe._util, "logfmt", lambda _: "")  # noqa: SLF001 - no switch turns that off
        for module in (line_requests.flows.create, line_requests.flows.event_feed):
            _replace(module, "ThreadPoolExecutor", _Strands)
        # It only tells a transaction's attempts from another's: a number of chance would part runs that go on alike.
        _replace(line_requests.storage.table, "uuid", SimpleNamespace(uuid4=lambda: "transaction"))
        _replace(line_requests.domain.ids, "secrets", SimpleNamespace(token_hex=lambda _size: current().draw()))
        self.deployment = _deployment(session)
        self.handlers = {name: self._handler(name) for name in FUNCTIONS}
        refund, refund_outside = self.deployment.refunds.give_back, self._record_outside
        commands = (partial(self._refund, refund), partial(self._refund, refund_outside), self._retry)
        self.handlers |= dict(zip(COMMANDS, commands, strict=True))
        # Last, for it replaces only what `telemetry.alarm` logs through.
        _replace(line_requests.telemetry, "logger", SimpleNamespace(error=_log_alarm))

    def _record_outside(self, clock: Any, line: Any) -> Any:  # noqa: ANN401 - as `give_back`
        return self.deployment.refunds.record_outside(clock, line, "bank transfer 4711")

    def _refund(self, act: Callable[..., Any], event: Any, _context: object) -> Any:  # noqa: ANN401 - a line's names
        from line_requests.clock import Clock
        from line_requests.domain.errors import BillingUnavailable, NotInThisStatus

        line = self.deployment.stores.lines.get(event["workspace"], event["line"])
        try:
            refunded, given = act(Clock.start(20.0), line)
        except NotInThisStatus as refusal:
            return {"statusCode": 200, "body": str(refusal)}
        except BillingUnavailable as trouble:
            return {"statusCode": 503, "body": str(trouble)}
        return {"statusCode": 200, "body": f"{refunded.status}, due: {refunded.refund_due}, given: {len(given)}"}

    def _retry(self, event: Any, _context: object) -> Any:  # noqa: ANN401 - a line's names
        from line_requests.clock import wall_time_ms
        from line_requests.operator import commands
        from line_requests.operator.refusal import Refused

        stores = self.deployment.stores
        try:
            commands.retry(stores.lines, stores.workspaces, event["workspace"], event["line"], wall_time_ms())
        except Refused as refusal:
            return {"statusCode": 200, "body": str(refusal)}
        return {"statusCode": 200}

    def _handler(self, name: str) -> Callable[[Any, Any], Any]:
        """The function's handler, on the simulated deployment."""
        module = importlib.import_module(f"functions.{name}.app")
        assert Path(str(module.__file__)).is_relative_to(self._root), f"{self._root} has no function {name}"
        _replace(module, "DEPLOYMENT", self.deployment)
        handler: Callable[[Any, Any], Any] = module.handler
        return handler


def _replace(module: ModuleType, name: str, value: object) -> None:
    assert hasattr(module, name), f"{module.__name__} has no {name} any more"
    setattr(module, name, value)


def _monotonic_s() -> float:
    return current().now_ms / 1000


def _sleep(seconds: float) -> None:
    current().ask(Pause(max(PAUSE_MIN_MS, int(seconds * 1000))))


def _deployment(session: boto3.Session) -> Any:  # noqa: ANN401 - a subclass of what is imported late, so that a mutant can come first
    from line_requests.billing import client
    from line_requests.clock import Clock
    from line_requests.deployment import Deployment
    from line_requests.settings import Settings

    class Simulated(Deployment):
        def stripe_client(self, api_key: str, clock: Clock) -> stripe.StripeClient:
            return stripe.StripeClient(
                api_key,
                http_client=_Http(clock.remaining_s, client.SMALLEST_CALL_S),
                max_network_retries=client.MAX_NETWORK_RETRIES,
            )

    return Simulated(Settings.from_environment(), session.client)
