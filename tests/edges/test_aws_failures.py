"""DynamoDB and Secrets Manager throttle, fail or hang: each handler answers 503 or leaves its work for a retry."""

from __future__ import annotations

import io
import json
import time
from typing import TYPE_CHECKING, Any

import pytest
from botocore.awsrequest import AWSResponse
from botocore.config import Config
from botocore.exceptions import ConnectTimeoutError, EndpointConnectionError, ReadTimeoutError
from stripe import WebhookSignature

from line_requests.bus.events import event_id
from line_requests.clock import CALLS_GRACE_S, limit_calls, wall_time_ms
from line_requests.deployment import Deployment
from line_requests.domain.errors import TableUnavailable
from line_requests.domain.ids import iso_utc
from line_requests.domain.model import Status
from line_requests.settings import Settings
from line_requests.storage.calls import CLIENT_CONFIG
from tests.edges.test_logs import SIGNING_SECRET, Functions
from tests.local.ministack import ROOT, session

if TYPE_CHECKING:
    from collections.abc import Iterator

    from line_requests.domain.model import Line
    from tests.support.shop import Shop

Json = dict[str, Any]

URL = "http://dynamodb"
ONE_ATTEMPT = Config(retries={"mode": "standard", "total_max_attempts": 1})
TABLE_FAILURES = {
    "ThrottlingException": 400,
    "ProvisionedThroughputExceededException": 400,
    "RequestLimitExceeded": 400,
    "InternalServerError": 500,
    "": 503,  # not DynamoDB's own words, but a proxy's
    "read": ReadTimeoutError(endpoint_url=URL),
    "connect": ConnectTimeoutError(endpoint_url=URL),
    "refused": EndpointConnectionError(endpoint_url=URL),
}
THROTTLED = "ThrottlingException", 400


class Body(io.BytesIO):
    """As urllib3 would stream it."""

    def stream(self, **_: object) -> Iterator[bytes]:
        yield self.read()


class FailingFunctions(Functions):
    """The functions, whose calls to AWS fail below the SDK as `failing` says, by operation."""

    def __init__(self, shop: Shop, endpoint: str) -> None:
        self.failing: dict[str, tuple[str, int | Exception]] = {}
        self.sent: list[str] = []
        self.hangs_s = 0.0
        self.config = ONE_ATTEMPT
        super().__init__(shop, endpoint)

    def _client(self, service: str, **_: object) -> Any:  # noqa: ANN401 - boto3's own
        name = service, self.config
        if name not in self._clients:
            made = session().client(service, endpoint_url=self.endpoint, config=self.config)  # type: ignore[call-overload] # any service
            made.meta.events.register_last("before-send", self._send)  # after the product's own
            self._clients[name] = made
        return self._clients[name]

    def deployment(self, config: Config) -> Deployment:
        self.config = config
        return Deployment(Settings.from_environment({"TABLE_NAME": self.shop.world.table_name}), self._client)

    def route(self, folder: str, route: str, line_id: str) -> Json:
        event: Json = json.loads((ROOT / f"events/{folder}.json").read_text())
        event["headers"] |= {"authorization": f"Bearer {self.api_key}"}
        event["requestContext"]["timeEpoch"] = wall_time_ms()
        return self.invoke(folder, event | {"routeKey": route, "pathParameters": {"id": line_id}, "body": ""})

    def _send(self, request: Any, event_name: str, **_: object) -> AWSResponse | None:  # noqa: ANN401 - botocore's
        operation = event_name.rpartition(".")[2]
        self.sent.append(operation)
        if operation not in self.failing:
            return None
        code, failure = self.failing[operation]
        time.sleep(self.hangs_s)
        if isinstance(failure, Exception):
            raise failure
        headers: Any = {"Content-Type": "application/x-amz-json-1.0"}
        return AWSResponse(request.url, failure, headers, Body(json.dumps({"__type": code, "message": ""}).encode()))


@pytest.fixture
def functions(shop: Shop, endpoint: str, monkeypatch: pytest.MonkeyPatch) -> FailingFunctions:
    for name, value in {"TABLE_NAME": "t", "AWS_DEFAULT_REGION": "eu-central-1"}.items():
        monkeypatch.setenv(name, value)
    return FailingFunctions(shop, endpoint)


def create(functions: FailingFunctions) -> Json:
    body = json.dumps({"firstName": "Ada", "lastName": "Lovelace", "channelType": "phone"})
    return functions.http("create_line_request", body, idempotency_key="order-1")


