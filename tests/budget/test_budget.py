"""The exact cost of each request: round trips, calls, capacity units."""

from collections.abc import Iterator

import pytest

from benchmark.budget import Cost, measure
from benchmark.world import World


@pytest.fixture(scope="module")
def costs() -> Iterator[dict[str, Cost]]:
    with World() as world:
        yield measure(world)


@pytest.mark.parametrize(
    ("request_name", "status", "calls", "units", "stripe_calls"),
    [
        # calls: in a row and in all; units: read and written
        # 7: workspace, line and idempotency record at 2 each, and the line's entry in the index `due`.
        ("create_included", 201, (2, 2), (3, 7), 0),
        ("replay", 201, (2, 2), (3, 1), 0),
        ("conflict", 409, (2, 4), (5, 1), 1),
        ("refused", 403, (2, 3), (4, 1), 0),
        # One more than an included line's for its entry in the index `operator`, which keeps what waits.
        ("create_paid", 201, (6, 6), (4, 13), 3),
        ("get", 200, (1, 1), (2, 0), 0),
        ("poll_settled", 200, (1, 1), (2, 0), 0),
    ],
)
def test_request_costs_exact_calls_and_units(  # noqa: PLR0913 - the table's columns
    costs: dict[str, Cost],
    request_name: str,
    status: int,
    *,
    calls: tuple[int, int],
    units: tuple[float, float],
    stripe_calls: int,
) -> None:
    cost = costs[request_name]
    assert cost.answer["statusCode"] == status
    assert (cost.round_trips, cost.calls) == calls
    assert (cost.read_units, cost.write_units) == units
    assert cost.stripe_calls == stripe_calls
