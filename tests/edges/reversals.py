"""Paid lines that failed, were released or were paid too late, and what happens to their money."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from line_requests.billing.events import hint_of
from tests.support.shop import clock

if TYPE_CHECKING:
    import pytest

    from line_requests.domain.model import Line
    from tests.support.shop import Shop

Json = dict[str, Any]

PRICE = 1500


def waiting(shop: Shop) -> Line:
    shop.workspace(0)
    shop.submit("k")
    (line,) = shop.consistent()
    assert line.awaiting
    return line


def hear(shop: Shop, *kinds: str) -> None:
    """Delivers what happened at Stripe since the last time, oldest first; by default all that the endpoint sends."""
    events = shop.double.all_of("event")
    shop.double.forget_events()
    for event in reversed(events):
        if not kinds or event["type"] in kinds:
            shop.product.webhook.apply(clock(9.0), hint_of(event))


def paid(shop: Shop) -> Line:
    line = waiting(shop)
    assert line.invoice_id is not None
    shop.double.pay_invoice(line.invoice_id)
    hear(shop)
    return shop.world.line(line)


def paid_twice(shop: Shop) -> tuple[Line, Json]:
    """A paid line, and the copy of its invoice that was paid, too."""
    line = paid(shop)
    copy = touch(shop, line, "copy_and_pay")
    hear(shop)
    return shop.world.line(line), copy


def failed(shop: Shop) -> Line:
    """A paid line that its provisioner failed."""
    return shop.world.lines.mark_failed(paid(shop), "no numbers left", clock().now_ms())


def released(shop: Shop) -> Line:
    line = failed(shop)
    return shop.world.lines.release(line, "released_by_client", clock().now_ms())


def canceled_then_paid(shop: Shop) -> Line:
    """A request whose payment was on its way when its line was canceled."""
    line = waiting(shop)
    shop.world.lines.cancel(line, "canceled", clock().now_ms())
    assert line.invoice_id is not None
    shop.double.pay_invoice(line.invoice_id)
    hear(shop)
    return shop.world.line(line)


def refund(shop: Shop, line: Line) -> Line:
    return shop.product.refunds.give_back(clock(), shop.world.line(line))[0]


def touch(shop: Shop, line: Line, action: str, amount: int | None = None) -> Json:
    assert line.invoice_id is not None
    return shop.double.touch_invoice(line.invoice_id, action, amount)


def causes(line: Line) -> list[str]:
    return [reversal.cause for reversal in line.reversals]


def refunds(shop: Shop) -> list[tuple[int, str]]:
    return [(one["amount"], one["status"]) for one in reversed(shop.double.all_of("refund"))]


def alarms(capsys: pytest.CaptureFixture[str]) -> list[str]:
    printed = capsys.readouterr().out
    return [name for name in ("RefundDue", "Reversal") for _ in range(printed.count(f'"{name}":[1.0]'))]
