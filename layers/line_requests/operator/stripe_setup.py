"""The webhook endpoint at Stripe, and its secret in Secrets Manager."""

import json
from typing import Any

from line_requests.billing.client import API_VERSION
from line_requests.billing.setup import Setup, WebhookEndpoint
from line_requests.operator.refusal import Refused, Row

# The new one, and the one before, until everything that was signed with it has been delivered.
SECRETS_MAX = 2
SIGNING_PREFIX = "whsec_"


def set_up(setup: Setup, secrets: Any, secret_arn: str, url: str, *, rotate: bool = False) -> Row:  # noqa: ANN401 - boto3's client
    """Creates or updates the endpoint; a new endpoint's secret is stored before an old endpoint is deleted.

    An endpoint keeps its version and tells its secret once: another version, or a lost secret, takes a new one. So do
    several endpoints, as a crash leaves them, because nothing tells whose secret is stored.
    """
    stored = _read(secrets, secret_arn)
    known = setup.webhook_endpoints(url)
    usable = len(known) == 1 and known[0].api_version == API_VERSION
    before = signing_secrets(stored)
    if usable and before and not rotate:
        return _row(setup.update_webhook_endpoint(known[0].id), "updated", [])
    endpoint, secret = setup.create_webhook_endpoint(url)
    try:
        value = stored | {"webhook_secrets": [secret, *before][:SECRETS_MAX]}
        secrets.put_secret_value(SecretId=secret_arn, SecretString=json.dumps(value))
    except BaseException:  # Ctrl-C, too, or an endpoint stays whose secret is stored nowhere
        setup.delete_webhook_endpoint(endpoint.id)
        raise
    for old in known:
        setup.delete_webhook_endpoint(old.id)
    return _row(endpoint, "created", [old.id for old in known])


def _read(secrets: Any, secret_arn: str) -> dict[str, Any]:  # noqa: ANN401 - boto3's client
    try:
        stored = json.loads(secrets.get_secret_value(SecretId=secret_arn)["SecretString"])
    except ValueError:
        stored = None
    if not isinstance(stored, dict) or not stored.get("api_key"):
        raise Refused(f'the secret {secret_arn} has no api_key: store {{"api_key": "sk_..."}} in it first')
    return stored


def signing_secrets(stored: dict[str, Any]) -> list[str]:
    """The signing secrets that can be used; a mistake by hand, such as text instead of a list, counts as none."""
    found = stored.get("webhook_secrets")
    texts = [one.strip() for one in found if isinstance(one, str)] if isinstance(found, list) else []
    return [one for one in texts if one.startswith(SIGNING_PREFIX)]


def _row(endpoint: WebhookEndpoint, done: str, deleted: list[str]) -> Row:
    return {
        "endpoint": endpoint.id,
        "url": endpoint.url,
        "done": done,
        "apiVersion": endpoint.api_version,
        "events": sorted(endpoint.events),
        "deleted": deleted,
    }
