"""Scenarios and planted bugs that only what leaves the product shows: answers, alarms, events, requests to Stripe."""

from dataclasses import replace

from tests.proof import beginnings, stage
from tests.proof.actors import Call, Cast, Lines, Script
from tests.proof.memory_objects import Json
from tests.proof.mutants import Mutant
from tests.proof.planted import MUTANTS as OTHERS
from tests.proof.planted_invoices import MUTANTS as OF_INVOICES
from tests.proof.tenants import tenant
from tests.proof.world import Act, Result, World

MANAGE = "api.change"


def _canceled(world: World) -> str | None:
    """A canceled line whose invoice is void."""
    for line in stage.lines(world):
        if line["status"]["S"] == "canceled" and stage.invoice_of(world, stage.id_of(line), "void"):
            return stage.id_of(line)
    return None


def pay_copy() -> Script:
    """An operator copies the void invoice of a canceled line in the dashboard, and the customer pays the copy."""

    def effect(world: World) -> tuple[World, Result] | None:
        void = stage.invoice_of(world, _canceled(world), "void")
        if void is None:
            return None
        copy = {**world.stripe.invoices[void], "id": f"{void}_copy", "status": "paid"}
        copy["hosted_invoice_url"] = f"https://pay.example/{copy['id']}"
        stripe = world.stripe.with_invoice(copy, "invoice.paid", now_s=world.now_ms // 1000)
        return replace(world, stripe=stripe), stripe.events[-1]

    def script() -> Lines:
        event = yield Act("the customer pays a copy of the void invoice", effect)
        for _ in range(2):  # Stripe may deliver an event twice
            yield Call("stripe_webhook", lambda now_ms: stage.delivery(event, now_ms))

    return Script("pay a copy", script)


def link_of_canceled() -> Script:
    """A client asks for the payment link of a line that was canceled."""

    def script() -> Lines:
        line_id = yield Act("a client knows the canceled line", stage.when(_canceled))
        action = {"action": "payment_link"}
        yield Call("manage_line_request", lambda now_ms: stage.http(now_ms, action, line_id=line_id))

    return Script("link of a canceled line", script)


def garbled_batch() -> Script:
    """A batch of two results, the first of which is none."""

    def see(world: World) -> Json | None:
        lines = [line for line in stage.lines(world) if line["status"]["S"] == "provisioning"]
        if not lines:
            return None
        event_id = f"{stage.id_of(lines[0])}:{len(lines[0]['history']['L'])}"
        return {"eventId": event_id, "workspaceId": tenant().workspace, "lineId": stage.id_of(lines[0])}

    def script() -> Lines:
        detail = yield Act("the provisioner has sent two results", stage.when(see))

        def batch(now_ms: int) -> Json:
            results = [detail | {"outcome": outcome} for outcome in ("perhaps", "succeeded")]
            events = [stage.queued({"id": "1", "detail": one, "time": stage.at(now_ms)}) for one in results]
            records = [event["Records"][0] | {"messageId": str(number)} for number, event in enumerate(events)]
            return {"Records": records}

        yield Call("provisioning_result", batch)

    return Script("a batch with a garbled result", script)


ACTORS = {"pay-copy": pay_copy(), "link-of-canceled": link_of_canceled(), "garbled-batch": garbled_batch()}
# In pairs, in the beginning "canceled".
PAIRS = ("pay-copy", "link-of-canceled", "create-B", "reconcile", "end")
NAMES = (
    "provisioning/garbled-batch",
    "provisioning/garbled-batch+not-provisioned",
)


def canceled(cast: Cast, empty: World) -> World:
    """A line that awaited its payment was canceled, and its invoice is void."""
    world, _ = cast.play(stage.manage("cancel"), beginnings.waiting(cast, empty))
    return beginnings.drain_stream(cast, world).after(60_000)


MUTANTS = (
    *OTHERS,
    *OF_INVOICES,
    Mutant.of(
        "409 without a look at the holder",
        "flows.create",
        "        try:\n            holder = self._lifecycle.check_holder(self._clock, holder, workspace)\n"
        "        except LineRequestError:\n            holder = self._lines.get(workspace.id, holder.id)\n",
        "",
        "waiting/create-B+poll",
    ),
    Mutant.of(
        "cancel answers 200 whatever came of it",
        MANAGE,
        "    if line.status is not Status.CANCELED:\n",
        "    if False:\n",
        "waiting/cancel+pay",
    ),
    Mutant.of(
        "a payment link of another line",
        MANAGE,
        "def _payment_link(deployment: Deployment, clock: Clock, line: Line) -> Response:\n",
        "def _payment_link(deployment: Deployment, clock: Clock, line: Line) -> Response:\n"
        "    workspace = deployment.stores.workspaces.get(line.workspace_id)\n"
        "    line = deployment.stores.lines.get(workspace.id, workspace.lock or line.id)\n",
        "canceled/link-of-canceled+create-B",
    ),
    Mutant.of(
        "a payment link without a look",
        MANAGE,
        "line = deployment.lifecycle.advance(clock, line, Until.CHECKED, wait=True)",
        "line = deployment.lifecycle.advance(clock, line, Until.FINALIZED, wait=True)",
        "waiting/payment_link+poll",
    ),
    Mutant.of(
        "no alarm for a refund",
        "flows.reversals",
        '            alarm("RefundDue", why, line_id=line.id, invoice=paid.id)\n',
        "",
        "canceled/pay-copy",
    ),
    Mutant.of(
        "a refund that is known raises another alarm",
        "flows.reversals",
        "        if not line.refund_due or line.invoice_to_refund != paid.id:\n",
        "        if True:\n",
        "canceled/pay-copy",
    ),
    Mutant.of(
        "no alarm for a line that failed",
        "flows.provisioning",
        'alarm("ProvisioningFailed", ',
        "dict(cause=",
        "provisioning/not-provisioned",
    ),
    Mutant.of(
        "no alarm for an unknown invoice",
        "flows.invoicing",
        'alarm("InvoiceMissing", "Stripe does not know a finalized invoice", line_id',
        "dict(line_id",
        "missing/poll",
    ),
    Mutant.of(
        "the bus's refusals are swallowed",
        "bus.events",
        'if entry.get("ErrorCode")',
        "if False",
        "room/create-A+stream",
    ),
    Mutant.of(
        "the state before is published",
        "bus.events",
        '        "status": str(line.status),\n',
        '        "status": str(line.history[0].status),\n',
        "waiting/pay+stream",
    ),
    Mutant.of(
        "a change of plan is published as one back",
        "bus.events",
        '        "plan": now.plan if now else None,\n        "previousPlan": was.plan if was else None,\n',
        '        "plan": was.plan if was else None,\n        "previousPlan": now.plan if now else None,\n',
        "waiting/upgrade",
    ),
    Mutant.of(
        "a garbled result counts as applied",
        "functions.provisioning_result.app",
        '"message_id": record["messageId"]})\n        return False\n',
        '"message_id": record["messageId"]})\n        return True\n',
        "provisioning/garbled-batch",
    ),
    Mutant.of(
        "quantities are prorated",
        "billing.subscriptions",
        '                        "proration_behavior": "none",\n',
        '                        "proration_behavior": "create_prorations",\n',
        "provisioning/reconcile+create-B",
    ),
    Mutant.of(
        "a replay does not say so",
        "api.responses",
        '"Idempotency_Replayed": answer.replayed',
        '"Idempotency_Replayed": answer.mismatch',
        "waiting/create-A+poll",
    ),
)
