"""What a subscription is billed for its paid lines: every moment once (contract 50, 52).

Renewals charge the quantities, which are set without proration. Places that are owed in the middle of a period are
charged by one pending invoice item, which the next invoice takes up.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from line_requests.billing.account import Billing
from line_requests.billing.subscriptions import StripeSubscription
from line_requests.domain import decision, money
from line_requests.domain.errors import (
    BillingRefused,
    BillingRejected,
    BillingUnavailable,
    LineRequestError,
    ReplayedFailure,
)
from line_requests.domain.model import NOT_RENEWED, Subscription, Workspace
from line_requests.domain.prices import Counted, PendingCharge, Plan
from line_requests.domain.submission import Kind
from line_requests.flows.subscriptions import SubscriptionSync
from line_requests.storage.workspaces import Workspaces
from line_requests.telemetry import alarm

# Stripe's statuses in which invoices are made for what is owed; a trial or a pause charges nothing.
CHARGING = frozenset({"active", "past_due", "unpaid"})
# A period that has ended is followed by another within minutes; one of a paused subscription is not.
RENEWAL_LOOK_MS, PAUSED_LOOK_MS = 5 * 60_000, 86_400_000
# Stripe forgets idempotency keys after 24 hours.
KEY_LIFETIME_MS = 23 * 3_600_000
# "Maximum of three years": https://docs.stripe.com/api/prices/create#create_price-recurring-interval_count
LONGEST_PERIOD_S = 3 * 366 * 86_400
NOTHING_COUNTED = Counted("", 0)

# The kinds that each add-on price of any plan stands for, or stood for.
KindsByPrice = Mapping[str, Sequence[Kind]]


class AddOns:
    """Charges and quantities, written by one caller at a time."""

    def __init__(self, workspaces: Workspaces, sync: SubscriptionSync) -> None:
        self._workspaces = workspaces
        self._sync = sync

    def settle(self, billing: Billing, workspace_id: str, now_ms: int) -> tuple[Workspace | None, int]:
        """Refreshes the subscription, counts what renewals charged, charges what is short, then sets the quantities.

        Returns the workspace, or None while another caller settles it, and the number of changes at Stripe.
        """
        workspace = self._workspaces.lease_quantities(workspace_id, now_ms)
        if workspace is None:
            return None, 0
        try:
            workspace, listed, plans = self._sync.refresh_and_list(billing, workspace, now_ms)
            kinds = _kinds_by_price(plans)
            try:
                workspace, charges = self._charge(billing, workspace, listed, kinds, now_ms)
            except (BillingRefused, BillingRejected):
                # It would be in every run: what was released is not billed meanwhile.
                self._set_quantities(billing, workspace, listed, kinds)
                raise
            changed = charges + self._set_quantities(billing, workspace, listed, kinds)
        except LineRequestError:
            self._workspaces.abandon_quantities(workspace)
            raise
        due_at_ms = _next_look_ms(_billed(workspace), now_ms)
        return self._workspaces.finish_quantities(workspace, asked_at_ms=now_ms, due_at_ms=due_at_ms), changed

    # --- charges --------------------------------------------------------------------------------

    def _charge(
        self,
        billing: Billing,
        workspace: Workspace,
        listed: Sequence[StripeSubscription],
        kinds_by_price: KindsByPrice,
        now_ms: int,
    ) -> tuple[Workspace, int]:
        charges = 0
        if workspace.pending_charge is not None:
            workspace = self._finish_charge(billing, workspace, workspace.pending_charge, now_ms)
        subscription = _billed(workspace)
        if subscription is None:
            return workspace, charges
        items = {price for one in listed if one.id == subscription.id for price in one.items}
        owed, before = decision.quantities_owed(workspace), workspace.counted
        # Before the first quantity is set, no renewal charges an add-on.
        if before or not items.isdisjoint(kinds_by_price) or any(owed.values()):
            latest = _latest_invoices(listed, now_ms // 1000)
            workspace = self._count_renewals(
                billing, workspace, subscription, kinds_by_price, now_ms, latest_invoices=latest
            )
        if subscription.status not in CHARGING:
            return workspace, charges
        if self._next_charge(workspace, subscription, now_ms) is not None:
            # A table is restored from no earlier than the last period that it knows as counted.
            since_s = min(subscription.period.start_s, before.started_s) if before else subscription.period.start_s
            workspace = self._count_unknown(billing, workspace, since_s)
        while (charge := self._next_charge(workspace, subscription, now_ms)) is not None:
            charged, counted = workspace.charged, workspace.counted
            workspace = self._saved(
                self._workspaces.save_charged(workspace, charged, counted=counted, pending_charge=charge)
            )
            workspace = self._finish_charge(billing, workspace, charge, now_ms)
            charges += 1
        return workspace, charges

    def _count_renewals(  # noqa: PLR0913 - all that says what was charged
        self,
        billing: Billing,
        workspace: Workspace,
        subscription: Subscription,
        kinds_by_price: KindsByPrice,
        now_ms: int,
        *,
        latest_invoices: Iterable[str],
    ) -> Workspace:
        """Adds what invoices have charged since the last count, in each new period."""
        period, last, now_s = subscription.period, workspace.counted or NOTHING_COUNTED, now_ms // 1000
        if (last.subscription, last.period_end_s) == (subscription.id, period.end_s):
            return workspace
        after_s, until_s = max(last.started_s, now_s - LONGEST_PERIOD_S), max(period.start_s, now_s)
        renewals = billing.subscriptions.renewals_after(workspace.customer, after_s, latest_invoices)
        # One that is charged ahead is counted once its period has begun.
        begun = [renewal for renewal in renewals if renewal.period.start_s <= until_s]
        quantities = Counter[tuple[str, int]]()
        for renewal in begun:
            # One of an earlier period may reach beyond it: the interval was changed since.
            if renewal.period.end_s > now_s:
                quantities[renewal.price, renewal.period.end_s] += renewal.quantity
        # A request that is about to be included takes a paid line's place in the plan: that one counts as owed already.
        owed = decision.owed_by_kind(decision.once_included(workspace), subscription.excess)
        charged = {kind: money.without_past(has, now_s) for kind, has in workspace.charged.items()}
        for (price, end_s), quantity in quantities.items():
            uncharged = {
                kind: max(0, owed.get(kind, 0) - money.covered(charged.get(kind, ()), end_s))
                for kind in kinds_by_price.get(price, ())
            }
            for kind, places in money.split_by_kind(quantity, uncharged).items():
                charged[kind] = money.cover(charged.get(kind, ()), places, end_s)
        started_s = max(after_s, period.start_s, *(renewal.period.start_s for renewal in begun))
        counted = Counted(subscription.id, period.end_s, started_s)
        return self._saved(self._workspaces.save_charged(workspace, charged, counted=counted, pending_charge=None))

    def _count_unknown(self, billing: Billing, workspace: Workspace, since_s: int) -> Workspace:
        """Adds what was charged after the backup that the table was restored from (contract 52)."""
        made = billing.subscriptions.charges_after(workspace, since_s)
        if not made:
            return workspace
        charged = dict(workspace.charged)
        for one in made:
            coverages = charged.get(one.kind, ())
            starts = money.starts(coverages, one.places, one.period_end_s, one.created_s)
            charged[one.kind] = money.cover(coverages, one.places, one.period_end_s, replacing=starts)
        known = replace(workspace, charge_number=made[-1].number)
        return self._saved(
            self._workspaces.save_charged(known, charged, counted=workspace.counted, pending_charge=None)
        )

    def _next_charge(self, workspace: Workspace, subscription: Subscription, now_ms: int) -> PendingCharge | None:
        """What the first kind that is short has to be charged; None when every owed place is covered."""
        period, now_s = subscription.period, now_ms // 1000
        # Unpaid lines are billed by renewals only, so the formula of `keep` counts here under either policy.
        for kind, owed in decision.owed_by_kind(workspace).items():
            short = money.shortage(kind, owed, workspace.charged.get(kind, ()), period.end_s, now_s)
            add_on = subscription.allowances[kind].add_on
            if short is None or add_on is None or now_s >= period.end_s:
                continue
            price = decision.price_of(add_on, subscription.currency)
            return PendingCharge(
                number=workspace.charge_number + 1,
                kind=kind,
                subscription=subscription.id,
                product=add_on.product,
                currency=subscription.currency,
                amount=short.amount(price.unit_amount, period, subscription.currency),
                tax_behavior=price.tax_behavior,
                tax_rates=subscription.tax_rates,
                period=replace(period, start_s=min(short.from_s)),
                from_s=short.from_s,
                stored_at_ms=now_ms,
            )
        return None

    def _finish_charge(self, billing: Billing, workspace: Workspace, charge: PendingCharge, now_ms: int) -> Workspace:
        """Creates the stored charge's item unless it exists, then counts its places as charged.

        Raises BillingRefused or BillingRejected when Stripe refuses it: it is kept until an operator has fixed that.
        """
        charged = dict(workspace.charged)
        try:
            old = now_ms - charge.stored_at_ms > KEY_LIFETIME_MS
            if charge.amount and not (old and billing.subscriptions.has_item(workspace, charge)):
                self._create_item(billing, workspace, charge)
        except (BillingRefused, BillingRejected) as refusal:
            current = workspace.subscription
            if current is not None and not current.ended and current.id == charge.subscription:
                raise
            # The subscription has ended meanwhile: nothing was charged, so nothing is covered.
            alarm("BillingRefused", f"a charge was dropped: {refusal}", workspace_id=workspace.id)
        else:
            coverages, starts = charged.get(charge.kind, ()), charge.from_s
            charged[charge.kind] = money.cover(coverages, len(starts), charge.period.end_s, replacing=starts)
        return self._saved(
            self._workspaces.save_charged(workspace, charged, counted=workspace.counted, pending_charge=None)
        )

    def _create_item(self, billing: Billing, workspace: Workspace, charge: PendingCharge) -> None:
        """Raises ReplayedFailure once the charge has a new key: only that gets a new answer, in the next run."""
        try:
            billing.subscriptions.create_pending_item(workspace, charge)
        except ReplayedFailure:
            if not billing.subscriptions.has_item(workspace, charge):
                again = replace(charge, number=charge.number + 1)
                self._workspaces.save_charged(
                    workspace, workspace.charged, counted=workspace.counted, pending_charge=again
                )
                raise

    def _saved(self, workspace: Workspace | None) -> Workspace:
        if workspace is None:
            raise BillingUnavailable("the workspace's lines changed meanwhile")
        return workspace

    # --- quantities -----------------------------------------------------------------------------

    def _set_quantities(
        self,
        billing: Billing,
        workspace: Workspace,
        listed: Sequence[StripeSubscription],
        kinds_by_price: KindsByPrice,
    ) -> int:
        """Sets each add-on price's quantity to what is owed; removes items of ours that are no longer owed."""
        subscription = workspace.subscription
        if subscription is None or subscription.ended:
            return 0
        if subscription.plan is None and any(workspace.held.values()):
            return 0  # What its lines owe is unknown; without lines nothing is owed under any plan.
        changed = 0
        # The one that counts comes first, for Stripe may refuse to change another.
        for stripe_subscription in sorted(listed, key=lambda one: one.id != subscription.id):
            if stripe_subscription.status in NOT_RENEWED:
                continue
            # Only the subscription that counts carries add-ons.
            counts = stripe_subscription.id == subscription.id
            owed = decision.quantities_owed(workspace) if counts else {}
            existing = {
                price: item
                for price, item in stripe_subscription.items.items()
                if item.ours or (counts and price in kinds_by_price)
            }
            # Stripe does not delete the last item of a subscription: it stays, with a quantity of 0.
            none_left = len(existing) == len(stripe_subscription.items) and not any(owed.values())
            last = max(existing, default=None) if none_left else None
            # Removals first: a renewal in between charges too little, which a pending item charges, not too much.
            for price in sorted(owed.keys() | existing.keys(), key=lambda price: (price in owed, price)):
                item, quantity = existing.get(price), owed.get(price) or (0 if price == last else None)
                if (item.quantity if item else None) != quantity:
                    billing.subscriptions.set_quantity(stripe_subscription.id, price, item, quantity)
                    changed += 1
        return changed


