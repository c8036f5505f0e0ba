"""Products, prices, tax rates and customers."""

from __future__ import annotations

import copy
from decimal import Decimal
from functools import partial

from .account import Account, merge_metadata, whole_list
from .errors import Json, bad_request, missing
from .objects import CUSTOMER, PRODUCT


def create_product(account: Account, params: Json) -> Json:
    """POST /v1/products."""
    product_id = params.get("id")
    if product_id in account.tables["product"]:
        raise bad_request("Product already exists.", "id", "resource_already_exists")
    fields = copy.deepcopy(PRODUCT) | {"updated": account.now()}
    fields |= _given(params, "id", "expand", "default_price_data")
    product = account.add("product", fields | _metadata(params), product_id)
    account.emit("product.created", product)
    if data := params.get("default_price_data"):
        product["default_price"] = create_price(account, data | {"product": product["id"]})["id"]
    return product


def update_product(account: Account, params: Json, product_id: str) -> Json:
    """POST /v1/products/{id}."""
    return _update(account, "product", params, product_id)


def create_price(account: Account, params: Json) -> Json:
    """POST /v1/prices."""
    if "product_data" in params:
        product_id = create_product(account, params["product_data"])["id"]
    elif "product" in params:
        product_id = account.get("product", params["product"], "product")["id"]
    else:
        raise missing("product")
    tiers = params.get("tiers")
    unit_amount = _unit_amount(params)
    if unit_amount is None and not tiers and "custom_unit_amount" not in params:
        raise missing("unit_amount")
    price = add_price(account, params, product_id, unit_amount)
    account.hidden[price["id"]] |= {
        "currency_options": _currency_options(params, price),
        "tiers": tiers and [_tier(tier) for tier in tiers],
    }
    account.emit("price.created", price)
    return price


def add_price(account: Account, params: Json, product_id: str, unit_amount: Decimal | None) -> Json:
    """Store a price from checked parameters (also an inline one of `price_data`)."""
    recurring = params.get("recurring")
    if recurring:
        defaults = {"interval_count": 1, "meter": None, "trial_period_days": None}
        recurring = defaults | {"usage_type": "licensed"} | recurring
    whole = unit_amount is not None and unit_amount == int(unit_amount)
    fields: Json = {
        "active": params.get("active", True),
        "billing_scheme": params.get("billing_scheme", "per_unit"),
        "currency": params["currency"].lower(),
        "custom_unit_amount": None,
        "lookup_key": params.get("lookup_key"),
        "nickname": params.get("nickname"),
        "product": product_id,
        "recurring": recurring,
        "tax_behavior": params.get("tax_behavior", "unspecified"),
        "tiers_mode": params.get("tiers_mode"),
        "transform_quantity": params.get("transform_quantity"),
        "type": "recurring" if recurring else "one_time",
        "unit_amount": int(unit_amount) if unit_amount is not None and whole else None,
        "unit_amount_decimal": None if unit_amount is None else f"{unit_amount.normalize():f}",
    }
    return account.add("price", fields | _metadata(params))


def amount_in(account: Account, price: Json, currency: str, param: str) -> Decimal:
    """Return what one unit costs in a currency: the price's own, or one of its `currency_options`.

    "Prices defined in each available currency option": docstring of stripe.Price.currency_options.
    """
    if currency == price["currency"]:
        return Decimal(price["unit_amount_decimal"] or 0)
    option = account.hidden[price["id"]].get("currency_options", {}).get(currency)
    if option is None:
        message = f"The price specified supports currencies of `{price['currency']}`, not `{currency}`."
        raise bad_request(message, param)
    return Decimal(option["unit_amount_decimal"])


def plan_of(price: Json) -> Json:
    """Return a recurring price as the plan that Stripe still shows beside it."""
    shared = ("active", "billing_scheme", "created", "currency", "livemode", "metadata", "nickname", "product")
    return {
        "id": price["id"],
        "object": "plan",
        "amount": price["unit_amount"],
        "amount_decimal": price["unit_amount_decimal"],
        "tiers_mode": price["tiers_mode"],
        "transform_usage": price["transform_quantity"],
        **{name: price[name] for name in shared},
        **price["recurring"],
    }


def inline_price(account: Account, data: Json, param: str) -> Json:
    """Store the price behind a `price_data` parameter."""
    product_id = account.get("product", data["product"], f"{param}[product]")["id"]
    require_sold(account, product_id, f"{param}[product]")
    unit_amount = _unit_amount(data)
    if unit_amount is None:
        raise missing(f"{param}[unit_amount]")
    return add_price(account, data | {"active": False}, product_id, unit_amount)


def require_sold(account: Account, product_id: str, param: str) -> None:
    """Refuse an archived product: docs.stripe.com/error-codes#product-inactive; that this is its code: assumed."""
    if not account.tables["product"][product_id]["active"]:
        raise bad_request(f"The product `{product_id}` is not active.", param, "product_inactive")


def update_price(account: Account, params: Json, price_id: str) -> Json:
    """POST /v1/prices/{id}."""
    return _update(account, "price", params, price_id)


def list_prices(account: Account, params: Json) -> Json:
    """GET /v1/prices."""
    equal = _equal(params, "active", "currency", "product", "type")
    wanted = params.get("lookup_keys")
    recurring = params.get("recurring", {})

    def keep(price: Json) -> bool:
        return (
            all(price[key] == value for key, value in equal.items())
            and (wanted is None or price["lookup_key"] in wanted)
            and all((price["recurring"] or {}).get(k) == v for k, v in recurring.items())
        )

    return account.page("price", params, "/v1/prices", keep)


