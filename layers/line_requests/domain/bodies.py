"""The bodies that several doors share: a line as clients see it, a request as provisioners and operators see it."""

from line_requests.domain import money
from line_requests.domain.decision import Next, expiry_ms
from line_requests.domain.ids import iso_utc
from line_requests.domain.model import Change, Delivered, Line, PaymentStatus, Status, Subscription, Workspace
from line_requests.domain.prices import AddOn, Allowance
from line_requests.domain.submission import CLIENT_NAMES, Kind, Submission

Body = dict[str, object]


def submission_body(submission: Submission) -> Body:
    """All that was asked for, personal data included: for provisioners and operators."""
    return {name: getattr(submission, field) for field, name in CLIENT_NAMES.items()}


def line_body(line: Line) -> Body:
    """LINE, with its invoice while it awaits payment."""
    submission = line.submission
    body: Body = {
        "_id": line.id,
        "firstName": submission.first_name,
        "lastName": submission.last_name,
        "channelType": submission.channel_type,
        "lineType": submission.line_type,
        "provisioningStatus": str(line.status),
        "paymentStatus": str(line.payment_status),
    }
    if line.awaiting:
        body |= {"stripeInvoiceId": line.invoice_id, "paymentLinkUrl": line.payment_url}
    return body


def payment_body(line: Line, window_ms: int) -> Body:
    """Why, where and until when to pay."""
    expires_at_ms = expiry_ms(line, window_ms)
    return {
        "paymentReason": "over_plan_limit",
        "paymentUrl": line.payment_url,
        "expiresAt": None if expires_at_ms is None else iso_utc(expires_at_ms),
    }


def created_body(line: Line, window_ms: int) -> Body:
    """POST 201: a line that no longer awaits payment has the shape of an included one (contract 21)."""
    if line.awaiting:
        return {
            "success": True,
            "status": str(Status.AWAITING_PAYMENT),
            "paymentRequired": True,
            **payment_body(line, window_ms),
            "line": line_body(line),
        }
    return {
        "success": True,
        "status": str(Status.PROVISIONING),
        "paymentRequired": False,
        "line": line_body(line) | {"provisioningStatus": str(Status.PROVISIONING)},
    }


def line_in_use_body(line: Line) -> Body:
    """A line in provisioning or active: with what was delivered, else with what was asked for (contract 59)."""
    submission, delivered = line.submission, line.delivered or Delivered()
    return {
        "_id": line.id,
        "workspaceId": line.workspace_id,
        "firstName": submission.first_name,
        "lastName": submission.last_name,
        "phone": delivered.phone or submission.phone,
        "email": delivered.email or submission.email,
        "isActive": line.status is Status.ACTIVE,
        "provisioningStatus": str(line.status),
        "channelType": submission.channel_type,
        "lineType": submission.line_type,
        "createdAt": iso_utc(line.created_at_ms),
        "updatedAt": iso_utc(line.history[-1].at_ms),
    }


def events_body(line: Line) -> Body:
    """The line's history, oldest first (contract 61)."""
    return {
        "success": True,
        "events": [_event_body(line, number, change) for number, change in enumerate(line.history, 1)],
    }


def _event_body(line: Line, number: int, change: Change) -> Body:
    awaiting = change.status is Status.AWAITING_PAYMENT
    return {
        "id": f"{line.id}:{number}",  # as on the bus
        "at": iso_utc(change.at_ms),
        "status": str(change.status),
        # It never changes once the line no longer awaits payment.
        "paymentStatus": str(PaymentStatus.AWAITING_PAYMENT if awaiting else line.payment_status),
        "cause": change.cause,
        "reasonCode": change.reason_code and str(change.reason_code),
        "reason": change.reason,
        "invoiceUrl": line.payment_url if awaiting or change.cause == "invoice_paid" else None,
    }


def allowance_body(workspace: Workspace, now_ms: int) -> Body:
    """What the plan includes, what is used, and how a request for one more line would be answered (contract 62)."""
    subscription = workspace.subscription
    return {
        "success": True,
        "plan": subscription and subscription.plan,
        "subscriptionStatus": subscription and subscription.status,
        "kinds": {str(kind): _kind_body(workspace, kind, now_ms) for kind in Kind},
    }


def _kind_body(workspace: Workspace, kind: Kind, now_ms: int) -> Body:
    subscription = workspace.subscription
    allowance = (subscription.allowances.get(kind) if subscription else None) or Allowance(0)
    return {
        "included": allowance.included,
        # A line beyond the included ones is held, but uses no included place.
        "used": min(workspace.unpaid.get(kind, 0), allowance.included),
        "held": workspace.held.get(kind, 0),
        "cap": allowance.cap,
        "next": str(Next.of(workspace, kind)),
        "addOn": _add_on_body(subscription, allowance.add_on, now_ms) if subscription and allowance.add_on else None,
    }


def _add_on_body(subscription: Subscription, add_on: AddOn, now_ms: int) -> Body | None:
    """What one more line costs; None while the add-on has no price in the subscription's currency."""
    price = add_on.amounts.get(subscription.currency)
    if price is None:
        return None
    first_charge, _ = money.first_charge(subscription, price.unit_amount, subscription.currency, now_ms // 1000)
    return {
        "unitAmount": price.unit_amount,
        "currency": subscription.currency,
        "interval": _interval_text(subscription),
        "firstCharge": first_charge,
    }


def _interval_text(subscription: Subscription) -> str:
    """`month`, or `3 months`: a client that shows the price must not take it for that of one month."""
    count, unit = subscription.interval_count, subscription.interval
    return unit if count == 1 else f"{count} {unit}s"
