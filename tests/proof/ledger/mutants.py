"""Planted bugs that the ledger has to find: money charged twice, not at all, or wrongly."""

from tests.proof.mutants import Mutant


def _bug(name: str, module: str, before: str, after: str, seed: int = 0) -> Mutant:
    """`seed`: of a history that shows it."""
    return Mutant(name, ((module, before, after),), (str(seed),))


MUTANTS = (
    _bug(
        "the first charge is for the part of the period that has passed",
        "domain.money",
        "amount = prorate(unit_amount, period.end_s - now_s, length_s, currency)",
        "amount = prorate(unit_amount, now_s - period.start_s, length_s, currency)",
    ),
    _bug(
        "the first charge is never prorated",
        "domain.money",
        'if subscription.first_charge == "full":',
        "if True:",
    ),
    _bug(
        "what is owed in the middle of a period is not charged",
        "domain.money",
        "period_end_s, now_s)) if short > 0 else None",
        "period_end_s, now_s)) if False else None",
    ),
    _bug(
        "a decrease is forgiven, and charged again when it goes back up",
        "flows.add_ons",
        "        if (last.subscription, last.period_end_s) == (subscription.id, period.end_s):\n"
        "            return workspace\n",
        "        if (last.subscription, last.period_end_s) == (subscription.id, period.end_s):\n"
        "            owed, kept = decision.owed_by_kind(workspace), dict(workspace.charged)\n"
        "            for kind, has in kept.items():\n"
        "                kept[kind] = tuple(replace(one, places=min(one.places, owed.get(kind, 0))) for one in has)\n"
        "            counted = workspace.counted\n"
        "            saved = self._workspaces.save_charged(workspace, kept, counted=counted, pending_charge=None)\n"
        "            return self._saved(saved)\n",
    ),
    _bug(
        "coverage is lost at a re-subscription",
        "flows.add_ons",
        "        owed = decision.owed_by_kind(decision.once_included(workspace), subscription.excess)\n",
        "        owed = decision.owed_by_kind(decision.once_included(workspace), subscription.excess)\n"
        "        if workspace.counted and workspace.counted.subscription != subscription.id:\n"
        "            workspace = replace(workspace, charged={})\n",
    ),
    _bug(
        "a trial is charged as a period",
        "flows.add_ons",
        'CHARGING = frozenset({"active", "past_due", "unpaid"})',
        'CHARGING = frozenset({"active", "past_due", "unpaid", "trialing"})',
    ),
    _bug(
        "a trial's length is taken for a period's",
        "domain.money",
        'in_trial = subscription.status == "trialing" and now_s < subscription.period.end_s',
        "in_trial = False",
    ),
    _bug(
        "amounts are rounded down",
        "domain.money",
        "(2 * exact + period_s * step)",
        "(2 * exact)",
    ),
    _bug(
        "a currency's smallest step is ignored",
        "domain.money",
        "step = SMALLEST_STEP.get(currency, 1)",
        "step = 1",
    ),
    _bug(
        "the amount is that of the price's own currency, not the subscription's",
        "domain.decision",
        "amount = add_on.amounts.get(currency)",
        'amount = add_on.amounts.get("usd")',
    ),
    _bug(
        "a renewal is not counted",
        "flows.add_ons",
        "quantities[renewal.price, renewal.period.end_s] += renewal.quantity",
        "quantities[renewal.price, renewal.period.end_s] = 0",
    ),
    _bug(
        "a renewal before the interval was changed is not counted",
        "flows.add_ons",
        "if renewal.period.end_s > now_s:",
        "if renewal.period.end_s == period.end_s:",
        seed=3,
    ),
    _bug(
        "a renewal is not counted before a trial has ended",
        "flows.add_ons",
        "        if subscription is None:\n            return workspace, charges\n",
        "        if subscription is None or subscription.status not in CHARGING:\n"
        "            return workspace, charges\n",
        seed=15,
    ),
    _bug(
        "a renewal that was counted is counted again in the next period",
        "flows.add_ons",
        "after_s, until_s = max(last.started_s, now_s - LONGEST_PERIOD_S),",
        "after_s, until_s = now_s - LONGEST_PERIOD_S,",
        seed=3,
    ),
    _bug(
        "the latest renewal is not counted while the list of invoices lacks it",
        "billing.subscriptions",
        'set(latest_invoices).difference(invoice["id"] for invoice in invoices)',
        "()",
        seed=6,
    ),
    _bug(
        "the latest renewal of a subscription that has ended is not counted while the list lacks it",
        "flows.add_ons",
        "[one for one in listed if any(",
        '[one for one in listed if one.status != "canceled" and any(',
        seed=7,
    ),
    _bug(
        "a plan's former add-on prices are forgotten",
        "operator.plan_checks",
        "if (kind, price) not in current:",
        "if False:",
        seed=5,
    ),
    _bug(
        "a renewal is counted each time",
        "flows.add_ons",
        "if (last.subscription, last.period_end_s) == (subscription.id, period.end_s):",
        "last = NOTHING_COUNTED\n        if False:",
    ),
    _bug(
        "nothing is due at a period's end",
        "flows.add_ons",
        "due_at_ms = _next_look_ms(_billed(workspace), now_ms)",
        "due_at_ms = None",
        seed=16,
    ),
    _bug(
        "`bill` charges the rest of a period, too",
        "flows.add_ons",
        "in decision.owed_by_kind(workspace).items()",
        "in decision.owed_by_kind(workspace, subscription.excess).items()",
    ),
    _bug(
        "a crash creates a pending charge twice",
        "billing.subscriptions",
        'self._client.v1.invoice_items.create(params, {"idempotency_key": f"{workspace.id}:charge:{charge.number}"})',
        "self._client.v1.invoice_items.create(params)",
        seed=105,
    ),
    _bug(
        "a pending charge is not stored before it is created",
        "flows.add_ons",
        "save_charged(workspace, charged, counted=counted, pending_charge=charge)",
        "get(workspace.id)",
    ),
    _bug(
        "the gap before a late payment is charged",
        "domain.money",
        "if now_s < c.until_s < until_s",
        "if c.until_s < until_s",
        seed=2,
    ),
    _bug(
        "a place that is charged for part of the period is charged from now",
        "domain.money",
        "tuple((partly + [now_s] * places)[:places])",
        "(now_s,) * places",
    ),
    _bug(
        "a first charge covers nothing",
        "storage.capacity",
        '"charged": [{"until_s": line.charge.period.end_s, "places": 1}]',
        '"charged": [{"until_s": line.charge.period.end_s, "places": 0}]',
    ),
    _bug(
        "a renewal charges what a longer period has paid for",
        "domain.decision",
        "max(0, count - beyond)",
        "count",
    ),
    _bug(
        "what the plan includes is charged once it was paid for",
        "domain.decision",
        "min(paid, beyond)",
        "paid",
        seed=1,
    ),
    _bug(
        "a stale snapshot's period has ended and is still charged",
        "domain.money",
        "    if now_s < period.end_s:\n        return period\n",
        "    return period\n",
        seed=39,
    ),
    _bug(
        "the first of the kinds that share a price gets all that a renewal charged",
        "domain.money",
        "        shares[kind] = min(quantity, count)\n",
        "        shares[kind] = quantity\n",
        seed=14,
    ),
    _bug(
        "what a renewal charged for a shared price goes first to a kind that is charged already",
        "flows.add_ons",
        "max(0, owed.get(kind, 0) - money.covered(charged.get(kind, ()), end_s))",
        "owed.get(kind, 0)",
        seed=14,
    ),
    _bug(
        "of the kinds that share a price the last one's quantity is set",
        "domain.decision",
        "owed[add_on.price] = owed.get(add_on.price, 0) + max(0, count - beyond)",
        "owed[add_on.price] = max(0, count - beyond)",
        seed=5,
    ),
)
