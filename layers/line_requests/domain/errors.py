"""What can go wrong, in the product's own terms; none of these knows HTTP."""

from line_requests.domain.model import Line


class LineRequestError(Exception):
    """The root of every error that a client is told about."""


class Unauthorized(LineRequestError):
    """The credential is missing, malformed, unknown, revoked or expired."""


class Invalid(LineRequestError):
    """The request is malformed; the text names the field."""


class RateLimited(LineRequestError):
    """The workspace has used its request budget."""

    def __init__(self, retry_after_ms: int) -> None:
        super().__init__("Rate limit exceeded")
        self.retry_after_ms = retry_after_ms


class LineNotFound(LineRequestError):
    """No such line in this workspace."""


class SubscriptionRequired(LineRequestError):
    """The workspace has no active subscription to a known plan."""


class ForbiddenLineType(LineRequestError):
    """The plan grants no such line, included or as a paid add-on."""


class RequestInProgress(LineRequestError):
    """Another request of the workspace awaits payment."""

    def __init__(self, holder: Line) -> None:
        super().__init__("Another line request of this workspace is waiting for payment.")
        self.holder = holder


class Contended(LineRequestError):
    """Concurrent requests of the workspace won every attempt; nothing was written."""


class NotInThisStatus(LineRequestError):
    """The line's status does not allow the action."""

    def __init__(self, line: Line, message: str) -> None:
        super().__init__(message)
        self.line = line


class BillingRefused(LineRequestError):
    """Stripe refuses this charge permanently; the text names what to fix."""


class BillingUnavailable(LineRequestError):
    """Stripe cannot do it now; the request is kept and finished later."""


class BillingMisconfigured(BillingUnavailable):
    """Stripe cannot do it until an operator fixes the deployment; the request is kept."""

    alarmed = False
    """Whether it has raised an alarm, so that one failure raises one."""


class InvoiceMissing(BillingMisconfigured):
    """Stripe does not know an invoice that was finalized: our API key is probably wrong."""

    alarmed = True  # raised with an alarm of its own


class InvalidSignature(LineRequestError):
    """The webhook's signature is missing, wrong, too old or from the future."""


class InvalidPlan(LineRequestError):
    """A plan cannot be applied; the text says why."""


class BillingRejected(BillingMisconfigured):
    """Stripe refuses the call for a reason that is not known to be final; the object may have changed meanwhile."""


class ReplayedFailure(BillingUnavailable):
    """Stripe replayed a failure saved under an idempotency key; only a new key gets a new answer."""


class IdempotencyKeyReused(ReplayedFailure, BillingMisconfigured):
    """Stripe knows the idempotency key from a call with other parameters, such as an earlier release's."""


class UnreadableRecord(LineRequestError):
    """An item holds a status or kind that this release does not know; a newer release reads it."""
