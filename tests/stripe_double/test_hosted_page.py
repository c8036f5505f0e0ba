from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from tests.stripe_double.shop import browse

if TYPE_CHECKING:
    from tests.stripe_double.shop import Shop


def test_hosted_page_shows_amount_due_and_button(shop: Shop) -> None:
    url = shop.open_invoice(amount=123_456).hosted_invoice_url

    answer = browse("GET", url)
    page = answer.data.decode()

    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert "$1,234.56" in page
    assert "Extra phone line" in page
    assert "Pay $1,234.56</button>" in page


def test_hosted_page_escapes_customer_name(shop: Shop) -> None:
    customer = shop.v1.customers.create({"name": "<script>alert(1)</script>"}).id

    page = browse("GET", shop.open_invoice(customer).hosted_invoice_url).data.decode()

    assert "<script>" not in page


def test_pay_button_pays_once_and_redirects_back(shop: Shop) -> None:
    invoice = shop.open_invoice()
    url = str(invoice.hosted_invoice_url)

    paid = browse("POST", f"{url}/pay")

    assert (paid.status, shop.double.url + paid.headers["Location"]) == (303, url)
    assert shop.v1.invoices.retrieve(invoice.id).status == "paid"
    page = browse("GET", url).data.decode()
    assert ("Thank you" in page, "<button" in page) == (True, False)
    assert browse("POST", f"{url}/pay").status == 409


def test_pay_button_pays_once_under_parallel_clicks(shop: Shop) -> None:
    url = f"{shop.open_invoice().hosted_invoice_url}/pay"

    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda _: browse("POST", url).status, range(16)))

    assert sorted(statuses) == [303] + [409] * 15


def test_pay_button_refused_on_void_invoice(shop: Shop) -> None:
    invoice = shop.open_invoice()
    shop.v1.invoices.void_invoice(invoice.id)

    assert browse("POST", f"{invoice.hosted_invoice_url}/pay").status == 409
    assert "voided" in browse("GET", invoice.hosted_invoice_url).data.decode()


def test_pay_button_pays_uncollectible_invoice(shop: Shop) -> None:
    invoice = shop.open_invoice()
    shop.v1.invoices.mark_uncollectible(invoice.id)

    assert browse("POST", f"{invoice.hosted_invoice_url}/pay").status == 303
    assert "invoice.marked_uncollectible" in shop.events_about(invoice.id)


def test_pay_button_refused_while_bank_debit_is_in_progress(shop: Shop) -> None:
    invoice = shop.open_invoice()
    shop.double.start_bank_debit(invoice.id)

    assert browse("POST", f"{invoice.hosted_invoice_url}/pay").status == 409
    assert "on its way" in browse("GET", invoice.hosted_invoice_url).data.decode()


def test_hosted_page_shows_applied_credit_and_amount_due(shop: Shop) -> None:
    page = browse("GET", shop.open_invoice(shop.customer(balance=-500)).hosted_invoice_url).data.decode()

    assert "Applied credit</td><td>-$5.00" in page
    assert "Amount due</td><td>$10.00" in page
    assert "Pay $10.00</button>" in page


def test_unknown_page_is_404_and_pay_needs_post(shop: Shop) -> None:
    assert browse("GET", f"{shop.double.url}/i/nothing").status == 404
    assert browse("GET", f"{shop.open_invoice().hosted_invoice_url}/pay").status == 405
