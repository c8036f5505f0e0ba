"""The doctor's checks of the Stripe account and of the secret."""

from collections.abc import Callable, Iterator, Mapping
from functools import wraps
from itertools import islice

from line_requests.billing.client import API_VERSION, PAGE
from line_requests.billing.subscriptions import StripeSubscription
from line_requests.domain import decision
from line_requests.domain.errors import BillingMisconfigured
from line_requests.domain.model import ENDED, Workspace
from line_requests.domain.prices import Amount
from line_requests.operator.doctor import Check, Patient, Skipped, few
from line_requests.operator.stripe_setup import signing_secrets
from line_requests.operator.values import Money

API_KEYS = ("sk_", "rk_")
# Invoices that were made longer ago are settled, or their lines are named by other checks.
INVOICES_SINCE_S = 30 * 86_400
# From so many workspaces on, pages of a hundred subscriptions take fewer calls.
LIST_FROM = 20


def _beyond_the_functions_key(run: Callable[[Patient], Iterator[str]]) -> Callable[[Patient], Iterator[str]]:
    """A check that is skipped when the functions' key may not make it and the operator has set none."""

    @wraps(run)
    def run_or_skip(patient: Patient) -> Iterator[str]:
        try:
            yield from run(patient)
        except BillingMisconfigured as error:
            if patient.target.environment.get("STRIPE_API_KEY"):
                raise
            raise Skipped("set STRIPE_API_KEY to a key of your own: docs/deploy.md, step 1") from error

    return run_or_skip


def _secret(patient: Patient) -> Iterator[str]:
    if not patient.target.environment.get("STRIPE_SECRET_ARN"):
        raise Skipped("STRIPE_SECRET_ARN is not set")
    secret = patient.target.deployment.secret.read(force_fetch=True)
    if not str(secret.get("api_key") or "").strip().startswith(API_KEYS):
        yield "the secret's api_key is no Stripe key: sk_... or rk_..."
    if not signing_secrets(secret):
        yield "the secret has no webhook_secrets: whsec_..."


@_beyond_the_functions_key
def _account(patient: Patient) -> Iterator[str]:
    account, charges = patient.billing.setup.account()
    if not charges:
        yield f"the account {account} may not charge yet"


def _mode(patient: Patient) -> Iterator[str]:
    livemode = patient.product_billing.livemode
    others = sorted(workspace.id for workspace in patient.workspaces.values() if workspace.livemode is not livemode)
    if others:
        yield f"the key is of {'live' if livemode else 'test'} mode, {len(others)} workspaces are not: {few(others)}"


def _scopes(patient: Patient) -> Iterator[str]:
    for scope in patient.product_billing.setup.missing_scopes():
        yield f"the key may not read {scope}"


@_beyond_the_functions_key
def _webhook(patient: Patient) -> Iterator[str]:
    url = patient.target.environment.get("WEBHOOK_URL")
    if not url:
        raise Skipped("WEBHOOK_URL is not set")
    endpoints = patient.billing.setup.webhook_endpoints(url)
    if not any(endpoint.enabled for endpoint in endpoints):
        yield f"no enabled webhook endpoint of {url}"


@_beyond_the_functions_key
def _webhook_events(patient: Patient) -> Iterator[str]:
    for endpoint in patient.billing.setup.webhook_endpoints(patient.target.environment.get("WEBHOOK_URL") or ""):
        if endpoint.missing_events:
            yield f"the webhook endpoint {endpoint.id} does not send {', '.join(endpoint.missing_events)}"


@_beyond_the_functions_key
def _webhook_version(patient: Patient) -> Iterator[str]:
    for endpoint in patient.billing.setup.webhook_endpoints(patient.target.environment.get("WEBHOOK_URL") or ""):
        if endpoint.api_version != API_VERSION:
            yield f"the webhook endpoint {endpoint.id} is of version {endpoint.api_version}, not {API_VERSION}"


@_beyond_the_functions_key
def _portal(patient: Patient) -> Iterator[str]:
    updates = patient.billing.setup.portal_updates()
    if updates is None:
        raise Skipped("customers have no portal")
    if "quantity" in updates:
        yield "customers may change quantities in the portal, which are set to what is owed"


def _plans(patient: Patient) -> Iterator[str]:
    if not patient.stores.plans.all():
        yield "no plan is applied, so no workspace may request a line"


