"""A customer who downgrades holds more lines than the plan allows: the bus and the alarm say so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.stories.world import EMAIL, PHONE, eventually

if TYPE_CHECKING:
    from tests.stories.listener import Listener
    from tests.stories.world import World

Json = dict[str, Any]


def test_downgrade_is_heard_with_its_excess_until_the_plan_returns(world: World, listener: Listener) -> None:
    """[54] No line is released automatically, and a failed renewal changes nothing."""
    workspace = world.workspace("scale")
    phones = [workspace.included(PHONE)["line"]["_id"] for _ in range(2)]
    workspace.included(EMAIL)
    eventually(lambda: all(line["provisioningStatus"] == "active" for line in workspace.lines()))

    def heard(number: int) -> list[Json]:
        """The events about the workspace itself, each once, as soon as there are so many."""

        def by_id() -> dict[str, Json]:
            return {event["eventId"]: event for event in listener.heard(workspace.id)}

        eventually(lambda: len(by_id()) >= number)
        assert len(by_id()) == number
        return list(by_id().values())

    [subscribed] = heard(1)
    assert (subscribed["plan"], subscribed["previousPlan"], subscribed["status"]) == ("scale", None, "active")
    workspace.change(plan="starter")
    _, changed, over = heard(3)
    assert (changed["plan"], changed["previousPlan"], changed["status"]) == ("starter", "scale", "active")
    assert {name: over[name] for name in ("kind", "held", "allowed", "excess", "reason")} == {
        "kind": "purchased_phone",
        "held": 2,
        "allowed": 1,
        "excess": 1,
        "reason": "above_included",
    }
    eventually(lambda: world.alarmed("OverPlan", workspace.id))
    workspace.change(status="past_due")
    unpaid = heard(4)[-1]
    assert (unpaid["status"], unpaid["previousStatus"]) == ("past_due", "active")
    assert {workspace.status(line_id) for line_id in phones} == {"active"}
    world.webhooks("drop")  # else the product may read one of these two changes before the other
    workspace.change(status="active", plan="scale")
    world.webhooks("deliver")
    world.reconcile()
    ended = heard(6)[-1]
    assert (ended["kind"], ended["excess"], ended["reason"]) == ("purchased_phone", 0, "within_plan")
