"""The account itself and its settings: tax, webhook endpoints, customer portal."""

from __future__ import annotations

import copy
import secrets
from typing import TYPE_CHECKING

import stripe

from .account import merge_metadata
from .objects import ACCOUNT, PORTAL_CONFIGURATION

if TYPE_CHECKING:
    from .account import Account
    from .errors import Json


def retrieve_account(_account: Account, _params: Json) -> Json:
    """GET /v1/account."""
    return copy.deepcopy(ACCOUNT)


def retrieve_tax_settings(account: Account, _params: Json) -> Json:
    """GET /v1/tax/settings."""
    return account.tax_settings


def update_tax_settings(account: Account, params: Json) -> Json:
    """POST /v1/tax/settings."""
    account.tax_settings["defaults"] |= params.get("defaults", {})
    return account.tax_settings


def list_portal_configurations(account: Account, params: Json) -> Json:
    """GET /v1/billing_portal/configurations; a new account has one."""
    kind = "billing_portal.configuration"
    if not account.tables[kind]:
        account.add(kind, copy.deepcopy(PORTAL_CONFIGURATION) | {"updated": account.now()})
    equal = {key: params[key] for key in ("active", "is_default") if key in params}
    url = "/v1/billing_portal/configurations"
    return account.page(kind, params, url, lambda c: all(c[k] == v for k, v in equal.items()))


def create_webhook_endpoint(account: Account, params: Json) -> Json:
    """POST /v1/webhook_endpoints; only this response holds the secret. The double sends nothing there: assumed."""
    fields = {
        "api_version": params.get("api_version", stripe.api_version),
        "application": None,
        "description": params.get("description"),
        "enabled_events": params["enabled_events"],
        "metadata": merge_metadata({}, params.get("metadata")),
        "status": "enabled",
        "url": params["url"],
    }
    return account.add("webhook_endpoint", fields) | {"secret": f"whsec_{secrets.token_hex(16)}"}


def update_webhook_endpoint(account: Account, params: Json, endpoint_id: str) -> Json:
    """POST /v1/webhook_endpoints/{id}."""
    endpoint = account.get("webhook_endpoint", endpoint_id)
    endpoint |= {key: params[key] for key in ("description", "enabled_events", "url") if key in params}
    if "disabled" in params:
        endpoint["status"] = "disabled" if params["disabled"] else "enabled"
    endpoint["metadata"] = merge_metadata(endpoint["metadata"], params.get("metadata"))
    return endpoint


def delete_webhook_endpoint(account: Account, _params: Json, endpoint_id: str) -> Json:
    """DELETE /v1/webhook_endpoints/{id}."""
    account.get("webhook_endpoint", endpoint_id)
    del account.tables["webhook_endpoint"][endpoint_id]
    return {"id": endpoint_id, "object": "webhook_endpoint", "deleted": True}


def list_webhook_endpoints(account: Account, params: Json) -> Json:
    """GET /v1/webhook_endpoints."""
    return account.page("webhook_endpoint", params, "/v1/webhook_endpoints", lambda _: True)
