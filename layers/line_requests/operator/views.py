"""What commands show: rows of plain values, times and amounts."""

from collections.abc import Sequence

from line_requests.clock import wall_time_ms
from line_requests.domain.bodies import submission_body
from line_requests.domain.model import ApiKey, Line, Workspace
from line_requests.domain.prices import Plan
from line_requests.domain.reversals import Credit, PaidInvoice, Reversal
from line_requests.operator import commands
from line_requests.operator.listing import Listed
from line_requests.operator.refusal import Row
from line_requests.operator.values import Moment, Money, moment


def plan_view(plan: Plan) -> Row:
    """A plan as it was applied."""
    return {
        "plan": plan.name,
        "basePrices": list(plan.base_prices),
        "tax": "automatic" if plan.automatic_tax else list(plan.tax_rates),
        "excess": plan.excess,
        "firstCharge": plan.first_charge,
        "invoiceMemo": plan.invoice_memo,
        "invoiceFooter": plan.invoice_footer,
        "lines": [
            {
                "kind": str(kind),
                "included": allowance.included,
                "cap": allowance.cap,
                "addOn": allowance.add_on and allowance.add_on.price,
                "amounts": [Money(price.unit_amount, currency) for currency, price in allowance.add_on.amounts.items()]
                if allowance.add_on
                else [],
                "formerAddOns": list(plan.former_add_ons.get(kind, ())),
            }
            for kind, allowance in plan.allowances.items()
        ],
    }


def workspace_view(workspace: Workspace, keys: Sequence[ApiKey]) -> Row:
    """A workspace with its capacity; of its keys only how many work."""
    subscription = workspace.subscription
    view: Row = {
        "workspace": workspace.id,
        "customer": workspace.customer,
        "livemode": workspace.livemode,
        "subscription": subscription and subscription.id,
        "status": subscription and subscription.status,
        "plan": subscription and subscription.plan,
        "lock": workspace.lock,
        "keys": sum(key.works_at(wall_time_ms()) for key in keys),
        "capacity": [
            {
                "kind": str(kind.kind),
                "included": kind.included,
                "cap": kind.cap,
                "used": kind.used,
                "paid": kind.paid,
                "left": kind.left,
                "addOn": kind.add_on,
            }
            for kind in commands.capacity(workspace)
        ],
    }
    if subscription is not None and subscription.plan is None:
        view["note"] = f"no plan names the base price of {subscription.id}: add it to a plan, apply, then sync"
    return view


def key_view(key: ApiKey) -> Row:
    """What is shown of a key that was issued."""
    return {
        "hash": key.hash[: commands.HASH_DIGITS],
        "label": key.label,
        "created": Moment(key.created_at_ms),
        "revoked": moment(key.revoked_at_ms),
        "expires": moment(key.expires_at_ms),
    }


def listed_line(line: Line) -> Row:
    """One row of a list of lines, without names."""
    return {
        "line": line.id,
        "workspace": line.workspace_id,
        "kind": str(line.submission.kind),
        "status": str(line.status),
        "paymentStatus": str(line.payment_status),
        "since": Moment(line.history[-1].at_ms),
        "cause": line.history[-1].cause,
        "refundDue": line.refund_due,
    }


def listed_workspace(listed: Listed) -> Row:
    """One row of a list of workspaces."""
    workspace, subscription = listed.workspace, listed.workspace.subscription
    return {
        "workspace": workspace.id,
        "customer": workspace.customer,
        "plan": subscription and subscription.plan,
        "status": subscription and subscription.status,
        "held": listed.held,
        "overPlanBy": listed.excess,
        "nearCap": listed.near_cap,
        "lock": workspace.lock,
    }


def refund_view(line: Line, left: Sequence[tuple[PaidInvoice, Credit]], *, done: bool) -> Row:
    """What a refund gives back, or gave, of each invoice."""
    given = [
        {
            "invoice": invoice.id,
            "refunded": Money(sum(credit.refunds.values()), invoice.currency),
            "toBalance": Money(credit.to_balance, invoice.currency),
            "outOfBand": Money(credit.out_of_band, invoice.currency),
            "earlierRefunds": list(credit.linked),
        }
        for invoice, credit in left
    ]
    view: Row = {
        "line": line.id,
        "workspace": line.workspace_id,
        "status": str(line.status),
        "refundDue": line.refund_due,
        "givenBack" if done else "toGiveBack": given,
    }
    if any(credit.out_of_band for _, credit in left):
        view["note"] = "what was paid outside Stripe has to be sent back outside Stripe"
    elif done and line.refund_due:
        view["note"] = "the refund is on its way: the flag is cleared when Stripe says that it succeeded"
    elif not given:
        view["note"] = "nothing is left to give back"
    return view


def outside_view(line: Line, sent: Sequence[Reversal], *, done: bool) -> Row:
    """What is recorded as sent back outside Stripe, or would be, of each invoice."""
    view: Row = {
        "line": line.id,
        "workspace": line.workspace_id,
        "status": str(line.status),
        "refundDue": line.refund_due,
        "recorded" if done else "toRecord": [
            {"invoice": one.invoice_id, "amount": Money(one.amount, one.currency), "reference": one.id} for one in sent
        ],
    }
    if done and line.refund_due:
        view["note"] = "something else is still due, or on its way at Stripe"
    return view


def line_view(line: Line) -> Row:
    """A line with what was asked for, what it is charged and its history."""
    charge = line.charge
    return {
        "line": line.id,
        "workspace": line.workspace_id,
        "kind": str(line.submission.kind),
        **submission_body(line.submission),
        "status": str(line.status),
        "created": Moment(line.created_at_ms),
        "deliveredPhone": line.delivered and line.delivered.phone,
        "deliveredEmail": line.delivered and line.delivered.email,
        "reference": line.delivered and line.delivered.reference,
        "paymentStatus": str(line.payment_status),
        "unitAmount": charge and Money(charge.amount, charge.currency),
        "invoice": line.invoice_id,
        "paymentUrl": line.payment_url,
        "voidReason": line.void_reason and str(line.void_reason),
        "refundDue": line.refund_due,
        "refundInvoice": line.invoice_to_refund if line.refund_due else None,
        "history": [
            {
                "at": Moment(change.at_ms),
                "status": str(change.status),
                "cause": change.cause,
                "reason": change.reason,
            }
            for change in line.history
        ],
        "reversals": [
            {
                "at": Moment(reversal.at_ms),
                "cause": reversal.cause,
                "amount": Money(reversal.amount, reversal.currency),
                "id": reversal.id,
            }
            for reversal in line.reversals
        ],
    }
