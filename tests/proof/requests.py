"""Prints every request that the product makes of the table in some scenarios, and the items it met, as JSON."""

import json

from tests.proof.actors import Place
from tests.proof.laboratory import Laboratory
from tests.proof.world import DynamoDb

SCENARIOS = (
    "room/create-A",
    "full/create-A",
    "waiting/create-B",
    "waiting/poll+pay",
    "waiting/cancel",
    "waiting/end",
    "waiting/upgrade",
    "waiting/reconcile+pay-unheard",
    "provisioning/not-provisioned",
    "provisioning/provisioned",
    "old-draft/reconcile",
    "refusing/create-A",
)


def main() -> None:
    """Explores, then collects."""
    laboratory = Laboratory()
    found: dict[str, object] = {}
    for name in SCENARIOS:
        outcome = laboratory.explore(name, 10_000)
        assert not outcome.failure, outcome.failure
        for stored in laboratory.begins(name).table.items.values():
            found[f"item {stored.digest}"] = ["item", stored.item]
    for step in _steps(laboratory.cast.places()):
        request = {name: value for name, value in step.request.items() if name != "ClientRequestToken"}
        found[f"{step.operation} {json.dumps(request, sort_keys=True)}"] = [step.operation, request]
    print(json.dumps(list(found.values())))


def _steps(places: list[Place]) -> list[DynamoDb]:
    return [step for place in places for step in place.pending.values() if isinstance(step, DynamoDb)]


if __name__ == "__main__":
    main()
