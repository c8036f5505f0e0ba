"""The API's functions from event to answer, on a table and a Stripe of their own: every route, check after check."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from line_requests.clock import wall_time_ms
from line_requests.domain.errors import BillingUnavailable
from line_requests.domain.ids import new_api_key, sha256_hex
from line_requests.domain.model import ApiKey, Line, Status
from line_requests.domain.submission import Kind
from line_requests.storage.records import line_key, workspace_key
from line_requests.storage.table import Write
from tests.decision.examples import LINE_ID
from tests.edges import test_auth
from tests.local.ministack import ROOT
from tests.support.lambda_context import Context, function, load
from tests.support.world import new_line

if TYPE_CHECKING:
    from tests.support.shop import Shop

Json = dict[str, Any]

PHONE = {"firstName": "Ada", "lastName": "Lovelace", "channelType": "phone"}
CREATE, LIST = "POST /api/line-requests", "GET /api/line-requests"
GET, MANAGE = "GET /api/line-requests/{id}", "POST /api/line-requests/{id}"
EVENTS, RELEASE = "GET /api/line-requests/{id}/events", "DELETE /api/lines/{id}"
IN_USE, ALLOWANCE = "GET /api/lines/by-user", "GET /api/allowance"
FUNCTIONS = {
    CREATE: "create_line_request",
    **dict.fromkeys((LIST, GET, EVENTS, IN_USE, ALLOWANCE), "get_line_request"),
    **dict.fromkeys((MANAGE, RELEASE), "manage_line_request"),
}


class Client:
    """A client of the workspace acme."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self.world = shop.world
        self.token = new_api_key("acme")
        self.world.api_keys.insert("acme", ApiKey(sha256_hex(self.token), "test", 0))

    def send(  # noqa: PLR0913 - what a request may have, most of it by keyword
        self,
        route: str,
        line_id: str = "",
        body: object = None,
        *,
        token: str | None = None,
        query: dict[str, str] | None = None,
        headers: dict[str, str] | None = None,
    ) -> Json:
        module = function(FUNCTIONS[route])
        module.DEPLOYMENT = self.shop.product  # type: ignore[attr-defined] # each function has one
        event = {
            "routeKey": route,
            "headers": {"authorization": f"Bearer {self.token if token is None else token}"} | (headers or {}),
            "pathParameters": {"id": line_id},
            "queryStringParameters": query,
            "body": json.dumps(body),
            "requestContext": {"requestId": "r", "timeEpoch": wall_time_ms()},
        }
        answer: Json = module.handler(event, Context())
        return answer

    def ok(self, *arguments: Any, status: int = 200, **options: Any) -> Json:  # noqa: ANN401 - those of `send`
        answer = self.send(*arguments, **options)
        assert answer["statusCode"] == status, answer
        body: Json = json.loads(answer["body"])
        return body

    def refused(self, *arguments: Any, **options: Any) -> tuple[int, str]:  # noqa: ANN401 - those of `send`
        answer = self.send(*arguments, **options)
        return answer["statusCode"], answer["headers"]["Error-Code"]

    def line(self, line_id: str) -> Line:
        line = self.world.lines.get("acme", line_id)
        assert line is not None
        return line

    def lease(self, line_id: str, lasts_ms: int = 1500) -> None:
        """Has another caller work on the line at Stripe for a moment."""
        now_ms = wall_time_ms()
        leased = self.world.lines.take_lease(
            self.line(line_id), now_ms=now_ms, until_ms=now_ms + lasts_ms, throttled=False
        )
        assert leased is not None


