"""What went wrong, in one line."""

from botocore.exceptions import BotoCoreError, ClientError

from line_requests.domain.errors import BillingUnavailable, LineRequestError, UnreadableRecord
from line_requests.operator.import_file import InvalidRows
from line_requests.operator.plan_files import InvalidPlans
from line_requests.operator.refusal import Refused, Row
from line_requests.storage.table import ConditionFailed, TransactionCanceled

# What is no fault of the console's own, and is told in one line.
EXPECTED = (Refused, LineRequestError, ConditionFailed, TransactionCanceled, BotoCoreError, ClientError)


def one_line(error: Exception) -> str:
    """The error's text; Stripe's trouble says that it is Stripe's."""
    if isinstance(error, ConditionFailed | TransactionCanceled):
        return "another process has just changed it; check it, then retry"
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, UnreadableRecord):
        return f"this release cannot read {text}; use the console of the deployed release"
    return f"Stripe: {text}" if isinstance(error, BillingUnavailable) else text


def mistakes(error: Exception) -> list[Row]:
    """Everything that is wrong with a file, each with its line."""
    if isinstance(error, InvalidRows):
        return [{"line": one.line, "message": one.message, "text": one.message} for one in error.mistakes]
    if not isinstance(error, InvalidPlans):
        return []
    return [
        {"line": one.line, "plan": one.plan, "field": ".".join(one.field), "message": one.message, "text": str(one)}
        for one in error.mistakes
    ]
