"""What the oracle says where histories meet it seldom."""

import pytest

from tests.proof.ledger import charged, oracle
from tests.proof.ledger.history import Charge, History, Line, Plan, Reconcile, State

MONTH = Plan("month", {"purchased_phone": (1, "any"), "email": (0, "any")})
YEAR = Plan("year", {"purchased_phone": (1, "phone_year"), "email": (1, "email_year")})
UNIT_AMOUNTS = {price: {"usd": 1000} for price in ("any", "phone_year", "email_year")}


def state(at_s: int, plan: Plan, end_s: int) -> State:
    return State(at_s, "sub_1", "active", plan, "usd", (at_s, end_s), 0)


def test_renewal_has_charged_the_place_that_a_request_takes_once_it_is_included() -> None:
    """[50] [52] The reconcile that reads the renewal fails before it includes the request."""
    history = History(
        UNIT_AMOUNTS,
        [state(0, MONTH, 100), state(100, MONTH, 200), state(110, YEAR, 1000)],
        [0],
        {
            "phone": Line("purchased_phone", 10, settled_s=10, paid=True),
            "email": Line("email", 20, settled_s=20, paid=True),
            "another": Line("email", 90, settled_s=130),
        },
        [Reconcile(50), Reconcile(120, frozenset(), frozenset()), Reconcile(130)],
    )
    pending = [charge.period for charge in oracle.charges(history) if charge.what.startswith("pending")]
    assert pending == [(200, 1000)]


@pytest.mark.parametrize(("places", "equal"), [(1, False), (2, True)])
def test_places_that_are_rounded_to_nothing_make_no_item(places: int, *, equal: bool) -> None:
    """[51] Together they would be rounded up."""
    due = Charge("pending phone_large", (0, 3072), "kwd", 10, 6144, places)
    assert (not charged.compare([due], []).where) is equal
