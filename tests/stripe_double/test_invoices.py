from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import stripe

if TYPE_CHECKING:
    from tests.stripe_double.shop import Shop


def test_finalize_opens_invoice_with_hosted_page(shop: Shop) -> None:
    invoice = shop.open_invoice()

    assert str(invoice.hosted_invoice_url).startswith(shop.double.url)
    assert not {"?", "#"} & set(str(invoice.hosted_invoice_url))
    assert shop.events_about(invoice.id) == ["invoice.created", "invoice.updated", "invoice.finalized"]


def test_saved_card_is_charged_only_with_auto_advance(shop: Shop) -> None:
    customer = shop.v1.customers.create({"invoice_settings": {"default_payment_method": "pm_card_visa"}}).id

    assert shop.open_invoice(customer).status == "open"
    charged = shop.v1.invoices.finalize_invoice(shop.draft(customer), {"auto_advance": True})

    assert charged.status == "paid"


def test_forgotten_invoice_is_404(shop: Shop) -> None:
    invoice = shop.open_invoice()
    shop.double.forget_invoice(invoice.id)

    with pytest.raises(stripe.InvalidRequestError) as gone:
        shop.v1.invoices.retrieve(invoice.id)

    assert gone.value.http_status == 404


@pytest.mark.parametrize(("succeeded", "status", "event"), [(True, "paid", "succeeded"), (False, "void", "failed")])
def test_bank_debit_settles_or_leaves_invoice_voidable(shop: Shop, *, succeeded: bool, status: str, event: str) -> None:
    invoice = shop.open_invoice()
    shop.double.start_bank_debit(invoice.id)

    shop.double.settle_bank_debit(invoice.id, succeeded=succeeded)

    assert shop.events_about(invoice.id)[-1] == f"invoice.payment_{event}"
    if not succeeded:
        shop.v1.invoices.void_invoice(invoice.id)
    assert shop.v1.invoices.retrieve(invoice.id).status == status


def test_invoice_list_is_filtered_and_newest_first(shop: Shop) -> None:
    customer = shop.customer()
    first, second = shop.open_invoice(customer), shop.open_invoice(customer)
    shop.draft(customer)
    shop.open_invoice()

    found = shop.v1.invoices.list({"customer": customer, "status": "open"})

    assert [invoice.id for invoice in found.data] == [second.id, first.id]
    assert not found.has_more


def test_list_page_ends_before_an_object(shop: Shop) -> None:
    customer = shop.customer()
    drafts = [shop.draft(customer, amount=None) for _ in range(5)]
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