@pytest.fixture
def client(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> Client:
    for name, value in {"TABLE_NAME": "unused", "AWS_DEFAULT_REGION": "eu-central-1"}.items():
        monkeypatch.setenv(name, value)
    return Client(shop)


def test_included_line_from_request_to_release(client: Client) -> None:
    """[15][36][40][59][61][63]"""
    client.shop.workspace(1)
    answer = client.send(CREATE, body=PHONE)
    created = json.loads(answer["body"])
    line_id = created["line"]["_id"]
    assert (answer["statusCode"], created["status"]) == (201, "provisioning")
    assert answer["headers"]["Location"] == f"/api/line-requests/{line_id}"
    assert answer["headers"]["RateLimit"].startswith('"workspace";r=')
    assert client.ok(GET, line_id)["line"] == created["line"]
    assert client.refused(RELEASE, line_id) == (409, "not_in_this_status")
    assert client.refused(MANAGE, line_id, {"action": "cancel"}) == (409, "not_in_this_status")
    assert "Wait until" in client.ok(MANAGE, line_id, {"action": "cancel"}, status=409)["message"]
    assert client.ok(MANAGE, line_id, {"action": "payment_link"})["status"] == "provisioning"
    client.world.lines.mark_active(client.line(line_id), wall_time_ms())
    assert "Wait until" not in client.ok(MANAGE, line_id, {"action": "cancel"}, status=409)["message"]
    assert client.refused(MANAGE, line_id, {"action": "payment_link"}) == (409, "not_in_this_status")
    assert [line["isActive"] for line in client.ok(IN_USE)["lines"]] == [True]
    assert client.ok(RELEASE, line_id)["status"] == "canceled"
    assert client.ok(RELEASE, line_id)["status"] == "canceled"
    assert client.ok(MANAGE, line_id, {"action": "cancel"})["status"] == "canceled"
    assert client.ok(IN_USE)["lines"] == []
    statuses = [event["status"] for event in client.ok(EVENTS, line_id)["events"]]
    assert statuses == ["provisioning", "active", "canceled"]


def test_paid_line_from_request_to_payment(client: Client) -> None:
    """[16][23][29][39][41][62]"""
    client.shop.workspace(0)
    assert client.ok(ALLOWANCE)["kinds"]["purchased_phone"]["next"] == "payable"
    created = client.ok(CREATE, body=PHONE, headers={"idempotency-key": "k"}, status=201)
    line_id = created["line"]["_id"]
    assert (created["status"], created["line"]["paymentLinkUrl"]) == ("awaiting_payment", created["paymentUrl"])
    replay = client.send(CREATE, body=PHONE | {"idempotencyKey": "k"})
    assert json.loads(replay["body"]) == created
    assert replay["headers"]["Idempotency-Replayed"] == "true"
    assert "Idempotency-Mismatch" not in replay["headers"]
    other = client.send(CREATE, body=PHONE | {"firstName": "Grace"}, headers={"idempotency-key": "k"})
    assert other["headers"]["Idempotency-Mismatch"] == "true"
    assert client.refused(CREATE, body=PHONE) == (409, "request_in_progress")
    assert client.ok(ALLOWANCE)["kinds"]["purchased_phone"]["next"] == "locked"
    assert client.refused(RELEASE, line_id) == (409, "not_in_this_status")
    answer = client.send(MANAGE, line_id, {"action": "payment_link"})
    link = json.loads(answer["body"])
    assert (link["paymentUrl"], link["reused"], answer["headers"]["Retry-After"]) == (created["paymentUrl"], True, "2")
    client.shop.double.pay_invoice(link["invoiceId"])
    assert client.ok(LIST)["lines"][0]["paymentStatus"] == "awaiting_payment", "[42] as stored"
    paid = client.ok(MANAGE, line_id, {"action": "payment_link"})
    assert client.ok(GET, line_id) == paid
    assert (paid["status"], paid["paymentStatus"], paid["paymentRequired"]) == ("provisioning", "paid", False)


def test_cancel_of_an_unpaid_line_frees_the_lock(client: Client) -> None:
    """[24][41]"""
    client.shop.workspace(0)
    line_id = client.ok(CREATE, body=PHONE, status=201)["line"]["_id"]
    assert client.ok(MANAGE, line_id, {"action": "cancel"})["paymentStatus"] == "canceled"
    assert client.refused(MANAGE, line_id, {"action": "payment_link"}) == (409, "not_in_this_status")
    assert client.ok(CREATE, body=PHONE, status=201)["line"]["_id"] != line_id


def test_cancel_of_a_partly_paid_line_says_so(client: Client) -> None:
    """[56]"""
    client.shop.workspace(0)
    created = client.ok(CREATE, body=PHONE, status=201)
    client.shop.double.touch_invoice(created["line"]["stripeInvoiceId"], "pay_part", 500)
    line_id = created["line"]["_id"]
    assert client.refused(MANAGE, line_id, {"action": "cancel"}) == (409, "partly_paid")


def test_cancel_while_a_bank_debit_is_on_its_way_says_so(client: Client) -> None:
    """[41]"""
    client.shop.workspace(0)
    line = client.ok(CREATE, body=PHONE, status=201)["line"]
    client.shop.double.start_bank_debit(line["stripeInvoiceId"])
    assert client.refused(MANAGE, line["_id"], {"action": "cancel"}) == (409, "payment_under_way")


def test_poll_of_an_unpaid_line_asks_stripe(client: Client) -> None:
    """[39]"""
    client.shop.workspace(0)
    line = client.ok(CREATE, body=PHONE, status=201)["line"]
    client.shop.double.pay_invoice(line["stripeInvoiceId"])
    assert client.ok(GET, line["_id"])["paymentStatus"] == "paid"


def test_poll_within_the_interval_answers_as_stored(client: Client) -> None:
    """[39]"""
    client.shop.workspace(0)
    line = client.ok(CREATE, body=PHONE, status=201)["line"]
    client.ok(GET, line["_id"])
    client.shop.double.pay_invoice(line["stripeInvoiceId"])
    assert client.ok(GET, line["_id"])["paymentStatus"] == "awaiting_payment"


def test_poll_waits_for_another_caller_only_while_the_invoice_is_not_finished(client: Client) -> None:
    """[23][39]"""
    client.shop.workspace(0)
    client.shop.double.set_faults("error_before", 99, "/v1/invoices")
    line_id = client.send(CREATE, body=PHONE)["headers"]["Line-Request-Id"]
    client.shop.double.set_faults("error_before", 0)
    client.lease(line_id)
    line = client.ok(GET, line_id)["line"]
    client.shop.double.pay_invoice(line["stripeInvoiceId"])
    client.lease(line_id, 3000)
    assert client.ok(GET, line_id)["paymentStatus"] == "awaiting_payment"


def test_poll_of_a_line_whose_workspace_is_deleted_meanwhile_is_404(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """[37]"""
    client.shop.workspace(0)
    line_id = client.ok(CREATE, body=PHONE, status=201)["line"]["_id"]

    def deleted(*_: object, **__: object) -> None:
        client.world.table.write(Write(line_key("acme", line_id)))
        raise BillingUnavailable("no answer")

    monkeypatch.setattr(client.shop.product.lifecycle, "advance", deleted)
    assert client.refused(GET, line_id) == (404, "not_found")


def test_request_of_a_workspace_that_is_deleted_meanwhile_is_401(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """[1][64] As its next request is; without a budget, which belongs to a workspace."""
    client.shop.workspace(0)
    line_id = client.ok(CREATE, body=PHONE, status=201)["line"]["_id"]

    def deleted(*_: object) -> None:
        for key in (line_key("acme", line_id), workspace_key("acme")):
            client.world.table.write(Write(key))
        raise BillingUnavailable("no answer")

    monkeypatch.setattr(client.shop.product.lifecycle, "check_holder", deleted)
    answer = client.send(CREATE, body=PHONE)
    assert (answer["statusCode"], json.loads(answer["body"])) == (401, {"error": "Unauthorized"})
    assert "RateLimit" not in answer["headers"]


def test_payment_link_waits_for_another_caller_of_the_line(client: Client) -> None:
    """[41]"""
    client.shop.workspace(0)
    line = client.ok(CREATE, body=PHONE, status=201)["line"]
    client.shop.double.pay_invoice(line["stripeInvoiceId"])
    client.lease(line["_id"])
    assert client.ok(MANAGE, line["_id"], {"action": "payment_link"})["status"] == "provisioning"


@pytest.mark.parametrize(
    ("action", "kept", "stored"), [("cancel", "The cancel was saved", True), ("payment_link", "nothing changed", False)]
)
def test_action_says_what_becomes_of_it_when_stripe_is_unavailable(
    client: Client, action: str, kept: str, *, stored: bool
) -> None:
    """[34][41] The reconciler carries out the cancel."""
    client.shop.workspace(0)
    line_id = client.ok(CREATE, body=PHONE, status=201)["line"]["_id"]
    client.shop.double.set_faults("error_before", 99, "/v1/invoices")
    text = client.ok(MANAGE, line_id, {"action": action}, status=503)["error"]
    client.shop.double.set_faults("error_before", 0)
    assert kept in text
    assert "completed" not in text
    assert (client.line(line_id).void_reason is not None) is stored


def test_session_of_an_organisation_is_one_of_its_workspace(client: Client) -> None:
    """[3]"""
    client.shop.workspace(1)
    product = client.shop.product
    product.settings = replace(product.settings, clerk_issuer=test_auth.ISSUER, clerk_public_key=test_auth.public_pem())
    now_s = wall_time_ms() // 1000
    session = test_auth.token(iat=now_s, nbf=now_s, exp=now_s + 60, azp=...)
    for route in (LIST, GET):
        assert client.refused(route, LINE_ID, token=session) == (401, "unauthorized"), route
    client.world.workspaces.map_organisation("org_acme", "acme")
    assert client.ok(LIST, token=session)["lines"] == []


def test_payment_link_needs_an_active_subscription(client: Client) -> None:
    """[41]"""
    workspace = client.shop.workspace(0)
    line_id = client.ok(CREATE, body=PHONE, status=201)["line"]["_id"]
    (subscription,) = client.shop.stripe.v1.subscriptions.list({"customer": workspace.customer}).data
    client.shop.double.set_subscription_status(subscription.id, "past_due")
    assert client.refused(MANAGE, line_id, {"action": "payment_link"}) == (403, "subscription_required")


def test_401_comes_before_everything_else(client: Client) -> None:
    """[1][5]"""
    unknown = new_api_key("acme")
    for token in ("", "tuco_nonsense", unknown, new_api_key("another")):
        for route in FUNCTIONS:
            assert client.refused(route, "no id", token=token) == (401, "unauthorized"), route
    assert client.refused(ALLOWANCE) == (401, "unauthorized"), "the key is known, but its workspace is gone"
    client.shop.workspace(1)
    for route in FUNCTIONS:
        assert client.refused(route, LINE_ID, token=unknown) == (401, "unauthorized"), route


def test_checks_of_a_line_come_in_the_contracts_order(client: Client) -> None:
    """[37][41]"""
    client.shop.workspace(1)
    foreign = new_line(Kind.EMAIL, Status.PROVISIONING, workspace_id="another")
    client.world.put_lines([foreign])
    for route in (GET, EVENTS, MANAGE, RELEASE):
        assert client.refused(route, "01", {"action": "nonsense"}) == (400, "invalid_request")
        assert client.send(route, "01")["headers"]["Error-Field"] == "id"
        assert client.refused(route, LINE_ID, {"action": "nonsense"}) == (404, "not_found")
        assert client.refused(route, foreign.id, {"action": "nonsense"}) == (404, "not_found")
    mine = client.ok(CREATE, body=PHONE, status=201)["line"]["_id"]
    assert client.refused(MANAGE, mine, {"action": "nonsense"}) == (400, "invalid_request")
    assert client.ok(GET, mine.upper())["line"]["_id"] == mine


def test_invalid_request_counts_against_the_rate_limit(client: Client) -> None:
    """[30][35]"""
    client.shop.workspace(1)
    before = client.world.now().tat_ms
    answer = client.send(CREATE, body=PHONE | {"channelType": "fax"}, headers={"idempotency-key": "k"})
    assert (answer["statusCode"], answer["headers"]["Error-Field"]) == (400, "channelType")
    assert "RateLimit" in answer["headers"]
    assert before is None
    assert client.world.now().tat_ms is not None
    assert "Idempotency-Replayed" not in client.send(CREATE, body=PHONE, headers={"idempotency-key": "k"})["headers"]


def test_pages_go_on_where_the_last_one_stopped(client: Client) -> None:
    """[42]"""
    client.shop.workspace(9)
    made = [client.ok(CREATE, body=PHONE, status=201)["line"]["_id"] for _ in range(3)]
    client.world.lines.mark_active(client.line(made[1]), wall_time_ms())
    first = client.ok(LIST, query={"limit": "2"})
    second = client.ok(LIST, query={"limit": "2", "cursor": first["nextCursor"]})
    assert [line["_id"] for line in first["lines"] + second["lines"]] == made[::-1]
    assert second["nextCursor"] is None
    assert [line["_id"] for line in client.ok(LIST, query={"status": "active"})["lines"]] == [made[1]]
    rest = client.ok(IN_USE, query={"cursor": first["nextCursor"]})["lines"]
    assert [line["_id"] for line in rest] == [made[0]]


def test_lines_in_use_are_a_thousand_a_page(client: Client) -> None:
    """[59]"""
    client.shop.workspace(1)
    client.world.put_lines([new_line(status=Status.ACTIVE) for _ in range(1001)])
    answer = client.send(IN_USE)
    cursor = answer["headers"]["Link"].split("cursor=")[1].split(">")[0]
    pages = [json.loads(answer["body"])["lines"], client.ok(IN_USE, query={"cursor": cursor})["lines"]]
    assert [len(page) for page in pages] == [1000, 1]


def test_unknown_route_is_a_plain_500(client: Client) -> None:
    client.shop.workspace(1)
    module = load(ROOT / "functions/get_line_request/app.py")
    answer = module.handler({"routeKey": "GET /", "requestContext": {"timeEpoch": 1}}, Context())
    assert (answer["statusCode"], answer["headers"]["Error-Code"]) == (500, "internal_error")
    assert json.loads(answer["body"])["error"].startswith("Internal server error. Retry")
