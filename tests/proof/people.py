"""Customers, banks and operators, who act at Stripe."""

from collections.abc import Callable
from dataclasses import replace

from tests.proof import memory_dashboard, memory_reversals
from tests.proof.actors import Call, Json, Lines, Script
from tests.proof.memory_stripe import MemoryStripe
from tests.proof.stage import DELIVERIES, LARGE, MAIL, SMALL, delivery, invoice_of, payable, when
from tests.proof.tenants import tenant
from tests.proof.world import Act, Result, World


def _deliver(event: Json) -> Lines:
    """Stripe delivers an event until it is taken."""
    for _ in range(DELIVERIES):
        answer = yield Call("stripe_webhook", lambda now_ms: delivery(event, now_ms))
        if answer["statusCode"] < 500:
            return


def unheard(script: Script) -> Script:
    """The same, and no webhook of it arrives."""

    def lines() -> Lines:
        inner, result = script.lines(), None
        while True:
            try:
                line = inner.send(result)
            except StopIteration:
                return
            lost = isinstance(line, Call) and line.function == "stripe_webhook"
            result = {"statusCode": 500} if lost else (yield line)

    return replace(script, name=f"{script.name}, webhook lost", lines=lines)


def at_stripe(
    name: str, what: str, find: Callable[[World], str | None], act: Callable[[World, str], World], *kinds: str
) -> Script:
    """Somebody acts at Stripe as soon as there is something to act on; Stripe delivers these events."""

    def effect(world: World) -> tuple[World, Result] | None:
        subject = find(world)
        if subject is None:
            return None
        after = act(world, subject)
        told = after.stripe.events[len(world.stripe.events) :]
        return after, [event for kind in kinds for event in told if event["type"] == kind]

    def script() -> Lines:
        for event in (yield Act(what, effect)):
            yield from _deliver(event)

    return Script(name, script)


def _open(world: World) -> str | None:
    return invoice_of(world, payable(world), "open", "uncollectible")


def _draft(world: World) -> str | None:
    return invoice_of(world, payable(world), "draft")