def waiting(functions: FailingFunctions) -> Line:
    functions.shop.workspace(0)
    assert create(functions)["statusCode"] == 201
    [line] = functions.shop.consistent()
    return line


def assert_unavailable(response: Json, code: str = "database_unavailable") -> None:
    assert (response["statusCode"], response["headers"]["Error-Code"]) == (503, code), response
    assert int(response["headers"]["Retry-After"]) > 0
    assert set(json.loads(response["body"])) == {"error"}


@pytest.mark.parametrize("failure", TABLE_FAILURES.items(), ids=lambda failure: failure[0] or "503")
def test_every_transient_failure_of_the_table_is_503(
    functions: FailingFunctions, failure: tuple[str, int | Exception]
) -> None:
    """[34]"""
    functions.shop.workspace(1)
    for operation in ("BatchGetItem", "TransactWriteItems"):
        functions.failing = {operation: failure}
        response = create(functions)
        assert_unavailable(response)
        assert "Line-Request-Id" not in response["headers"]
    functions.failing = {}
    assert create(functions)["statusCode"] == 201


@pytest.mark.parametrize("operation", ["UpdateItem", "GetItem"])
def test_create_names_the_line_that_was_written_before_the_table_failed(
    functions: FailingFunctions, operation: str
) -> None:
    """[33][34][64] The same key finishes it."""
    functions.shop.workspace(0)
    functions.failing = {operation: THROTTLED}
    response = create(functions)
    assert_unavailable(response)
    [line] = functions.shop.consistent()
    assert response["headers"]["Line-Request-Id"] == line.id
    assert "was saved" in response["body"]
    functions.failing = {}
    functions.shop.world.lines.release_lease(line, next_poll_at_ms=0, due_at_ms=0)
    finished = create(functions)
    assert (finished["statusCode"], json.loads(finished["body"])["line"]["_id"]) == (201, line.id)
    assert len(functions.shop.line_invoices()) == 1


@pytest.mark.parametrize(
    ("folder", "body", "operations"),
    [
        ("get_line_request", "", ("BatchGetItem", "UpdateItem")),
        ("manage_line_request", '{"action": "cancel"}', ("BatchGetItem", "UpdateItem")),
        ("manage_line_request", '{"action": "payment_link"}', ("BatchGetItem", "UpdateItem", "GetItem")),
    ],
)
def test_poll_cancel_and_payment_link_answer_503_and_work_afterwards(
    functions: FailingFunctions, folder: str, body: str, operations: tuple[str, ...]
) -> None:
    """[34][39][41]"""
    line = waiting(functions)
    for operation in operations:
        functions.shop.world.lines.release_lease(line, next_poll_at_ms=0, due_at_ms=0)
        functions.failing = {operation: THROTTLED}
        assert_unavailable(functions.http(folder, body, line.id))
    functions.failing = {}
    functions.shop.world.lines.release_lease(line, next_poll_at_ms=0, due_at_ms=0)
    assert functions.http(folder, body, line.id)["statusCode"] == 200


@pytest.mark.parametrize(
    ("folder", "route"),
    [
        ("get_line_request", "GET /api/line-requests"),
        ("get_line_request", "GET /api/line-requests/{id}/events"),
        ("get_line_request", "GET /api/lines/by-user"),
        ("get_line_request", "GET /api/allowance"),
        ("manage_line_request", "DELETE /api/lines/{id}"),
    ],
)
def test_every_other_route_answers_503(functions: FailingFunctions, folder: str, route: str) -> None:
    """[34]"""
    line = waiting(functions)
    functions.failing = dict.fromkeys(("BatchGetItem", "GetItem", "Query"), THROTTLED)
    assert_unavailable(functions.route(folder, route, line.id))


