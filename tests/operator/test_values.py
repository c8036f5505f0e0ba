from __future__ import annotations

import pytest

from line_requests.operator.values import Moment, Money


@pytest.mark.parametrize(
    ("amount", "currency", "text"),
    [
        (1500, "usd", "$15.00"),
        (5, "usd", "$0.05"),
        (123_456_789, "eur", "€1,234,567.89"),
        (-1500, "gbp", "-£15.00"),
        (1500, "jpy", "¥1,500"),
        (1500, "chf", "15.00 CHF"),
        (1500, "bhd", "1.500 BHD"),
        (0, "krw", "0 KRW"),
    ],
)
def test_an_amount_is_written_in_its_currency(amount: int, currency: str, text: str) -> None:
    assert str(Money(amount, currency)) == text
    assert Money(amount, currency).to_json() == {"amount": amount, "currency": currency}


def test_a_time_is_words_for_people_and_iso_for_scripts() -> None:
    moment = Moment(1_795_000_000_002)
    assert (str(moment), moment.to_json()) == ("18 Nov 2026 11:06:40 UTC", "2026-11-18T11:06:40.002Z")
