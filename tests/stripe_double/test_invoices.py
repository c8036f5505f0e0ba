from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import stripe

if TYPE_CHECKING:
    from tests.stripe_double.shop import Shop


def test_draft_has_no_hosted_page(shop: Shop) -> None:
    invoice = shop.v1.invoices.retrieve(shop.draft())

    assert (invoice.status, invoice.hosted_invoice_url, invoice.number) == ("draft", None, None)


def test_finalize_opens_invoice_with_hosted_page(shop: Shop) -> None:
    invoice = shop.open_invoice()

    assert (invoice.status, invoice.amount_due, invoice.amount_remaining) == ("open", 1500, 1500)
    assert invoice.hosted_invoice_url is not None
    assert invoice.hosted_invoice_url.startswith(shop.double.url)
    assert not {"?", "#"} & set(invoice.hosted_invoice_url)
    assert shop.events_about(invoice.id) == ["invoice.created", "invoice.updated", "invoice.finalized"]


def test_finalize_refused_unless_draft(shop: Shop) -> None:
    invoice = shop.open_invoice()

    with pytest.raises(stripe.InvalidRequestError) as refused:
        shop.v1.invoices.finalize_invoice(invoice.id)

    assert (refused.value.http_status, refused.value.code) == (400, "invoice_not_editable")


def test_finalize_pays_zero_invoice(shop: Shop) -> None:
    invoice = shop.open_invoice(amount=0)

    assert (invoice.status, invoice.amount_paid) == ("paid", 0)
    assert shop.events_about(invoice.id)[-3:] == ["invoice.finalized", "invoice.paid", "invoice.payment_succeeded"]


def test_finalize_pays_invoice_covered_by_balance(shop: Shop) -> None:
    customer = shop.customer(balance=-2000)

    invoice = shop.open_invoice(customer)

    assert (invoice.status, invoice.total, invoice.amount_due) == ("paid", 1500, 0)
    assert shop.v1.customers.retrieve(customer).balance == -500


def test_finalize_lowers_amount_due_by_balance(shop: Shop) -> None:
    invoice = shop.open_invoice(shop.customer(balance=-500))

    assert (invoice.status, invoice.amount_due) == ("open", 1000)


def test_void_returns_applied_balance(shop: Shop) -> None:
    customer = shop.customer(balance=-500)
    invoice = shop.open_invoice(customer)

    assert shop.v1.invoices.void_invoice(invoice.id).status == "void"

    assert shop.v1.customers.retrieve(customer).balance == -500
    assert shop.events_about(invoice.id)[-1] == "invoice.voided"


def test_saved_card_is_charged_only_with_auto_advance(shop: Shop) -> None:
    customer = shop.v1.customers.create({"invoice_settings": {"default_payment_method": "pm_card_visa"}}).id

    assert shop.open_invoice(customer).status == "open"
    charged = shop.v1.invoices.finalize_invoice(shop.draft(customer), {"auto_advance": True})

    assert charged.status == "paid"


def test_pay_refused_when_already_paid(shop: Shop) -> None:
    invoice = shop.open_invoice()

    paid = shop.v1.invoices.pay(invoice.id)

    assert (paid.status, paid.amount_paid, paid.amount_remaining) == ("paid", 1500, 0)
    assert shop.events_about(invoice.id)[-2:] == ["invoice.paid", "invoice.payment_succeeded"]
    with pytest.raises(stripe.InvalidRequestError):
        shop.v1.invoices.pay(invoice.id)


def test_void_refused_when_paid(shop: Shop) -> None:
    invoice = shop.open_invoice()
    shop.double.pay_invoice(invoice.id)

    with pytest.raises(stripe.InvalidRequestError) as refused:
        shop.v1.invoices.void_invoice(invoice.id)

    assert refused.value.http_status == 400


def test_draft_is_deleted_not_voided(shop: Shop) -> None:
    draft = shop.draft()

    with pytest.raises(stripe.InvalidRequestError):
        shop.v1.invoices.void_invoice(draft)
    assert shop.v1.invoices.delete(draft).deleted

    with pytest.raises(stripe.InvalidRequestError) as gone:
        shop.v1.invoices.retrieve(draft)
    assert (gone.value.http_status, gone.value.code, gone.value.param) == (404, "resource_missing", "id")
    assert shop.events_about(draft)[-1] == "invoice.deleted"


def test_forgotten_invoice_is_404(shop: Shop) -> None:
    invoice = shop.open_invoice()
    shop.double.forget_invoice(invoice.id)

    with pytest.raises(stripe.InvalidRequestError) as gone:
        shop.v1.invoices.retrieve(invoice.id)

    assert gone.value.http_status == 404


def test_delete_refused_unless_draft(shop: Shop) -> None:
    with pytest.raises(stripe.InvalidRequestError) as refused:
        shop.v1.invoices.delete(shop.open_invoice().id)

    assert refused.value.code == "invoice_not_editable"


