"""What scenarios begin with: worlds that are played from an empty one."""

from collections.abc import Iterable
from dataclasses import replace
from functools import partial

from tests.proof import memory_dashboard
from tests.proof.actors import Call, Cast, Json, Lines, Script
from tests.proof.people import pay
from tests.proof.product import Product
from tests.proof.runs import Alone
from tests.proof.stage import (
    ADD_ONS,
    LARGE,
    MAIL,
    SMALL,
    create,
    invoice_of,
    manage,
    payable,
    provision,
    reconcile,
    records_of,
    release,
)
from tests.proof.tenants import tenant
from tests.proof.world import World


def empty(product: Product) -> World:
    """A workspace with an active subscription to the small plan, and no line."""
    from line_requests.domain.ids import sha256_hex
    from line_requests.domain.model import ApiKey

    world = World()
    stripe = world.stripe.subscribe(tenant().subscription, tenant().customer, SMALL, world.now_ms // 1000 - 86_400 * 3)
    alone = Alone("setup", replace(world, stripe=replace(stripe, events=())))
    stores = product.deployment.stores

    def prepare() -> None:
        stores.workspaces.insert(tenant().workspace, tenant().customer, livemode=False)
        stores.api_keys.insert(tenant().workspace, ApiKey(sha256_hex(tenant().api_key), "proof", world.now_ms))

    alone.start(prepare)
    return with_plans(product, alone.worlds[-1])


def with_plans(product: Product, world: World, *, included: int = 1, cap: int = 3) -> World:
    """The world once these plans were applied, and the workspace synced."""
    from line_requests.clock import Clock
    from line_requests.domain.prices import AddOn, Allowance, Amount, Plan
    from line_requests.domain.submission import Kind

    def allowances(count: int, most: int) -> dict[Kind, Allowance]:
        return {
            Kind[kind.upper()]: Allowance(count, most, AddOn(price, f"prod_{kind}", {"usd": Amount(1500)}))
            for kind, price in ADD_ONS.items()
        }

    alone = Alone("plans", world)
    deployment = product.deployment

    def apply() -> None:
        deployment.stores.plans.save(
            [
                Plan("small", (SMALL,), allowances(included, cap)),
                Plan("large", (LARGE,), allowances(5, 10)),
                Plan("mail", (MAIL,), {Kind.EMAIL: allowances(included, cap)[Kind.EMAIL]}),
            ]
        )
        clock = Clock(world.now_ms, 9.0)
        deployment.lifecycle.subscriptions.refresh(deployment.billing(clock), tenant().workspace, world.now_ms)

    alone.start(apply)
    return alone.worlds[-1]


def busy(cast: Cast, world: World) -> World:
    """Its rate window is in use: an idle one would let only one request of many pass at a time."""
    return played(cast, world, [create(body={}), create(body={})])


def drain_stream(cast: Cast, world: World) -> World:
    """The world once the stream has delivered everything."""
    while (records := records_of(world)) is not None:
        script = Script("stream", partial(_publish, records))
        world, _ = cast.play(script, replace(world, stream={}))
    return world


def _publish(records: Json) -> Lines:
    yield Call("publish_changes", lambda _: records)


def settled(cast: Cast, world: World) -> World:
    """Some minutes later: the stream is told, the reconciler has run, nothing is due."""
    for _ in range(2):
        world, _ = cast.play(reconcile(), drain_stream(cast, world.after(120_000)))
    return drain_stream(cast, world)


def full(cast: Cast, world: World) -> World:
    """The included place is taken, by an active line."""
    world, _ = cast.play(create(), world)
    world, _ = cast.play(provision(), drain_stream(cast, world))
    return settled(cast, world)


def waiting(cast: Cast, world: World) -> World:
    """Beyond that, a line of key A awaits its payment."""
    world, _ = cast.play(create("A"), full(cast, world).after(60_000))
    return drain_stream(cast, world.after(60_000))


def unvoidable(cast: Cast, world: World) -> World:
    """Beyond that, Stripe refuses to void its invoice, for a reason that is no payment."""
    world = waiting(cast, world)
    invoice = invoice_of(world, payable(world), "open")
    assert invoice is not None
    return replace(world, stripe=memory_dashboard.refuse_void(world.stripe, invoice))


def renewed(cast: Cast, world: World) -> World:
    """A line of key A awaits its payment, and the subscription was renewed a minute ago."""
    world = waiting(cast, world)
    renewed_s = int(world.stripe.next_period_s(tenant().subscription))
    world, _ = cast.play(reconcile(), replace(world, now_ms=(renewed_s - 60) * 1000))
    return replace(world, now_ms=(renewed_s + 60) * 1000, stripe=world.stripe.advance(renewed_s))


def provisioning(cast: Cast, world: World) -> World:
    """Beyond that, it is paid, and its provisioner at work."""
    world, _ = cast.play(pay(), waiting(cast, world))
    return drain_stream(cast, world).after(1_000)


def failed_line(cast: Cast, world: World) -> World:
    """Beyond that, the provisioner fails it."""
    world, _ = cast.play(provision("failed"), provisioning(cast, world))
    return drain_stream(cast, world).after(1_000)


def paid_after_cancel(cast: Cast, world: World) -> World:
    """A request that was canceled, and paid at the same moment; nothing is due."""
    world, _ = cast.play(manage("cancel"), waiting(cast, world))
    invoice_id = invoice_of(world, payable(world), "void")
    assert invoice_id is not None
    paid = world.stripe.invoices[invoice_id] | {"status": "paid"}
    stripe = world.stripe.with_invoice(paid, "invoice.paid", now_s=world.now_ms // 1000)
    return settled(cast, replace(world, stripe=stripe))


def released_line(cast: Cast, world: World) -> World:
    """Beyond that, a client gives it up, and nothing is due."""
    world, _ = cast.play(release(), failed_line(cast, world))
    return settled(cast, world)


def played(cast: Cast, world: World, scripts: Iterable[Script]) -> World:
    """These, one after the other."""
    for script in scripts:
        world, _ = cast.play(script, world)
    return world