def _kinds_by_price(plans: Sequence[Plan]) -> KindsByPrice:
    kinds: dict[str, list[Kind]] = {}
    bases = {price for plan in plans for price in plan.base_prices}
    for kind, price in (add_on for plan in plans for add_on in plan.add_on_prices()):
        if price not in bases and kind not in kinds.setdefault(price, []):
            kinds[price].append(kind)
    return kinds


def _latest_invoices(listed: Iterable[StripeSubscription], now_s: int) -> list[str]:
    """The invoices of the present periods; that of a subscription that has ended may reach into the next one's."""
    current = [one for one in listed if any(now_s < item.period.end_s for item in one.items.values())]
    return [one.latest_invoice for one in current if one.latest_invoice is not None]


def _next_look_ms(billed: Subscription | None, now_ms: int) -> int | None:
    """When its period ends; a paused one stays in a period that has ended, and an event tells when it goes on."""
    if billed is None:
        return None
    soon_ms = now_ms + (PAUSED_LOOK_MS if billed.status == "paused" else RENEWAL_LOOK_MS)
    end_ms = billed.period.end_s * 1000
    return end_ms if end_ms > now_ms else soon_ms


def _billed(workspace: Workspace) -> Subscription | None:
    """The subscription; None when it has ended, or when its plan is not known: what is owed is unknown then."""
    subscription = workspace.subscription
    return None if subscription is None or subscription.plan is None or subscription.ended else subscription
