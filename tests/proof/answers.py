"""What a handler may answer, given what it has seen, and the world in the moment it answers."""

import hashlib
import json

from tests.proof import stage, workspace_events
from tests.proof.actors import Json
from tests.proof.facts import UNPAID, Facts, Seen, Told
from tests.proof.invariants import expect, see
from tests.proof.workspace_events import attributes
from tests.proof.world import World

LINE = {"_id", "firstName", "lastName", "channelType", "lineType", "provisioningStatus", "paymentStatus"}
LINK = {"stripeInvoiceId", "paymentLinkUrl"}
GET = {"success", "status", "paymentStatus", "paymentRequired", "line"}
PAYMENT = {"paymentReason", "paymentUrl", "expiresAt"}
SETTLED = {"active", "failed", "canceled"}
CODES = {
    "request_in_progress": {"request_in_progress"},
    "subscription_required": {"subscription_required"},
    "forbidden_line_type": {"not_on_plan", "cap_reached", "none_for_sale"},
}


def judge_answer(seen: Seen, world: World) -> None:
    """Raises Violation unless the contract allows the answer in some state between call and return."""
    judge = {
        "create_line_request": _created,
        "get_line_request": _read,
        "manage_line_request": _managed,
        "stripe_webhook": _delivered,
        "publish_changes": _streamed,
        "provisioning_result": _resulted,
        "reconciler": _reconciled,
        "line refund": _commanded,
        "line refund --sent-outside": _commanded,
        "line retry": _commanded,
    }[seen.end.call.function]
    judge(seen, world)


# --- HTTP -------------------------------------------------------------------------------------------


def _headers(told: Told, facts: Facts) -> None:
    code = told.headers.get("Error-Code")
    expect((told.status >= 400) is (code is not None), f"a {told.status} with the error code {code}")
    if told.status == 500:
        expect(facts.trouble, "a 500 though nothing went wrong")
    if told.status in {201, 429, 503}:
        expect(told.headers.get("Retry-After"), f"a {told.status} without Retry-After")
    if told.status == 503:
        expect(facts.trouble, "a 503 though nothing went wrong")
        expect(told.body.keys() == {"error"}, f"a 503 with {told.body}")
    if told.status in {403, 409}:
        expect(told.body["success"] is False, f"a {told.status} that says success")
        expect(told.body["message"], f"a {told.status} without a message")
        wanted = CODES.get(told.body["status"], {"not_in_this_status", "partly_paid", "payment_under_way"})
        expect(code in wanted, f"{told.body['status']} with the error code {code}")


def _created(seen: Seen, world: World) -> None:
    told, facts = seen.answer, seen.facts
    _headers(told, facts)
    # The budget of a workspace that could not be read is unknown.
    if told.status in {201, 403, 409, 502} or "Line-Request-Id" in told.headers:
        expect("RateLimit" in told.headers, f"a {told.status} to POST without its request budget")
    if told.status == 201:
        _answered_201(seen, told, facts, world)
    elif told.status == 403:
        _forbidden(told, facts)
    elif told.status == 409:
        _waits(told, facts, world)
    elif told.status == 502:
        expect(facts.refused, "a 502 though Stripe has refused nothing")
        expect(told.body.keys() == {"error"}, f"a 502 with {told.body}")
    elif told.status == 503 and "Line-Request-Id" in told.headers:
        expect(told.headers["Line-Request-Id"] in see(world).lines, "a 503 names a line that is not stored")


