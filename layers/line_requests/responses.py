"""The bodies of the contract, exactly those keys; pure."""

import datetime

from line_requests.decision import expiry_ms
from line_requests.model import Line, PaymentStatus, Status, Submission

Body = dict[str, object]


def request_body(submission: Submission) -> Body:
    """All that was asked for, personal data too: for provisioners and operators."""
    return {
        "firstName": submission.first_name,
        "lastName": submission.last_name,
        "channelType": submission.channel_type,
        "lineType": submission.line_type,
        "email": submission.email,
        "phone": submission.phone,
        "zipcode": submission.zipcode,
        "state": submission.state,
        "forwardCallsTo": submission.forward_calls_to,
        "profileImageUrl": submission.profile_image_url,
    }


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


def _payment(line: Line, window_ms: int) -> Body:
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
            **_payment(line, window_ms),
            "line": line_body(line),
        }
    return {
        "success": True,
        "status": str(Status.PROVISIONING),
        "paymentRequired": False,
        "line": line_body(line) | {"provisioningStatus": str(Status.PROVISIONING)},
    }


def status_body(line: Line, window_ms: int) -> Body:
    """GET 200."""
    return {
        "success": True,
        "status": str(line.status),
        "paymentStatus": str(line.payment_status),
        "paymentRequired": line.payment_status is PaymentStatus.AWAITING_PAYMENT,
        **(_payment(line, window_ms) if line.awaiting else {}),
        "line": line_body(line),
    }


def link_body(line: Line) -> Body:
    """The answer to payment_link while it awaits payment."""
    return {
        "success": True,
        "status": str(line.status),
        "paymentUrl": line.payment_url,
        "invoiceId": line.invoice_id,
        "reused": True,
    }


def page_body(lines: list[Line], cursor: str | None) -> Body:
    """One page of the list."""
    return {"success": True, "lines": [line_body(line) for line in lines], "nextCursor": cursor}


def iso_utc(epoch_ms: int) -> str:
    """ISO 8601 in UTC, to the millisecond."""
    moment = datetime.datetime.fromtimestamp(epoch_ms / 1000, tz=datetime.UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
