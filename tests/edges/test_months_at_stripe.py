"""What lines are charged for over months when lists lag, lines are imported, or people change the subscription."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from line_requests.operator.refusal import Refused
from tests.edges.books import DAY_S, MONTH_S, PHONE, Books

if TYPE_CHECKING:
    from tests.support.shop import Shop

# --- lists that lag -----------------------------------------------------------------------------


def test_renewal_that_the_list_of_invoices_does_not_show_yet_is_charged_once(shop: Shop) -> None:
    """[52] The subscription names the invoice, which is read by its id."""
    books = Books(shop)
    books.paid_line()
    shop.double.advance(MONTH_S)
    renewal, *_ = shop.double.all_of("invoice")
    shop.double.keep_off_lists(renewal["id"])
    books.reconcile()
    start_s, end_s = books.period()
    assert books.charged() == {end_s: 1}
    shop.double.keep_off_lists()
    books.reconcile(DAY_S)
    assert [charge for charge in books.charges() if charge[1] >= start_s] == [(1500, start_s, end_s)]
    assert (books.charged(), books.quantities()) == ({end_s: 1}, {"month": 1})


def test_unlisted_renewal_of_a_subscription_that_has_ended_is_charged_once(shop: Shop) -> None:
    """[52] Each subscription names its invoice; the next one's first charge starts where that ends."""
    books = Books(shop)
    books.paid_line()
    shop.double.advance(MONTH_S)
    start_s, until_s = books.period()
    renewal, *_ = shop.double.all_of("invoice")
    shop.double.keep_off_lists(renewal["id"])
    books.v1.subscriptions.cancel(books.subscription)
    base: Any = {"customer": books.customer, "items": [{"price": books.bases["month"]}]}
    books.subscription = books.v1.subscriptions.create(base).id
    books.reconcile()
    _, end_s = books.period()
    charged = [charge[1:] for charge in books.charges() if charge[1] >= start_s]
    assert charged == [(start_s, until_s), (until_s, end_s)]
    assert (books.charged(), books.quantities()) == ({end_s: 1}, {"month": 1})


def test_payment_is_counted_without_any_list(shop: Shop) -> None:
    """[52] A line's own invoice is no renewal: its coverage is stored with the payment."""
    books = Books(shop)
    line = books.paid_line()
    assert line.invoice_id is not None
    _, end_s = books.period()
    shop.double.keep_off_lists(line.invoice_id)
    assert books.reconcile(DAY_S) == 0
    assert (books.charged(), books.quantities(), len(books.charges())) == ({end_s: 1}, {"month": 1}, 1)


def test_deleted_latest_invoice_is_none_of_the_renewals(shop: Shop) -> None:
    """[52] What the renewal did not charge is charged by a pending item."""
    books = Books(shop)
    books.paid_line()
    shop.double.advance(MONTH_S)
    shop.double.forget_invoice(shop.double.all_of("invoice")[0]["id"])
    books.reconcile()
    start_s, end_s = books.period()
    (charge,) = [charge for charge in books.charges() if charge[1] >= start_s]
    assert (charge[2], books.charged()) == (end_s, {end_s: 1})


# --- imports beside an add-on item --------------------------------------------------------------


def test_imported_line_beside_one_of_ours_is_renewed_and_charged_once(shop: Shop) -> None:
    """[50][52]"""
    books = Books(shop)
    books.paid_line()
    books.set_quantity(2)
    books.import_line()
    assert books.reconcile() == 0
    _, end_s = books.period()
    assert (books.quantities(), books.charged()) == ({"month": 2}, {end_s: 2})
    assert books.reconcile(MONTH_S) == 0
    start_s, end_s = books.period()
    assert [charge for charge in books.charges() if charge[1] >= start_s] == [(3000, start_s, end_s)]
    assert (books.quantities(), books.charged()) == ({"month": 2}, {end_s: 2})


def test_import_waits_until_the_reconciler_has_counted_the_renewal(shop: Shop) -> None:
    """[52] Else the renewal's quantity would count the imported place once more, and a further one would be free."""
    books = Books(shop)
    books.paid_line()
    books.set_quantity(2)
    shop.double.advance(MONTH_S)
    with pytest.raises(Refused, match="has not counted yet what sub_"):
        books.import_line()
    assert len(shop.world.lines.of_workspace("acme")) == 1
    assert books.reconcile() == 1, "as no line explains the second place"
    books.set_quantity(2)
    books.import_line()
    _, end_s = books.period()
    assert books.charged() == {end_s: 2}, "both by the renewal"
    assert books.reconcile() == 0
    assert (books.quantities(), books.charged()) == ({"month": 2}, {end_s: 2})


