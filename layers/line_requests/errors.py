"""What can go wrong, in the product's own terms; none of these knows HTTP."""

from line_requests.model import Line


class LineRequestError(Exception):
    """The root of every error that a client is told about."""


class Unauthorized(LineRequestError):
    """The credential is missing, malformed, unknown, revoked or expired."""


class Invalid(LineRequestError):
    """The request's form is wrong; its text names the field."""


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
    """The plan does not grant this line, and nothing is for sale that would."""


class RequestInProgress(LineRequestError):
    """Another request of the workspace awaits payment."""

    def __init__(self, holder: Line) -> None:
        super().__init__("Another line request of this workspace is waiting for payment.")
        self.holder = holder


class Contended(LineRequestError):
    """Other requests of the workspace came first for as long as there was time; nothing was written."""


class NotInThisStatus(LineRequestError):
    """The line's status does not allow the action."""

    def __init__(self, line: Line, message: str) -> None:
        super().__init__(message)
        self.line = line


class BillingRefused(LineRequestError):
    """Stripe will never accept this charge as it is; the text names what to mend."""


class BillingUnavailable(LineRequestError):
    """Stripe could not do it now; the request is kept and finished later."""


class BillingMisconfigured(BillingUnavailable):
    """Stripe cannot do it until an operator mends the deployment; the request is kept."""

    told = False
    """Whether there was an alarm already: one trouble is one alarm, whoever it passes on its way."""


class InvoiceMissing(BillingMisconfigured):
    """A finalized invoice is unknown to Stripe: a wrong key is likelier than a vanished invoice."""

    told = True  # by an alarm of its own


class InvalidSignature(LineRequestError):
    """The webhook's signature is missing, wrong, too old or from the future."""


class InvalidPlan(LineRequestError):
    """A plan cannot be applied; the text says why."""


class StaleAnswer(BillingUnavailable):
    """Stripe repeated an old failure from an idempotency key's memory; fresh keys are needed."""