def _answered_201(seen: Seen, told: Told, facts: Facts, world: World) -> None:
    body, line_id = told.body, told.body["line"]["_id"]
    waits = body["status"] == "awaiting_payment"
    wanted = {"success", "status", "paymentRequired", "line"} | (PAYMENT if waits else set())
    expect(body.keys() == wanted, f"201 with the keys {sorted(body)}")
    expect(body["success"] is True, "201 without success")
    expect(body["paymentRequired"] is waits, f"201 {body['status']}, paymentRequired {body['paymentRequired']}")
    expect(told.headers.get("Location") == f"/api/line-requests/{line_id}", "201 with another line's Location")
    line = see(world).lines.get(line_id)
    expect(line is not None, f"201 for line {line_id}, which is not stored")
    if line is None:
        return
    statuses = [change["status"] for change in line["history"]]
    expect(body["status"] in statuses[:2], f"201 {body['status']}, the line was {statuses}")
    _body_of(body["line"], line, body["status"], world)
    if waits:
        expect(body["paymentUrl"] == body["line"]["paymentLinkUrl"], "201 with two links")
        expect(body["paymentUrl"], "201 awaits a payment and says not where")
    _replay(seen, told, facts, line)


def _replay(seen: Seen, told: Told, facts: Facts, line: Json) -> None:
    """A replay says so; the answer that was stored by this very call is none."""
    key = (seen.event["headers"] or {}).get("idempotency-key")
    if key is None:
        return
    name = hashlib.sha256(key.encode()).hexdigest()
    expect(line.get("idempotency_key_hash") == name, f"key {key} is answered with another key's line")
    if told.headers.get("Idempotency-Replayed") == "true":
        expect(name in facts.replayed_keys, f"key {key} is told of a replay, and had no answer before")
    elif not facts.trouble:
        expect(name in facts.answered_keys, f"key {key} is not told that its answer is a replay")


def _forbidden(told: Told, facts: Facts) -> None:
    expect(facts.workspaces, "403 without a look at the workspace")
    if told.body["status"] == "subscription_required":
        lapsed = any(not _active(workspace) for workspace in facts.workspaces)
        expect(lapsed, "subscription_required, and the subscription is active")
        expect(told.body["redirect"] == "/billing", "subscription_required without the way to billing")
    else:
        expect(any(map(_active, facts.workspaces)), f"{told.body['status']}, and there is no active subscription")
        none_left = any(_active(workspace) and _full_or_lacking(workspace) for workspace in facts.workspaces)
        expect(none_left, "forbidden_line_type, and no kind is at its cap or missing")


def _active(workspace: Json) -> bool:
    return (workspace.get("subscription") or {}).get("status") in {"active", "trialing"}


def _full_or_lacking(workspace: Json) -> bool:
    allowances = workspace["subscription"]["allowances"]
    full = any(
        "cap" in allowance and workspace["held"].get(kind, 0) >= allowance["cap"]
        for kind, allowance in allowances.items()
    )
    return full or any(kind not in allowances for kind in stage.ADD_ONS)


def _waits(told: Told, facts: Facts, world: World) -> None:
    """409: the holder awaited payment, and a look at Stripe would not have freed the lock."""
    existing = told.body["existingLine"]
    holder = see(world).lines.get(existing["_id"])
    expect(holder is not None, f"409 because of line {existing['_id']}, which is not stored")
    if holder is None:
        return
    expect(facts.first_state(existing["_id"]) == 1, "409 because of a line that no longer awaited payment")
    _body_of(existing, holder, "awaiting_payment", world)
    looks = facts.looks.get(existing["_id"], [])
    expect(looks or facts.trouble, "409 without a look at the holder")
    if looks and not facts.trouble:
        expect(looks[-1].status in UNPAID, f"409, and a look has shown the holder's invoice {looks[-1].status}")


def _read(seen: Seen, world: World) -> None:
    told = seen.answer
    _headers(told, seen.facts)
    expect(told.status in {200, 500, 503}, f"a poll is answered {told.status}")
    if told.status == 200:
        _stands(seen, told, world)


