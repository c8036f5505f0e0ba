"""Prices, their quantities and currencies"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.assumptions.experiments.subscriptions import NO_PRORATION, invoices_of, items_of
from tests.assumptions.registry import accepted, assumption, expect, refused, single

if TYPE_CHECKING:
    from tests.assumptions.account import Account


def new_price_in_two_currencies(account: Account) -> str:
    """Return a monthly price of $15.00 or 14.00 €."""
    return account.new_price(
        params={
            "product": account.new_product(),
            "currency": "usd",
            "currency_options": {"eur": {"unit_amount": 1400}},
        }
    )


@assumption(
    source="stripe.params.SubscriptionItemCreateParams.quantity",
    if_true="A base price with quantity 0 entitles to nothing, and costs nothing.",
    if_false="Nothing: the product sets 0 by deleting the item.",
)
def item_quantity_may_be_zero(account: Account) -> None:
    """An item's quantity can be set to 0 and stays on the subscription."""
    subscription = account.new_subscription(account.new_customer(), account.new_price(), account.new_price(900))
    item = items_of(subscription)[1]
    with accepted("quantity 0"):
        account.v1.subscription_items.update(item.id, {"quantity": 0, "proration_behavior": NO_PRORATION})

    now = items_of(account.v1.subscriptions.retrieve(subscription.id))
    expect("quantities", [i.quantity for i in now], [1, 0])


@assumption(
    source="stripe.Price.currency_options",
    if_true="`plans apply` stores the amount of each currency; the first charge uses the subscription's.",
    if_false="Plans would need a price per currency.",
)
def price_has_an_amount_per_currency(account: Account) -> None:
    """A price's currency_options, shown when expanded, hold the amount of each of its currencies."""
    price = new_price_in_two_currencies(account)
    shown = account.v1.prices.retrieve(price, {"expand": ["currency_options"]})

    options = shown.to_dict()["currency_options"]
    expect("amounts", {currency: options[currency]["unit_amount"] for currency in options}, {"usd": 1500, "eur": 1400})


@assumption(
    source="stripe.params.SubscriptionCreateParams.currency",
    if_true="The subscription's currency, not the price's, is the currency of a line's first charge.",
    if_false="The first charge would be in another currency than the renewals.",
)
def subscription_charges_in_its_own_currency(account: Account) -> None:
    """A subscription in a currency of its price's currency_options charges that amount."""
    price = new_price_in_two_currencies(account)
    subscription = account.new_subscription(account.new_customer(), price, params={"currency": "eur"})
    invoice = single("invoices", invoices_of(account, subscription))

    expect("currency", subscription.currency, "eur")
    expect("invoice", (invoice.currency, invoice.total), ("eur", 1400))


@assumption(
    source="stripe.params.SubscriptionItemUpdateParams.price",
    if_true="A customer who switches the base plan keeps its item and gets quantity 1; add-ons are other items.",
    if_false="A base price with another quantity would have to be read as several plans.",
)
def price_change_sets_the_quantity_to_one(account: Account) -> None:
    """Changing an item's price without a quantity sets it to 1."""
    subscription = account.new_subscription(account.new_customer(), account.new_price())
    item = single("items", items_of(subscription))
    account.v1.subscription_items.update(item.id, {"quantity": 4, "proration_behavior": NO_PRORATION})
    changed = account.v1.subscription_items.update(
        item.id, {"price": account.new_price(2000), "proration_behavior": NO_PRORATION}
    )

    expect("item and quantity", (changed.id, changed.quantity), (item.id, 1))


@assumption(
    source="stripe.Price.active",
    if_true="`plans apply` refuses an inactive price: the first reconcile could not add it.",
    if_false="An archived add-on price would go on being charged.",
)
def inactive_price_is_refused_for_a_new_item(account: Account) -> None:
    """A subscription item with an archived price is refused with 400."""
    subscription, price = account.new_subscription(account.new_customer(), account.new_price()), account.new_price()
    account.v1.prices.update(price, {"active": False})

    with refused(400):
        account.v1.subscription_items.create({"subscription": subscription.id, "price": price, "quantity": 1})


@assumption(
    source="stripe.Product.active",
    if_true="`plans apply` refuses an inactive product: the line's invoice item would be refused.",
    if_false="An archived product could still be sold.",
)
def inactive_product_is_refused_for_an_inline_price(account: Account) -> None:
    """An invoice item with price_data of an archived product is refused with 400."""
    customer, product = account.new_customer(), account.new_product()
    account.v1.products.update(product, {"active": False})
    draft = account.new_draft(customer, amount=None)

    with refused(400):
        account.v1.invoice_items.create(
            {
                "customer": customer,
                "invoice": draft.id,
                "price_data": {"currency": "usd", "product": product, "unit_amount": 733},
            }
        )
