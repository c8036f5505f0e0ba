"""What handlers write to their logs: no name, address, number, key, token, signature, nor Stripe's own texts."""

from __future__ import annotations

import io
import json
import logging
import sys
import traceback
from typing import TYPE_CHECKING, Any

import pytest
from stripe import WebhookSignature

from line_requests import telemetry
from line_requests.clock import wall_time_ms
from line_requests.deployment import Deployment
from line_requests.domain.ids import iso_utc, new_api_key, sha256_hex
from line_requests.domain.model import ApiKey
from line_requests.settings import Settings
from line_requests.storage.attributes import marshal
from line_requests.storage.records import line_item
from tests.local.ministack import ROOT, session
from tests.local.session_tokens import ISSUER, Issuer
from tests.support.lambda_context import Context, function
from tests.support.wire import refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.edges.scripted_stripe import ScriptedStripe
    from tests.support.shop import Shop

Json = dict[str, Any]

PERSON = {
    "firstName": "Zaphod",
    "lastName": "Beeblebrox",
    "email": "zaphod@heartofgold.example",
    "phone": "+1 415 555 0142",
    "zipcode": "94107-0042",
    "state": "Betelgeuse",
    "forwardCallsTo": "+49 30 5550143",
    "profileImageUrl": "https://images.example/zbx.png",
}
BODY = json.dumps({"channelType": "phone"} | PERSON)
STRIPE_TEXT = "ada@example.com"  # in each error of ScriptedStripe
IDEMPOTENCY_KEY = "order-4711-of-zbx"
SIGNING_SECRET, STRIPE_KEY = "whsec_c2lnbmluZw", "sk_test_cHJvZHVjdA"


class Functions:
    """The deployment's functions in this process; what they must not log is in `hidden`."""

    def __init__(self, shop: Shop, endpoint: str) -> None:
        self.shop, self.endpoint = shop, endpoint
        self._clients: dict[object, Any] = {}
        self.issuer = Issuer()
        self.api_key = new_api_key("acme")
        key = ApiKey(sha256_hex(self.api_key), "website", wall_time_ms())
        shop.world.api_keys.insert("acme", key)
        self.secret_arn = self._client("secretsmanager").create_secret(
            Name=f"stripe-{shop.world.table_name}",
            SecretString=json.dumps({"api_key": STRIPE_KEY, "webhook_secrets": [SIGNING_SECRET]}),
        )["ARN"]
        self.hidden = [*PERSON.values(), STRIPE_TEXT, IDEMPOTENCY_KEY, SIGNING_SECRET, STRIPE_KEY, self.api_key]

    def _client(self, service: str, **config: Any) -> Any:  # noqa: ANN401 - boto3's own
        if service == "dynamodb":
            return self.shop.world.client
        if service not in self._clients:  # to make one takes longer than a call
            self._clients[service] = session().client(service, endpoint_url=self.endpoint, **config)  # type: ignore[call-overload] # any service
        return self._clients[service]

    def invoke(self, folder: str, event: Json, *, stripe_url: str = "", **settings: str) -> Json:
        """The handler's result; an error goes to the log, as Lambda's runtime puts it there."""
        module = function(folder)
        environment = {
            "TABLE_NAME": self.shop.world.table_name,
            "BUS_NAME": "default",
            "STRIPE_SECRET_ARN": self.secret_arn,
            "STRIPE_API_BASE": stripe_url or self.shop.double.url,
            "CLERK_ISSUER": ISSUER,
            "CLERK_PUBLIC_KEY": self.issuer.public_pem,
        }
        vars(module)["DEPLOYMENT"] = Deployment(Settings.from_environment(environment | settings), self._client)
        try:
            result: Json = module.handler(event, Context())
        except Exception:  # noqa: BLE001 - whatever a handler raises
            traceback.print_exc(file=sys.stdout)
            return {}
        return result

    def http(self, folder: str, body: str = "", path_id: str = "", **more: str) -> Json:
        """One request with the workspace's API key; settings are in capitals, headers are not."""
        settings = {name: value for name, value in more.items() if name.isupper() or name == "stripe_url"}
        headers = {name.replace("_", "-"): value for name, value in more.items() if name not in settings}
        event: Json = json.loads((ROOT / f"events/{folder}.json").read_text())
        event["headers"] |= {"authorization": f"Bearer {self.api_key}"} | headers
        event["requestContext"]["timeEpoch"] = wall_time_ms()
        event |= {"body": body, "pathParameters": {"id": path_id} if path_id else None}
        if not path_id:
            event["routeKey"] = event["routeKey"].removesuffix("/{id}")
        return self.invoke(folder, event, **settings)

    def create(self, **more: str) -> int:
        made = self.http("create_line_request", BODY, idempotency_key=IDEMPOTENCY_KEY, **more)
        return int(made["statusCode"])


