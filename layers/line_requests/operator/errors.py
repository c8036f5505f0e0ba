"""What went wrong, in one line."""

from line_requests.domain.errors import BillingUnavailable
from line_requests.storage.table import ConditionFailed, TransactionCanceled


def one_line(error: Exception) -> str:
    """The error's text; Stripe's trouble says that it is Stripe's."""
    if isinstance(error, ConditionFailed | TransactionCanceled):
        return "another process has just changed it; check it, then retry"
    text = " ".join(str(error).split()) or type(error).__name__
    return f"Stripe: {text}" if isinstance(error, BillingUnavailable) else text