def _stands(seen: Seen, told: Told, world: World) -> None:
    """GET's shape: a state that the line was in between call and return, or is in."""
    body, facts = told.body, seen.facts
    line_id = seen.event["pathParameters"]["id"]
    waits = body["status"] == "awaiting_payment"
    expect(body.keys() == GET | (PAYMENT if waits else set()), f"200 with the keys {sorted(body)}")
    expect(body["line"]["_id"] == line_id, f"asked for line {line_id}, told of {body['line']['_id']}")
    line = see(world).lines[line_id]
    states = [change["status"] for change in line["history"][facts.first_state(line_id) - 1 :]]
    expect(body["status"] in states, f"line {line_id} is answered {body['status']}, was {states}")
    expect(body["success"] is True, "200 without success")
    expect(body["paymentStatus"] == body["line"]["paymentStatus"], "200 with two payment statuses")
    expect(body["paymentRequired"] is waits, f"{body['status']}, and paymentRequired is {body['paymentRequired']}")
    changes = body["status"] not in SETTLED
    expect(changes is ("Retry-After" in told.headers), f"{body['status']}, Retry-After: {changes}")
    _body_of(body["line"], line, body["status"], world)
    if waits:
        expect(body["paymentUrl"] == body["line"]["paymentLinkUrl"], "200 with two links")
        _unsettled(facts, line_id, body["line"]["stripeInvoiceId"])


def _unsettled(facts: Facts, line_id: str, invoice_id: str | None) -> None:
    look = facts.last_look(line_id, invoice_id)
    if look is not None and not facts.trouble:
        expect(look.status in UNPAID, f"{invoice_id} was seen {look.status}, and line {line_id} awaits its payment")


def _body_of(body: Json, line: Json, status: str, world: World) -> None:
    """LINE as stored, in this status; a link of its own invoice only."""
    waits = status == "awaiting_payment"
    expect(body.keys() == LINE | (LINK if waits else set()), f"a line with the keys {sorted(body)}")
    submission = line["submission"]
    told = [body[name] for name in ("firstName", "lastName", "channelType", "lineType", "provisioningStatus")]
    names = ("first_name", "last_name", "channel_type", "line_type")
    expect(told == [*(submission[name] for name in names), status], f"a line is answered as {body}")
    payment = "awaiting_payment" if waits else line["payment_status"]
    expect(body["paymentStatus"] == payment, f"{status} line is answered {body['paymentStatus']}, is {payment}")
    if waits and body["paymentLinkUrl"] is not None:
        _own_link(body["_id"], body["stripeInvoiceId"], body["paymentLinkUrl"], line, world)


def _own_link(line_id: str, invoice_id: str | None, url: str, line: Json, world: World) -> None:
    invoice = world.stripe.invoices.get(invoice_id or "")
    if invoice is None:
        expect(line.get("payment_url") == url, f"line {line_id} is answered a link that it does not have")
    else:
        expect(invoice["metadata"].get("line_id") == line_id, f"line {line_id} is answered another line's invoice")
        expect(invoice["hosted_invoice_url"] == url, f"line {line_id} is answered another invoice's link")


def _managed(seen: Seen, world: World) -> None:
    told, facts = seen.answer, seen.facts
    _headers(told, facts)
    cancel = '"cancel"' in (seen.event["body"] or "")
    release = seen.event["routeKey"].startswith("DELETE")
    line_id = seen.event["pathParameters"]["id"]
    line = see(world).lines[line_id]
    if told.status == 200 and "reused" in told.body:
        expect(not cancel and not release, "a payment link is answered, and nobody asked for it")
        _linked(told, facts, line, world)
    elif told.status == 200:
        _stands(seen, told, world)
        if cancel:
            expect(told.body["status"] == line["status"] == "canceled", f"cancel is answered 200, {line['status']}")
        elif release:
            expect(told.body["status"] == "canceled", f"a release is answered 200 {told.body['status']}")
        else:
            expect(told.body["status"] == "provisioning", f"payment_link is answered 200 {told.body['status']}")
    elif told.status == 409:
        states = [change["status"] for change in line["history"][facts.first_state(line_id) - 1 :]]
        expect(told.body["status"] in states, f"409 {told.body['status']}, the line was {states}")
        expect(not cancel or told.body["status"] != "canceled", "a canceled line is answered that it cannot be")
        if release:
            return
        under_way = told.body["status"] == "awaiting_payment"
        expect(under_way is (told.headers["Error-Code"] != "not_in_this_status"), f"409 {told.body['status']}")
        partly = any(look.amount_paid for look in facts.looks.get(line_id, []))
        expect(not under_way or facts.trouble or partly, "409 for a payment under way, and Stripe has refused nothing")
    elif told.status == 403:
        _forbidden(told, facts)