# --- another interval ---------------------------------------------------------------------------


def to_months(books: Books, **params: Any) -> None:  # noqa: ANN401 - those of an update
    """As a person changes plan and add-on to the month at Stripe."""
    ids = books.item_ids()
    changes = [{"id": ids[prices["year"]], "price": prices["month"]} for prices in (books.bases, books.add_ons)]
    update: Any = {"items": changes} | params
    books.v1.subscriptions.update(books.subscription, update)


@pytest.mark.parametrize(("behavior", "credit"), [("create_prorations", True), ("none", False)])
def test_change_from_year_to_month_keeps_what_the_year_has_charged(shop: Shop, behavior: str, *, credit: bool) -> None:
    """[52] Stripe charges a month at once, and credits the rest of the year if it is told to: both stand."""
    books = Books(shop, "year")
    books.paid_line()
    books.reconcile(366 * DAY_S)
    year_s, year_end_s = books.period()
    assert books.charged() == {year_end_s: 1}

    shop.double.advance(75 * DAY_S)
    to_months(books, proration_behavior=behavior)
    assert books.reconcile() == 1
    month_s, month_end_s = books.period()
    assert books.charged() == {month_end_s: 1, year_end_s: 1}
    assert books.quantities() == {}, "no renewal charges a place that the year has charged"
    books.reconcile(200 * DAY_S)
    while books.period()[1] < year_end_s:
        books.reconcile(books.period()[1] - books.now_ms // 1000)
    _, next_s = books.period()
    books.reconcile(next_s - books.now_ms // 1000)
    _, end_s = books.period()

    year, month, *credited, rest, renewal = [charge for charge in books.charges() if charge[1] >= year_s]
    assert year == (15_000, year_s, year_end_s)
    assert month == (1500, month_s, month_end_s)
    assert [(amount < 0, *time) for amount, *time in credited] == ([(True, month_s, year_end_s)] if credit else [])
    assert rest[1:] == (year_end_s, next_s)
    assert renewal == (1500, next_s, end_s)
    assert (books.quantities(), books.charged()) == ({"month": 1}, {end_s: 1})


def test_change_to_the_month_that_deletes_the_add_on_s_item_charges_nothing_for_lines(shop: Shop) -> None:
    """[52] As docs/billing.md says to change it."""
    books = Books(shop, "year")
    books.paid_line()
    _, year_end_s = books.period()
    shop.double.advance(75 * DAY_S)
    ids = books.item_ids()
    base, add_on = {"id": ids[books.bases["year"]], "price": books.bases["month"]}, {"id": ids[books.add_ons["year"]]}
    update: Any = {"items": [base, add_on | {"deleted": True}], "proration_behavior": "none"}
    books.v1.subscriptions.update(books.subscription, update)
    assert books.reconcile() == 0
    assert books.reconcile(MONTH_S) == 0
    assert (len(books.charges()), books.charged()) == (1, {year_end_s: 1}), "the line's own invoice"


# --- another add-on price -----------------------------------------------------------------------


def test_add_on_price_that_a_plan_changes_is_charged_from_the_next_renewal_on(shop: Shop) -> None:
    """[50][52] The renewal before it is seen charges the former price, and the period is charged."""
    books = Books(shop)
    books.paid_line()
    former = books.sell_lines_at(2000)
    shop.double.advance(MONTH_S)
    start_s, end_s = books.period()
    assert books.reconcile() == 2, "the item of the former price goes, and that of the present one comes"
    assert [charge for charge in books.charges() if charge[1] >= start_s] == [(1500, start_s, end_s)]
    assert (books.charged(), books.quantities()) == ({end_s: 1}, {"month": 1})
    assert former not in books.item_ids()
    assert books.reconcile(MONTH_S) == 0
    assert books.charges()[-1] == (2000, *books.period())


def test_item_of_a_former_price_that_people_added_goes_with_it(shop: Shop) -> None:
    """[50] It would be billed beside that of the present price."""
    books = Books(shop)
    former = books.add_ons["month"]
    legacy: Any = {"subscription": books.subscription, "price": former, "proration_behavior": "none"}
    books.v1.subscription_items.create(legacy)
    books.import_line()
    assert books.reconcile() == 0
    books.sell_lines_at(2000)
    books.sell_lines_at(2500)
    shop.double.advance(MONTH_S)
    assert books.reconcile() == 2
    assert (books.quantities(), former in books.item_ids()) == ({"month": 1}, False)


def test_plan_names_each_former_add_on_price_once(shop: Shop) -> None:
    """[52] The present one is none of them."""
    books = Books(shop)
    first = books.sell_lines_at(2000)
    second = books.sell_lines_at(2500)
    third = books.sell_lines_at(2000, second)
    books.sell_lines_at(2500, third)
    books.sell_lines_at(2500, third)
    former = {plan.name: plan.former_add_ons for plan in shop.product.stores.plans.all()}
    assert former == {"month": {PHONE: (second, first)}, "year": {}}


def test_former_add_on_price_that_becomes_a_base_price_is_none_of_an_add_on(shop: Shop) -> None:
    """[50] Its item stays."""
    books = Books(shop)
    former = books.sell_lines_at(2000)
    books.bases["month"], replaced = former, books.bases["month"]
    books.sell_lines_at(2000, books.add_ons["month"])
    update: Any = {"price": former, "proration_behavior": "none"}
    books.v1.subscription_items.update(books.item_ids()[replaced], update)
    assert books.reconcile() == 0
    books.paid_line()
    assert (former in books.item_ids(), books.quantities()) == (True, {"month": 1})


# --- the last item of a subscription ------------------------------------------------------------


def test_last_item_of_another_subscription_is_set_to_zero(shop: Shop) -> None:
    """[50] Stripe refuses to delete it; it is billed for nothing, and each run leaves it."""
    books = Books(shop)
    books.paid_line()
    ours: Any = {"price": books.add_ons["month"], "quantity": 2, "metadata": {"line_requests": "add_on"}}
    other = books.v1.subscriptions.create({"customer": books.customer, "items": [ours]}).id
    assert books.reconcile() == 1
    assert (books.quantities(), books.quantities(other)) == ({"month": 1}, {"month": 0})
    assert books.reconcile() == 0
    assert books.reconcile(MONTH_S) == 0
    start_s, end_s = books.period()
    assert [charge for charge in books.charges() if charge[1] >= start_s] == [(1500, start_s, end_s)]


def delete_base(books: Books) -> None:
    books.v1.subscription_items.delete(books.item_ids()[books.bases["month"]], {"proration_behavior": "none"})


def test_quantity_stays_while_a_line_needs_it_and_no_plan_is_known(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    """[17][50] An alarm asks for an operator; with the base price back, nothing is charged again."""
    books = Books(shop)
    books.paid_line()
    delete_base(books)
    capsys.readouterr()
    assert books.reconcile() == 0
    assert '"UnknownBasePrice":[1.0]' in capsys.readouterr().out
    assert books.reconcile(MONTH_S) == 0
    assert books.quantities() == {"month": 1}
    start_s, end_s = books.period()
    base: Any = {"subscription": books.subscription, "price": books.bases["month"], "proration_behavior": "none"}
    books.v1.subscription_items.create(base)
    assert books.reconcile() == 0
    assert [charge for charge in books.charges() if charge[1] >= start_s] == [(1500, start_s, end_s)]
    assert (books.quantities(), books.charged()) == ({"month": 1}, {end_s: 1})


def test_quantity_falls_to_zero_with_the_last_line_also_if_no_plan_is_known(shop: Shop) -> None:
    """[50][63] Without lines nothing is owed under any plan."""
    books = Books(shop)
    line = books.paid_line()
    delete_base(books)
    books.reconcile()
    shop.world.lines.release(line, "released_by_client", books.now_ms)
    assert books.reconcile() == 1
    assert books.quantities() == {"month": 0}
    assert books.reconcile(MONTH_S) == 0
    assert len(books.charges()) == 1, "the line's own invoice"


# --- a checkout that is given up ----------------------------------------------------------------


def test_checkout_that_is_given_up_hides_no_subscription_that_is_past_due(shop: Shop) -> None:
    """[46][52][54] Its lines are charged for each period, and a request goes on waiting."""
    books = Books(shop)
    books.paid_line()
    shop.submit("waits", at=books.clock())
    old, starts_s = books.subscription, list[int]()
    shop.double.set_payments(books.customer, succeed=False, in_the_end="past_due")
    unfinished: Any = {"customer": books.customer, "items": [{"price": books.bases["month"]}]}
    for _ in range(2):
        shop.double.advance(MONTH_S)
        books.v1.subscriptions.create(unfinished | {"payment_behavior": "default_incomplete"})
        starts_s.append(books.period()[0])
        for _ in range(2):  # incomplete, then expired
            books.reconcile(DAY_S)
            subscription = shop.world.now().subscription
            assert subscription is not None
            assert (subscription.id, books.quantities(old)) == (old, {"month": 1})
    *firsts, one, two = sorted(start_s for _, start_s, _ in books.charges())
    assert ([one, two], len(firsts)) == (starts_s, 2)
    assert [line.awaiting for line in shop.world.lines.of_workspace("acme")].count(True) == 1