def _prices(patient: Patient) -> Iterator[str]:
    for plan in patient.stores.plans.all():
        for price_id in plan.base_prices:
            base = patient.billing.catalogue.price(price_id)
            if base is None:
                yield f"plan {plan.name}: Stripe does not know the base price {price_id}"
        for kind, allowance in plan.allowances.items():
            add_on = allowance.add_on
            if add_on is None:
                continue
            price = patient.billing.catalogue.price(add_on.price)
            where = f"plan {plan.name}: lines.{kind}.add_on: {add_on.price}"
            if price is None or not price.active:
                yield f"{where} is {'unknown' if price is None else 'not active'}"
            elif price.amounts != add_on.amounts:
                yield f"{where} was applied at {_amounts(add_on.amounts)}, is {_amounts(price.amounts)}"


def _amounts(amounts: Mapping[str, Amount]) -> str:
    return ", ".join(f"{Money(one.unit_amount, currency)} {one.tax_behavior}" for currency, one in amounts.items())


def _quantities(patient: Patient) -> Iterator[str]:
    known = {
        workspace.subscription.id: workspace
        for workspace in patient.workspaces.values()
        if workspace.subscription and workspace.subscription.plan is not None and not workspace.subscription.ended
    }
    for found in _subscriptions(patient, known):
        workspace = known[found.id]
        # The reconciler is about to set what is due; what has just changed is read once more.
        if _mismatch(workspace, found) and not patient.stores.workspaces.is_due(workspace.id, patient.now_ms):
            current = patient.stores.workspaces.get(workspace.id)
            for again in patient.billing.subscriptions.of_customer(workspace.customer):
                if current is not None and again.id == found.id and (mismatch := _mismatch(current, again)):
                    yield f"{workspace.id}: {found.id} {mismatch}"


def _subscriptions(patient: Patient, known: Mapping[str, Workspace]) -> Iterator[StripeSubscription]:
    """The workspaces' subscriptions: from the account's list where that takes fewer calls, else one by one."""
    missing = dict(known)
    if len(known) >= LIST_FROM:
        # As many pages as the workspaces would be calls; the account may have many other subscriptions.
        for found in islice(patient.billing.subscriptions.listed(), PAGE * len(known)):
            if missing.pop(found.id, None) is not None:
                yield found
            if not missing:
                return
    for workspace in missing.values():
        for found in patient.billing.subscriptions.of_customer(workspace.customer):
            if found.id in missing:
                yield found


def _mismatch(workspace: Workspace, found: StripeSubscription) -> str:
    """How a subscription's add-ons are not what the workspace owes; empty when they are."""
    owed = {price: quantity for price, quantity in decision.quantities_owed(workspace).items() if quantity}
    ours = {price: item.quantity for price, item in found.items.items() if item.ours or price in owed}
    if found.status in ENDED or ours == owed:
        return ""
    return f"carries {ours or 'no add-on'}, owed is {owed or 'none'}"


def _orphans(patient: Patient) -> Iterator[str]:
    lines = {line.id: line for lines in patient.lines_of.values() for line in lines}
    for invoice in patient.billing.invoices.since(since_s=patient.now_ms // 1000 - INVOICES_SINCE_S):
        scanned = lines.get(invoice.line_id)
        if not invoice.line_id or invoice.status not in {"draft", "open"} or (scanned and scanned.awaiting):
            continue
        # Another product's, or another stack's on the same account.
        if patient.stores.workspaces.of_customer(invoice.customer) != invoice.workspace_id:
            continue
        # Requested or changed since the table was read.
        line = patient.stores.lines.get(invoice.workspace_id, invoice.line_id)
        if line is None:
            yield f"the {invoice.status} invoice {invoice.id} is for the line {invoice.line_id}, which does not exist"
        elif not line.awaiting:
            yield f"the invoice {invoice.id} is {invoice.status}, its line {line.id} is {line.status}"


SETUP = "line-requests setup-stripe"
APPLY = "line-requests plans apply FILE"
CHECKS = [
    Check("Stripe secret", _secret, f"{SETUP}; the key itself: docs/deploy.md"),
    Check("Stripe account", _account, "https://dashboard.stripe.com/account/onboarding"),
    Check("mode of key and workspaces", _mode, "store the other mode's key in the secret: docs/deploy.md"),
    Check("key scopes", _scopes, "https://dashboard.stripe.com/apikeys: docs/deploy.md lists the scopes"),
    Check("webhook endpoint", _webhook, SETUP),
    Check("webhook events", _webhook_events, SETUP),
    Check("webhook version", _webhook_version, SETUP),
    Check("customer portal", _portal, "https://dashboard.stripe.com/settings/billing/portal"),
    Check("plans", _plans, APPLY),
    Check("plans' prices", _prices, APPLY),
    Check("add-on quantities", _quantities, "line-requests workspace sync WORKSPACE, then the reconciler sets them"),
    Check("orphan invoices", _orphans, "void them at https://dashboard.stripe.com/invoices: docs/recover.md"),
]