def _linked(told: Told, facts: Facts, line: Json, world: World) -> None:
    """payment_link: its own invoice, which this very call has seen unpaid."""
    body, line_id = told.body, line["sk"].removeprefix("LINE#")
    expect(body["status"] == "awaiting_payment", f"a payment link and the status {body['status']}")
    expect(body["paymentUrl"], "a payment link that is none")
    _own_link(line_id, body["invoiceId"], body["paymentUrl"], line, world)
    look = facts.last_look(line_id, body["invoiceId"])
    expect(look is not None, f"the link of {body['invoiceId']} without a look at it")
    if look is not None:
        expect(look.status in UNPAID - {"draft"}, f"a link, and its invoice was seen {look.status}")


def _commanded(seen: Seen, _: World) -> None:
    """An operator's command: its exit code."""
    expect(seen.end.answer["statusCode"] == 200 or seen.facts.trouble, f"a command fails: {seen.end.answer}")


def _delivered(seen: Seen, _: World) -> None:
    _headers(seen.answer, seen.facts)


# --- queues, the stream, the schedule -------------------------------------------------------------


def _failures(seen: Seen) -> set[str]:
    return {failure["itemIdentifier"] for failure in seen.end.answer["batchItemFailures"]}


def _streamed(seen: Seen, world: World) -> None:
    """What is not reported as failed has been published."""
    failed = _failures(seen)
    expect(not failed or seen.facts.trouble, f"records fail though nothing went wrong: {failed}")
    for record in seen.event["Records"]:
        new, old = record["dynamodb"]["NewImage"], record["dynamodb"].get("OldImage")
        if new["sk"]["S"] == "WORKSPACE":
            events = workspace_events.events(old and attributes(old), attributes(new))
            event_ids = [facts["eventId"] for _, facts in events]
        else:
            event_ids = [f"{new['sk']['S'].removeprefix('LINE#')}:{len(new['history']['L'])}"]
        if record["dynamodb"]["SequenceNumber"] not in failed:
            untold = set(event_ids) - world.published
            expect(not untold, f"{untold} counts as published, and is not")


def _resulted(seen: Seen, world: World) -> None:
    """A result that is not reported as failed has had its effect; one that is no result is set aside."""
    failed = _failures(seen)
    for record in seen.event["Records"]:
        message_id, detail = record["messageId"], json.loads(record["body"])["detail"]
        line = see(world).lines.get(detail.get("lineId", ""))
        garbled = detail.get("outcome") not in {"succeeded", "failed"}
        if garbled:
            expect(message_id in failed, f"a result is garbled, and is not set aside: {detail}")
        elif message_id in failed:
            expect(seen.facts.trouble, f"a result is set aside though nothing went wrong: {detail}")
        elif line is not None:
            open_ = line["status"] == "provisioning" and detail["eventId"].endswith(f":{len(line['history'])}")
            expect(not open_, f"the result {detail['eventId']} counts as applied, and has had no effect")


def _reconciled(seen: Seen, _: World) -> None:
    failed = seen.end.answer.get("failed", 0)
    warranted = seen.facts.trouble or seen.facts.lost
    expect(not failed or warranted, f"the reconciler fails {failed} times though nothing went wrong")
