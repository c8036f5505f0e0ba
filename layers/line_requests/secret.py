"""The deployment's Stripe secret in Secrets Manager."""

from typing import Any

from aws_lambda_powertools.utilities.parameters import SecretsProvider
from aws_lambda_powertools.utilities.parameters.exceptions import GetParameterError, TransformParameterError

from line_requests.domain.errors import BillingMisconfigured, BillingUnavailable

MAX_AGE_S = 300
# Only an operator can fix these; the others pass: throttling, time-outs, failures of the service.
# https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_GetSecretValue.html#API_GetSecretValue_Errors
LASTING_CODES = {
    "AccessDeniedException",
    "DecryptionFailure",
    "InvalidParameterException",
    "InvalidRequestException",
    "ResourceNotFoundException",
}


class StripeSecret:
    """`{"api_key": …, "webhook_secrets": […]}`, read when it is needed and cached some minutes."""

    def __init__(self, provider: SecretsProvider, arn: str) -> None:
        self._provider = provider
        self._arn = arn

    def read(self, *, force_fetch: bool = False) -> dict[str, Any]:
        """The secret; raises BillingUnavailable, or BillingMisconfigured when only an operator can make it readable."""
        try:
            secret = self._provider.get(self._arn, max_age=MAX_AGE_S, transform="json", force_fetch=force_fetch)
        except TransformParameterError as error:
            raise BillingMisconfigured("the Stripe secret is not JSON") from error
        except GetParameterError as error:
            response = getattr(error.__context__, "response", None) or {}  # the SDK's error, which the provider hides
            code = response.get("Error", {}).get("Code") or type(error.__context__).__name__
            raise (BillingMisconfigured if code in LASTING_CODES else BillingUnavailable)(
                f"the Stripe secret {self._arn} cannot be read: {code}"
            ) from error
        return secret if isinstance(secret, dict) else {}


def api_key_of(secret: dict[str, Any]) -> str:
    """The API key, without white space around it; raises BillingMisconfigured without one."""
    api_key = str(secret.get("api_key") or "").strip()
    if not api_key:
        raise BillingMisconfigured("the Stripe secret has no api_key")
    return api_key