def _pay(world: World, invoice: str) -> World:
    return replace(world, stripe=world.stripe.pay(invoice, world.now_ms // 1000))


def pay(*, delivered: int = 1) -> Script:
    name = ("pay, webhook lost", "pay", "pay, webhook doubled")[delivered]
    return at_stripe(name, "the customer pays", _open, _pay, *["invoice.paid"] * delivered)


def void() -> Script:
    def act(world: World, invoice: str) -> World:
        return replace(world, stripe=world.stripe.void(invoice, world.now_ms // 1000))

    return at_stripe("void at Stripe", "an operator voids the invoice at Stripe", _open, act, "invoice.voided")


def delete_draft() -> Script:
    def act(world: World, invoice: str) -> World:
        return replace(world, stripe=world.stripe.delete(invoice, world.now_ms // 1000))

    return at_stripe("draft deleted", "an operator deletes the draft at Stripe", _draft, act, "invoice.deleted")


def add_item() -> Script:
    def act(world: World, invoice: str) -> World:
        return replace(world, stripe=world.stripe.add_item(invoice, world.now_ms // 1000))

    return at_stripe("item added", "an operator adds an item of their own to the draft at Stripe", _draft, act)


def write_off() -> Script:
    def act(world: World, invoice: str) -> World:
        return replace(world, stripe=world.stripe.write_off(invoice, world.now_ms // 1000))

    return at_stripe("write off", "an operator marks the invoice uncollectible", _open, act)


def _by_hand(name: str, what: str, act: Callable[[MemoryStripe, str, int], MemoryStripe], *kinds: str) -> Script:
    """What somebody does to the open invoice at Stripe; Stripe delivers these events."""

    def effect(world: World, invoice: str) -> World:
        return replace(world, stripe=act(world.stripe, invoice, world.now_ms // 1000))

    return at_stripe(name, what, _open, effect, *kinds)


def pay_part() -> Script:
    return _by_hand("part payment", "the customer pays a part", memory_dashboard.pay_part)


def copy_and_pay(*, delivered: int = 1) -> Script:
    name = ("paid copy, webhook lost", "paid copy")[delivered]
    what = "an operator duplicates the invoice, and the duplicate is paid"
    return _by_hand(name, what, memory_dashboard.copy_and_pay, *["invoice.paid"] * delivered)


def revise(*, delivered: int = 1) -> Script:
    name = ("revision, webhook lost", "revision")[delivered]
    return _by_hand(name, "an operator revises the invoice", memory_dashboard.revise, *["invoice.voided"] * delivered)


def credit() -> Script:
    return _by_hand("credit note", "an operator credits the whole invoice", memory_dashboard.credit, "invoice.paid")


def debit(*, succeeds: bool = True) -> Script:
    """A bank debit: nothing can be voided until the bank has answered."""

    def start(world: World) -> tuple[World, Result] | None:
        invoice = _open(world)
        return invoice and (replace(world, stripe=world.stripe.start_debit(invoice)), invoice)  # type: ignore[return-value] # None when there is none

    def script() -> Lines:
        invoice = yield Act("the customer pays by bank debit", start)

        def end(world: World) -> tuple[World, Result]:
            stripe = world.stripe.end_debit(invoice, world.now_ms // 1000, succeeded=succeeds)
            return replace(world, stripe=stripe), list(stripe.events[len(world.stripe.events) :])[:1]

        for event in (yield Act(f"the bank {'pays' if succeeds else 'refuses'}", end)):
            yield from _deliver(event)

    return Script(f"bank debit that {'succeeds' if succeeds else 'fails'}", script)


def stray_webhook() -> Script:
    """An event at the wrong time: early, late, or about something that did not happen."""

    def see(world: World) -> Json | None:
        invoice = invoice_of(world, payable(world), "draft", "open", "paid", "void")
        if invoice is None:
            return None
        return event_of("invoice.paid", world.stripe.invoices[invoice])

    def script() -> Lines:
        event = yield Act("Stripe delivers an event at the wrong time", when(see))
        yield from _deliver(event)

    return Script("late webhook", script)


def event_of(kind: str, subject: Json) -> Json:
    return {
        "id": "evt_stray",
        "object": "event",
        "type": kind,
        "livemode": False,
        "data": {"object": {name: subject[name] for name in ("id", "object", "customer", "metadata")}},
    }


def upgrade() -> Script:
    def act(world: World, subject: str) -> World:
        return replace(world, stripe=world.stripe.change_plan(subject, SMALL, LARGE, world.now_ms // 1000))

    return at_stripe(
        "upgrade",
        "the customer takes the larger plan",
        lambda _: tenant().subscription,
        act,
        "customer.subscription.updated",
    )


def switch() -> Script:
    def act(world: World, subject: str) -> World:
        return replace(world, stripe=world.stripe.change_plan(subject, SMALL, MAIL, world.now_ms // 1000))

    return at_stripe(
        "switch to a plan without phones",
        "the customer takes a plan without phone lines",
        lambda _: tenant().subscription,
        act,
        "customer.subscription.updated",
    )


def end() -> Script:
    def act(world: World, subject: str) -> World:
        return replace(world, stripe=world.stripe.end(subject, world.now_ms // 1000))

    return at_stripe(
        "subscription ends",
        "the subscription is canceled",
        lambda _: tenant().subscription,
        act,
        "customer.subscription.deleted",
    )


def refund_by_hand(status: str = "succeeded", *, delivered: int = 1) -> Script:
    """A person refunds the payment at Stripe, and nobody issues a credit note."""

    def find(world: World) -> str | None:
        invoice = invoice_of(world, payable(world), "paid")
        if invoice is None or world.stripe.invoices[invoice]["customer"] != tenant().customer:
            return None  # without a line of its own, a renewal of the other workspace
        return invoice if memory_reversals.left_of(world.stripe, invoice) else None

    def act(world: World, invoice: str) -> World:
        return replace(world, stripe=memory_reversals.by_hand(world.stripe, invoice, world.now_ms // 1000, status))

    name = f"refund by hand, {status}{'' if delivered else ', webhook lost'}"
    return at_stripe(name, "a person refunds the payment at Stripe", find, act, *["refund.created"] * delivered)


def refund_fails() -> Script:
    """The bank refuses a refund that had succeeded."""

    def find(world: World) -> str | None:
        stripe, customer = world.stripe, tenant().customer
        own = [name for name, invoice in stripe.invoices.items() if invoice["customer"] == customer]
        refunds = [one for name in own for one in memory_reversals.refunds_of(stripe, name)]
        return min((one["id"] for one in refunds if one["status"] == "succeeded"), default=None)

    def act(world: World, refund: str) -> World:
        return replace(world, stripe=memory_reversals.fail(world.stripe, refund, world.now_ms // 1000))

    return at_stripe("refund fails", "the bank refuses the refund", find, act, "refund.failed")