def webhook(functions: FailingFunctions, line: Line) -> Json:
    metadata = {"workspace_id": "acme", "line_id": line.id}
    invoice = {"id": line.invoice_id, "customer": "cus_1", "metadata": metadata}
    body = json.dumps({"type": "invoice.paid", "livemode": False, "data": {"object": invoice}})
    signature = WebhookSignature.generate_signature_header(body, SIGNING_SECRET, wall_time_ms() // 1000)
    return functions.http("stripe_webhook", body, stripe_signature=str(signature))


@pytest.mark.parametrize("operation", ["GetItem", "TransactWriteItems"])
def test_webhook_answers_503_so_that_stripe_delivers_again(functions: FailingFunctions, operation: str) -> None:
    """[45]"""
    line = waiting(functions)
    functions.shop.double.pay_invoice(str(line.invoice_id))
    functions.failing = {operation: THROTTLED}
    assert_unavailable(webhook(functions, line))
    functions.failing = {}
    assert webhook(functions, line)["statusCode"] == 200
    assert [line.status for line in functions.shop.consistent()] == [Status.PROVISIONING]


def reconcile(functions: FailingFunctions) -> Json:
    return functions.invoke("reconciler", {"id": "1", "time": iso_utc(wall_time_ms())})


@pytest.mark.parametrize("operation", ["Query", "BatchGetItem", "UpdateItem", "GetItem", "TransactWriteItems"])
def test_reconciler_leaves_what_fails_for_the_next_run(functions: FailingFunctions, operation: str) -> None:
    """[47] It ends with its summary instead of an error."""
    line = waiting(functions)
    functions.shop.double.pay_invoice(str(line.invoice_id))
    functions.shop.world.lines.release_lease(line, next_poll_at_ms=0, due_at_ms=0)
    functions.failing = {operation: THROTTLED}
    assert reconcile(functions)["failed"] > 0
    functions.failing = {}
    reconcile(functions)
    assert [line.status for line in functions.shop.consistent()] == [Status.PROVISIONING]


@pytest.mark.parametrize("operation", ["GetItem", "TransactWriteItems"])
def test_provisioning_result_stays_in_its_queue(functions: FailingFunctions, operation: str) -> None:
    """[48]"""
    functions.shop.workspace(1)
    assert create(functions)["statusCode"] == 201
    [line] = functions.shop.consistent()
    detail = {"eventId": event_id(line), "workspaceId": "acme", "lineId": line.id, "outcome": "succeeded"}
    event = {"id": "bus-event-1", "time": iso_utc(wall_time_ms()), "detail": detail}
    batch = {"Records": [{"messageId": "message-1", "body": json.dumps(event)}]}
    functions.failing = {operation: THROTTLED}
    failed = functions.invoke("provisioning_result", batch)
    assert failed == {"batchItemFailures": [{"itemIdentifier": "message-1"}]}
    functions.failing = {}
    assert functions.invoke("provisioning_result", batch) == {"batchItemFailures": []}
    assert [line.status for line in functions.shop.consistent()] == [Status.ACTIVE]


@pytest.mark.parametrize(
    ("failure", "alarms"),
    [
        (("ThrottlingException", 400), 0),
        (("InternalServiceError", 500), 0),
        (("read", ReadTimeoutError(endpoint_url=URL)), 0),
        (("AccessDeniedException", 400), 1),
        (("ResourceNotFoundException", 400), 1),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_unreadable_secret_is_503_with_an_alarm_only_if_it_lasts(
    functions: FailingFunctions,
    failure: tuple[str, int | Exception],
    alarms: int,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """[34][39][45] The poll answers what is stored; the reconciler leaves it for the next run."""
    functions.shop.workspace(0)
    functions.failing = {"GetSecretValue": failure}
    response = create(functions)
    assert_unavailable(response, "stripe_unavailable")
    [line] = functions.shop.consistent()
    assert response["headers"]["Line-Request-Id"] == line.id
    assert capsys.readouterr().out.count('"StripeRefused":[1.0]') == alarms
    assert functions.http("get_line_request", path_id=line.id)["statusCode"] == 200
    assert_unavailable(functions.http("manage_line_request", '{"action": "cancel"}', line.id), "stripe_unavailable")
    assert_unavailable(webhook(functions, line), "stripe_unavailable")
    assert reconcile(functions)["failed"] > 0
    functions.failing = {}
    assert create(functions)["statusCode"] == 201


def test_no_call_starts_after_the_invocation_has_ended(functions: FailingFunctions) -> None:
    """[34] Whichever flow makes it."""
    functions.shop.workspace(1)
    deployment = functions.deployment(ONE_ATTEMPT)
    functions.sent.clear()
    with limit_calls(-CALLS_GRACE_S), pytest.raises(TableUnavailable, match="OutOfTime"):
        deployment.stores.workspaces.get("acme")
    assert functions.sent == []
    assert deployment.stores.workspaces.get("acme") is not None


def test_call_that_hangs_is_not_repeated_after_the_invocation_has_ended(functions: FailingFunctions) -> None:
    """[34] With the product's own retries."""
    deployment = functions.deployment(CLIENT_CONFIG)
    functions.failing = {"GetItem": ("read", ReadTimeoutError(endpoint_url=URL))}
    functions.hangs_s = CALLS_GRACE_S + 0.1
    with limit_calls(0), pytest.raises(TableUnavailable, match="OutOfTime"):
        deployment.stores.workspaces.get("acme")
    assert functions.sent.count("GetItem") == 1