@pytest.fixture
def functions(shop: Shop, endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Functions:
    for name, value in {"TABLE_NAME": "t", "AWS_DEFAULT_REGION": "eu-central-1"}.items():
        monkeypatch.setenv(name, value)
    return Functions(shop, endpoint)


@pytest.fixture
def logged(
    capsys: pytest.CaptureFixture[str], functions: Functions, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[], str]]:
    """What was logged so far, ours and the libraries' at INFO, as Lambda takes both; it is scanned after the test."""
    stream, root, [ours] = io.StringIO(), logging.getLogger(), telemetry.logger.handlers
    theirs = logging.StreamHandler(stream)
    monkeypatch.setattr(root, "level", logging.INFO)
    monkeypatch.setattr(ours, "stream", stream)
    root.addHandler(theirs)
    printed: list[str] = []

    def read() -> str:
        printed.extend(capsys.readouterr())
        return stream.getvalue() + "".join(printed)

    yield read
    root.removeHandler(theirs)
    text = read()
    # JSON logs escape what is not ASCII, which none of these is.
    assert [value for value in functions.hidden if value in text] == []


def paid_request(functions: Functions) -> str:
    """The id of a line that awaits payment."""
    functions.shop.workspace(0)
    assert functions.create() == 201
    [line] = functions.shop.consistent()
    return line.id


def test_accepted_requests_log_nothing_personal(functions: Functions, logged: Callable[[], str]) -> None:
    """[5] Included, replayed, waiting for payment, listed, canceled."""
    line_id = paid_request(functions)
    assert functions.create() == 201
    assert functions.http("get_line_request")["statusCode"] == 200
    assert functions.http("get_line_request", path_id=line_id)["statusCode"] == 200
    assert functions.http("manage_line_request", '{"action": "cancel"}', line_id)["statusCode"] == 200
    telemetry.logger.info("the end of the test")
    assert "the end of the test" in logged()


@pytest.mark.parametrize(
    "body", [BODY.replace("phone", "fax", 1), BODY[:-1], json.dumps(PERSON | {"channelType": "email", "email": BODY})]
)
def test_invalid_request_logs_nothing_personal(functions: Functions, logged: Callable[[], str], body: str) -> None:
    """[5]"""
    functions.shop.workspace(1)
    assert functions.http("create_line_request", body, idempotency_key=IDEMPOTENCY_KEY)["statusCode"] == 400
    assert "Traceback" not in logged()


def test_refused_credential_is_not_logged(functions: Functions, logged: Callable[[], str]) -> None:
    """[5] Another workspace's key, one that is not well-formed, and session tokens, good and bad."""
    functions.shop.workspace(1)
    tokens = [
        new_api_key("other"),
        functions.api_key[:-1],
        functions.issuer.token("org_1", {}, {}),
        functions.issuer.token("org_1", {}, {"alg": "none"}),
    ]
    functions.hidden += tokens
    for token in tokens:
        assert functions.create(authorization=f"Bearer {token}") == 401
    assert "Traceback" not in logged()


@pytest.mark.parametrize(
    "case", [(400, 502, "BillingRefused"), (401, 503, "StripeRefused"), (500, 503, "Stripe is unavailable")]
)
def test_text_of_stripe_error_reaches_no_log(
    functions: Functions, logged: Callable[[], str], stripe: ScriptedStripe, case: tuple[int, int, str]
) -> None:
    """[5][34] Of a create, a poll, a payment link, and a run of the reconciler."""
    status, answered, logs = case
    functions.shop.workspace(0)
    stripe.refuse(status, "customer_tax_location_invalid", Stripe_Should_Retry="false")
    assert functions.create(stripe_url=stripe.url) == answered
    [line] = functions.shop.consistent()
    for folder, body in {"get_line_request": "", "manage_line_request": '{"action": "payment_link"}'}.items():
        assert functions.http(folder, body, line.id, stripe_url=stripe.url)["statusCode"] in {200, 409, 503}
    tick = {"id": "1", "time": iso_utc(wall_time_ms() + 3_600_000)}
    functions.invoke("reconciler", tick, stripe_url=stripe.url)
    text = logged()
    assert logs in text
    assert line.id in text


