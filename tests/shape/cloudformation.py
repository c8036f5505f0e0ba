"""Read a translated template: its resources by type, its conditions decided, what each role may do."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

Json = Any
Translate = Callable[..., Json]

# As with every parameter at its default, but for browsers and alarms.
CONDITIONS = {
    "AllowsBrowsers": True,
    "CreatesTable": True,
    "HasAlarmTopic": True,
    "HasDomain": False,
    "HasSecretKey": False,
    "ReservesReconciler": False,
}


def of_type(resources: Json, kind: str) -> dict[str, Json]:
    return {name: resource["Properties"] for name, resource in resources.items() if resource["Type"] == kind}


def decided(value: Json, **conditions: bool) -> Json:
    """The value with each Fn::If replaced by the branch that the conditions choose."""
    return _decided(value, CONDITIONS | conditions)


def _decided(value: Json, conditions: Mapping[str, bool]) -> Json:
    if isinstance(value, list):
        return [_decided(item, conditions) for item in value]
    if not isinstance(value, dict):
        return value
    if set(value) == {"Fn::If"}:
        condition, then, otherwise = value["Fn::If"]
        return _decided(then if conditions[condition] else otherwise, conditions)
    return {name: _decided(item, conditions) for name, item in value.items()}


def statements(resources: Json, function: str) -> Iterator[tuple[set[str], Json]]:
    """Each statement of a function's role with its actions, but for the managed policies'."""
    for policy in resources[f"{function}Role"]["Properties"].get("Policies", []):
        document = decided(policy["PolicyDocument"]["Statement"])
        for statement in document if isinstance(document, list) else [document]:
            actions = statement["Action"]
            yield {actions} if isinstance(actions, str) else set(actions), statement