def list_products(account: Account, params: Json) -> Json:
    """GET /v1/products."""
    ids, active = params.get("ids"), params.get("active")
    return account.page(
        "product",
        params,
        "/v1/products",
        lambda p: (ids is None or p["id"] in ids) and active in (None, p["active"]),
    )


def create_tax_rate(account: Account, params: Json) -> Json:
    """POST /v1/tax_rates."""
    percentage = float(params["percentage"])
    fields: Json = {
        "active": True,
        "country": None,
        "description": None,
        "effective_percentage": percentage,
        "flat_amount": None,
        "jurisdiction": None,
        "jurisdiction_level": None,
        "rate_type": "percentage",
        "state": None,
        "tax_type": None,
    }
    fields |= _given(params, "expand") | {"percentage": percentage}
    return account.add("tax_rate", fields | _metadata(params))


def _running(account: Account, customer_id: str) -> Json:
    found = [each for each in account.newest("subscription") if _runs_for(each, customer_id)]
    return whole_list(f"/v1/customers/{customer_id}/subscriptions", found)


def create_customer(account: Account, params: Json) -> Json:
    """POST /v1/customers; a negative `balance` is credit."""
    fields = copy.deepcopy(CUSTOMER)
    fields |= _given(params, *_NOT_STORED) | {"invoice_settings": _invoice_settings(params, {})}
    customer = account.add("customer", fields | _metadata(params))
    customer["invoice_prefix"] = customer["id"][-8:].upper()
    account.hidden[customer["id"]]["subscriptions"] = partial(_running, account, customer["id"])
    account.emit("customer.created", customer)
    return customer


def retrieve_customer(account: Account, _params: Json, customer_id: str) -> Json:
    """GET /v1/customers/{id}; a deleted one is still answered, as a stub."""
    customer = account.get("customer", customer_id)
    if customer.get("deleted"):
        return {"id": customer_id, "object": "customer", "deleted": True}
    return customer


def update_customer(account: Account, params: Json, customer_id: str) -> Json:
    """POST /v1/customers/{id}."""
    customer = living_customer(account, customer_id)
    if "invoice_settings" in params:
        settings = _invoice_settings(params, customer["invoice_settings"])
        params = params | {"invoice_settings": settings}
    return _update(account, "customer", params, customer_id, *_NOT_STORED)


def list_customers(account: Account, params: Json) -> Json:
    """GET /v1/customers."""
    email = params.get("email")
    return account.page("customer", params, "/v1/customers", lambda c: email in (None, c["email"]))


def living_customer(account: Account, customer_id: str) -> Json:
    """Return the customer of the path unless it is deleted."""
    customer = account.get("customer", customer_id)
    if customer.get("deleted"):
        raise bad_request(f"No such customer: '{customer_id}'", "id", "resource_missing")
    return customer


_NOT_STORED = ("expand", "payment_method", "source", "tax_id_data", "tax", "cash_balance")


def _runs_for(subscription: Json, customer_id: str) -> bool:
    return bool(subscription["customer"] == customer_id and subscription["status"] != "canceled")


def _invoice_settings(params: Json, current: Json) -> Json:
    empty = {
        "custom_fields": None,
        "default_payment_method": None,
        "footer": None,
        "rendering_options": None,
    }
    given: Json = params.get("invoice_settings", {})
    return empty | current | given


def _update(account: Account, kind: str, params: Json, object_id: str, *unstored: str) -> Json:
    stored = account.get(kind, object_id)
    fields = {
        key: None if value == "" else value
        for key, value in params.items()
        if key not in ("expand", "metadata", "transfer_lookup_key", *unstored)
    }
    if "metadata" in params:
        fields["metadata"] = merge_metadata(stored["metadata"], params["metadata"])
    account.change(f"{kind}.updated", stored, fields)
    return stored


def _given(params: Json, *without: str) -> Json:
    return {key: value for key, value in params.items() if key not in without and value != ""}


def _metadata(params: Json) -> Json:
    return {"metadata": merge_metadata({}, params.get("metadata"))}


def _equal(params: Json, *names: str) -> Json:
    return {name: params[name] for name in names if name in params}


def _unit_amount(params: Json) -> Decimal | None:
    given = params.get("unit_amount_decimal", params.get("unit_amount"))
    if given is not None and given < 0:
        raise bad_request(f"Invalid non-negative integer: {given}", "unit_amount", "parameter_invalid_integer")
    return None if given is None else Decimal(given)


def _currency_options(params: Json, price: Json) -> Json:
    """Return the prices in each currency; the price's own is among them, as Stripe shows it."""
    given: Json = {price["currency"]: params} | params.get("currency_options", {})
    options = {}
    for currency, option in given.items():
        unit = _unit_amount(option)
        options[currency] = {
            "custom_unit_amount": None,
            "tax_behavior": option.get("tax_behavior", "unspecified"),
            "unit_amount": None if unit is None or unit != int(unit) else int(unit),
            "unit_amount_decimal": None if unit is None else f"{unit.normalize():f}",
        }
    return options


def _tier(tier: Json) -> Json:
    def number(name: str) -> str | int | None:
        value = tier.get(name)
        return None if value is None else str(value) if name.endswith("decimal") else int(value)

    unit = _unit_amount(tier)
    return {
        "flat_amount": number("flat_amount"),
        "flat_amount_decimal": None if "flat_amount" not in tier else str(tier["flat_amount"]),
        "unit_amount": number("unit_amount"),
        "unit_amount_decimal": None if unit is None else str(unit),
        "up_to": None if tier["up_to"] == "inf" else tier["up_to"],
    }
