"""docs/assumptions.md, written from the assumptions themselves."""

from __future__ import annotations

from pathlib import Path

from tests.assumptions import catalogue

PAGE = Path(__file__).parents[2] / "docs" / "assumptions.md"

_HEAD = """\
# What the product assumes of Stripe

For engineers who change the billing or move the pinned API version, with or without a Stripe account to check on.
Written by `python -m tests.assumptions --docs`; edit the experiments in `tests/assumptions/experiments/` instead.

Each of the {count} assumptions is an experiment that the real SDK drives. `make test` tries all of them on the Stripe
double, which has to agree. `make assumptions STRIPE_API_KEY=sk_test_…` tries the same ones on a test account, prints
TRUE, FALSE or NOT TRIED for each, and removes what it made: open invoices are voided, customers and test clocks
deleted, products and prices archived. It refuses a live key. Two more variables let it try more:
`STRIPE_RESTRICTED_KEY`, an `rk_test_` key that may not read invoices, and `STRIPE_LIVE_CUSTOMER`, the id of a live
customer.

A source is a page of Stripe's or a name in its Python SDK, whose docstring is the API reference's text.
"""


def render() -> str:
    parts = [_HEAD.format(count=len(catalogue.ASSUMPTIONS))]
    for module in catalogue.MODULES:
        parts.append(f"\n## {module.__doc__}\n")
        for assumed in catalogue.of_module(module):
            source = assumed.source if "://" not in assumed.source else f"<{assumed.source}>"
            shown = source if source.startswith("<") else f"`{source}`"
            parts.append(
                f"\n### {assumed.name}\n\n{assumed.claim}\n\n"
                f"- Source: {shown}\n- If true: {assumed.if_true}\n- If false: {assumed.if_false}\n"
            )
    return "".join(parts)