def test_failure_after_a_stripe_error_logs_no_text_of_stripe(
    functions: Functions, logged: Callable[[], str], stripe: ScriptedStripe
) -> None:
    """[5][34] DynamoDB fails while Stripe's error is handled: the traceback shows both."""
    functions.shop.workspace(0)
    stripe.refuse(500, Stripe_Should_Retry="false")
    functions.shop.world.wire.instead("UpdateItem", refusal("AccessDeniedException"))
    assert functions.create(stripe_url=stripe.url) == 500
    assert "AccessDeniedException" in logged()


def test_unexpected_error_logs_a_traceback_without_values(functions: Functions, logged: Callable[[], str]) -> None:
    """[5]"""
    functions.shop.workspace(1)
    assert functions.create(TABLE_NAME="a-table-that-is-not-there") == 500
    assert "unexpected error" in logged()


def test_webhook_logs_no_signature_and_nothing_of_the_event(
    functions: Functions, logged: Callable[[], str], stripe: ScriptedStripe
) -> None:
    """[5][43] Forged, unreadable, and good while Stripe fails."""
    line_id = paid_request(functions)
    [line] = functions.shop.consistent()
    metadata = {"workspace_id": "acme", "line_id": line_id}
    invoice = {"id": line.invoice_id, "customer": "cus_1", "customer_email": PERSON["email"], "metadata": metadata}
    event = {"type": "invoice.paid", "livemode": False, "data": {"object": invoice}}
    stripe.refuse(500, Stripe_Should_Retry="false")
    for body, secret, status in [
        (json.dumps(event), "whsec_forged", 400),
        (json.dumps(PERSON), SIGNING_SECRET, 400),
        (json.dumps(event), SIGNING_SECRET, 503),
    ]:
        signature = str(WebhookSignature.generate_signature_header(body, secret, wall_time_ms() // 1000))
        functions.hidden.append(signature.partition("v1=")[2])
        answer = functions.http("stripe_webhook", body, stripe_signature=signature, stripe_url=stripe.url)
        assert answer["statusCode"] == status
    assert "Traceback" not in logged()


@pytest.mark.parametrize(
    ("detail", "done"),
    [
        ({"outcome": "succeeded", "delivered": PERSON}, True),
        ({"outcome": "failed", "reason": f"no number for {PERSON['firstName']}, {PERSON['email']}"}, True),
        ({"outcome": PERSON["email"], "reason": PERSON}, False),
        ({"outcome": "failed", "lineId": PERSON["phone"]}, False),
        (PERSON["email"], False),
    ],
)
def test_provisioning_result_logs_nothing_personal(
    functions: Functions, logged: Callable[[], str], detail: Json | str, *, done: bool
) -> None:
    """[5][48] Also one that is malformed."""
    functions.shop.workspace(1)
    assert functions.create() == 201
    [line] = functions.shop.consistent()
    if isinstance(detail, dict):
        detail = {"eventId": f"{line.id}:1", "workspaceId": "acme", "lineId": line.id} | detail
    event = {"id": "bus-event-1", "time": iso_utc(wall_time_ms()), "detail": detail}
    record = {"messageId": "message-1", "body": json.dumps(event)}
    failures = functions.invoke("provisioning_result", {"Records": [record]})["batchItemFailures"]
    assert failures == ([] if done else [{"itemIdentifier": "message-1"}])
    assert done or "the provisioning result failed" in logged()


@pytest.mark.parametrize(
    ("image", "logs"),
    [({}, ""), ({"status": "ported"}, "UnreadableRecord"), ({"history": "Zaphod"}, "UnreadableRecord")],
)
def test_published_change_logs_nothing_personal(
    functions: Functions, logged: Callable[[], str], image: Json, logs: str
) -> None:
    """[5][48] Also one that only a newer release reads."""
    functions.shop.workspace(1)
    assert functions.create() == 201
    [line] = functions.shop.consistent()
    change = {"SequenceNumber": "1", "NewImage": marshal(line_item(line) | image)}
    functions.invoke("publish_changes", {"Records": [{"dynamodb": change}]})
    assert logs in logged()
