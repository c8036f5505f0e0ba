"""The bodies that several doors share: a line as clients see it, a request as provisioners and operators see it."""

from line_requests.domain.decision import expiry_ms
from line_requests.domain.ids import iso_utc
from line_requests.domain.model import Line, Status
from line_requests.domain.submission import Submission

Body = dict[str, object]


def submission_body(submission: Submission) -> Body:
    """All that was asked for, personal data included: for provisioners and operators."""
    return submission.model_dump(by_alias=True)


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
