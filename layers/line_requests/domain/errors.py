"""What can go wrong, in the product's own terms; none of these knows HTTP."""

from line_requests.domain.model import Line


class LineRequestError(Exception):
    """The root of every error that a client is told about."""

    code = "internal_error"
    """One stable word for programs (contract 64)."""


class Unauthorized(LineRequestError):
    """The credential is missing, malformed, unknown, revoked or expired, or its workspace is gone."""

    code = "unauthorized"


class Invalid(LineRequestError):
    """The request is malformed; the text names the field, if it is about one."""

    code = "invalid_request"

    def __init__(self, text: str, field: str | None = None) -> None:
        super().__init__(text)
        self.field = field


class RateLimited(LineRequestError):
    """The workspace has used its request budget."""

    code = "rate_limited"

    def __init__(self, retry_after_ms: int) -> None:
        super().__init__("Rate limit exceeded")
        self.retry_after_ms = retry_after_ms


class LineNotFound(LineRequestError):
    """No such line in this workspace."""

    code = "not_found"


class SubscriptionRequired(LineRequestError):
    """The workspace has no active subscription to a known plan."""

    code = "subscription_required"


class ForbiddenLineType(LineRequestError):
    """The plan grants no such line, included or as a paid add-on."""

    code = "not_on_plan"


class CapReached(ForbiddenLineType):
    """The workspace holds as many lines of the kind as its plan allows."""

    code = "cap_reached"


class NoneForSale(ForbiddenLineType):
    """The included lines are in use, and the plan sells no more of the kind."""

    code = "none_for_sale"


class RequestInProgress(LineRequestError):
    """Another request of the workspace awaits payment."""

    code = "request_in_progress"

    def __init__(self, holder: Line) -> None:
        super().__init__("Another line request of this workspace awaits payment. Pay or cancel it, then retry.")
        self.holder = holder


class Contended(LineRequestError):
    """Concurrent requests of the workspace won every attempt; nothing was written."""

    code = "too_many_at_once"


class TableUnavailable(LineRequestError):
    """DynamoDB throttles, fails or does not answer in time."""

    code = "database_unavailable"
    line_id: str | None = None
    """The line that is kept."""


class NotInThisStatus(LineRequestError):
    """The line's status does not allow the action."""

    code = "not_in_this_status"

    def __init__(self, line: Line, message: str) -> None:
        super().__init__(message)
        self.line = line


class PaymentUnderWay(NotInThisStatus):
    """A payment is being processed, so the invoice cannot be voided now."""

    code = "payment_under_way"


class PartlyPaid(NotInThisStatus):
    """A part of the invoice is paid, so Stripe does not void it."""

    code = "partly_paid"


class BillingRefused(LineRequestError):
    """Stripe refuses this charge permanently; the text names what to fix."""

    code = "charge_refused"


class BillingUnavailable(LineRequestError):
    """Stripe cannot do it now; the request is kept and finished later."""

    code = "stripe_unavailable"
    during = "create"
    """The client's request that failed: `create`, or the action on a line."""

    def __init__(self, message: str = "", *, line_id: str | None = None) -> None:
        super().__init__(message)
        self.line_id = line_id
        """The line that is kept."""


class BillingMisconfigured(BillingUnavailable):
    """Stripe cannot do it until an operator fixes the deployment; the request is kept."""

    alarmed = False
    """Whether it has raised an alarm, so that one failure raises one."""


class BillingRejected(BillingMisconfigured):
    """Stripe refuses the call for a reason that is not known to be final; the object may have changed meanwhile."""


class ReplayedFailure(BillingUnavailable):
    """Stripe replayed a failure saved under an idempotency key; only a new key gets a new answer."""


class IdempotencyKeyReused(ReplayedFailure, BillingMisconfigured):
    """Stripe knows the idempotency key from a call with other parameters, such as an earlier release's."""


class InvoiceMissing(BillingMisconfigured):
    """Stripe does not know an invoice that was finalized: our API key is probably wrong."""

    alarmed = True  # raised with an alarm of its own


class InvalidSignature(LineRequestError):
    """The webhook's signature is missing, wrong, too old or from the future."""

    code = "invalid_signature"


class InvalidPlan(LineRequestError):
    """A plan cannot be applied; the text says why."""


class UnreadableRecord(LineRequestError):
    """An item holds a status or kind that this release does not know; a newer release reads it."""

    code = "deploy_in_progress"
