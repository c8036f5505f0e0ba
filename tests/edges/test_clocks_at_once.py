"""One deployment serves several invocations at once, as the reconciler's threads do: each keeps its own time limit."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

import pytest

from line_requests.clock import Clock
from line_requests.deployment import Deployment
from line_requests.domain.errors import BillingUnavailable
from line_requests.domain.model import Line, Status
from line_requests.domain.prices import Allowance
from line_requests.domain.submission import Kind
from line_requests.flows.leases import Until
from line_requests.settings import Settings
from tests.decision.examples import ADD_ONS
from tests.edges.scripted_stripe import an_invoice
from tests.local.ministack import session

if TYPE_CHECKING:
    from tests.edges.scripted_stripe import ScriptedStripe
    from tests.support.world import World

FOR_SALE = Allowance(0, add_on=ADD_ONS[Kind.PURCHASED_PHONE])
SHORT_S, LONG_S = 1.0, 9.0


@pytest.fixture
def deployment(world: World, stripe: ScriptedStripe) -> Deployment:
    environment = {"TABLE_NAME": world.table_name, "STRIPE_API_KEY": "sk_test_1", "STRIPE_API_BASE": stripe.url}
    client = partial(session().client, endpoint_url=world.client.meta.endpoint_url)
    return Deployment(Settings.from_environment(environment), client)


def payable_line(world: World, workspace_id: str) -> Line:
    world.workspace(workspace_id, purchased_phone=FOR_SALE)
    url = "https://invoice.stripe.com/i/1"
    return world.added(status=Status.AWAITING_PAYMENT, workspace_id=workspace_id, invoice_id="in_1", payment_url=url)


@pytest.mark.parametrize("short_first", [True, False])
def test_two_clocks_at_once_keep_their_own_limits(
    world: World, stripe: ScriptedStripe, deployment: Deployment, *, short_first: bool
) -> None:
    """[34][39]"""
    names = ("short", "long") if short_first else ("long", "short")
    lines = {name: payable_line(world, name) for name in names}
    before = dict(vars(deployment.lifecycle))
    stripe.hang()

    def advance(name: str) -> Line:
        clock = Clock.start(SHORT_S if name == "short" else LONG_S)
        return deployment.lifecycle.advance(clock, lines[name], Until.CHECKED)

    with ThreadPoolExecutor(2) as pool:
        started_s = time.monotonic()
        running = {name: pool.submit(advance, name) for name in names}
        with pytest.raises(BillingUnavailable):
            running["short"].result()
        assert time.monotonic() - started_s < LONG_S / 2
        assert not running["long"].done()
        stripe.answers.clear()
        stripe.answer(200, an_invoice("paid"))
        stripe.released.set()
        assert running["long"].result().status is Status.PROVISIONING
    assert world.line(lines["short"]).awaiting
    assert vars(deployment.lifecycle) == before, "nothing of a call stays on the shared object"