@pytest.mark.parametrize(("step", "status"), [("pay", "paid"), ("void_invoice", "void")])
def test_uncollectible_invoice_is_payable_and_voidable(shop: Shop, step: str, status: str) -> None:
    invoice = shop.open_invoice()
    assert shop.v1.invoices.mark_uncollectible(invoice.id).status == "uncollectible"

    assert getattr(shop.v1.invoices, step)(invoice.id).status == status
    assert "invoice.marked_uncollectible" in shop.events_about(invoice.id)


def test_void_refused_while_bank_debit_is_in_progress(shop: Shop) -> None:
    invoice = shop.open_invoice()
    shop.double.start_bank_debit(invoice.id)

    with pytest.raises(stripe.InvalidRequestError):
        shop.v1.invoices.void_invoice(invoice.id)
    assert shop.v1.invoices.retrieve(invoice.id).status == "open"

    shop.double.settle_bank_debit(invoice.id, succeeded=True)
    assert shop.v1.invoices.retrieve(invoice.id).status == "paid"


def test_failed_bank_debit_leaves_invoice_open_and_voidable(shop: Shop) -> None:
    invoice = shop.open_invoice()
    shop.double.start_bank_debit(invoice.id)

    shop.double.settle_bank_debit(invoice.id, succeeded=False)

    assert shop.events_about(invoice.id)[-1] == "invoice.payment_failed"
    assert shop.v1.invoices.void_invoice(invoice.id).status == "void"


def test_tax_rate_is_added_to_amount_due(shop: Shop) -> None:
    rate = shop.v1.tax_rates.create({"display_name": "VAT", "percentage": 20, "inclusive": False})
    draft = shop.draft(amount=None)
    customer = str(shop.v1.invoices.retrieve(draft).customer)
    shop.v1.invoice_items.create({"customer": customer, "invoice": draft, "amount": 1000, "tax_rates": [rate.id]})

    invoice = shop.v1.invoices.finalize_invoice(draft)

    assert (invoice.subtotal, invoice.total, invoice.amount_due) == (1000, 1200, 1200)
    assert invoice.lines.data[0].amount == 1000


def test_automatic_tax_needs_customer_address(shop: Shop) -> None:
    customer = shop.customer()

    with pytest.raises(stripe.InvalidRequestError) as refused:
        shop.v1.invoices.create({"customer": customer, "automatic_tax": {"enabled": True}})
    assert refused.value.code == "customer_tax_location_invalid"

    shop.v1.customers.update(customer, {"address": {"country": "US", "postal_code": "94110"}})
    invoice = shop.v1.invoices.create({"customer": customer, "automatic_tax": {"enabled": True}})
    assert invoice.automatic_tax.status == "complete"


def test_unknown_customer_is_400_naming_the_parameter(shop: Shop) -> None:
    with pytest.raises(stripe.InvalidRequestError) as refused:
        shop.v1.invoices.create({"customer": "cus_nobody"})

    error = refused.value
    assert (error.http_status, error.code, error.param) == (400, "resource_missing", "customer")


def test_invoice_list_is_filtered_and_newest_first(shop: Shop) -> None:
    customer = shop.customer()
    first, second = shop.open_invoice(customer), shop.open_invoice(customer)
    shop.draft(customer)
    shop.open_invoice()

    found = shop.v1.invoices.list({"customer": customer, "status": "open"})

    assert [invoice.id for invoice in found.data] == [second.id, first.id]
    assert not found.has_more


def test_invoice_list_is_filtered_by_creation(shop: Shop) -> None:
    customer = shop.customer()
    shop.draft(customer)
    shop.double.advance_seconds(100)
    later = shop.v1.invoices.retrieve(shop.draft(customer))

    found = shop.v1.invoices.list({"customer": customer, "created": {"gte": later.created}})

    assert [invoice.id for invoice in found.data] == [later.id]


def test_list_pages_follow_each_other(shop: Shop) -> None:
    customer = shop.customer()
    drafts = [shop.draft(customer, amount=None) for _ in range(5)]

    page = shop.v1.invoices.list({"customer": customer, "limit": 2})

    assert page.has_more
    assert [invoice.id for invoice in page.auto_paging_iter()] == drafts[::-1]
    before = shop.v1.invoices.list({"customer": customer, "ending_before": drafts[2]})
    assert [invoice.id for invoice in before.data] == [drafts[4], drafts[3]]


def test_expand_replaces_ids_by_objects(shop: Shop) -> None:
    invoice = shop.open_invoice()
    shop.double.pay_invoice(invoice.id)

    shown = shop.v1.invoices.retrieve(invoice.id, {"expand": ["customer", "payments", "lines"]})

    assert isinstance(shown.customer, stripe.Customer)
    assert shown.payments is not None
    assert shown.payments.data[0].amount_paid == 1500
    with pytest.raises(stripe.InvalidRequestError, match="cannot be expanded"):
        shop.v1.invoices.retrieve(invoice.id, {"expand": ["nonsense"]})


def test_metadata_is_merged_and_unset(shop: Shop) -> None:
    draft = shop.v1.invoices.create({"customer": shop.customer(), "metadata": {"a": "1", "b": "2"}})

    changed = shop.v1.invoices.update(draft.id, {"metadata": {"a": "", "c": "3"}})

    assert changed.metadata is not None
    assert changed.metadata.to_dict() == {"b": "2", "c": "3"}
