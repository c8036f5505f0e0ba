"""`make assumptions`: try on a Stripe test account what the product believes of Stripe."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from tests.assumptions import catalogue, document
from tests.assumptions.account import Account
from tests.assumptions.registry import Result, Verdict, run

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

COLOURS = {Verdict.TRUE: "green", Verdict.FALSE: "bold red", Verdict.NOT_TRIED: "yellow"}
REFUSED = 2


def main(arguments: Sequence[str] | None = None, environment: Mapping[str, str] = os.environ) -> int:
    """Return 0 when no assumption is false, 1 when one is or something stayed behind, 2 without a test key."""
    parser = argparse.ArgumentParser(prog="python -m tests.assumptions", description=__doc__)
    parser.add_argument("--docs", action="store_true", help="write docs/assumptions.md instead")
    parser.add_argument("--only", default="", help="assumptions whose name contains this")
    parser.add_argument("--api-base", help="another address than Stripe's, such as a double's")
    options = parser.parse_args(arguments)
    if options.docs:
        document.PAGE.parent.mkdir(exist_ok=True)
        document.PAGE.write_text(document.render(), encoding="utf-8")
        return 0
    key = environment.get("STRIPE_API_KEY", "").strip()
    if refusal := refusal_of(key):
        Console(stderr=True).print(refusal, style="red", markup=False, highlight=False)
        return REFUSED
    with Account(
        key,
        restricted_key=environment.get("STRIPE_RESTRICTED_KEY"),
        live_customer=environment.get("STRIPE_LIVE_CUSTOMER"),
        api_base=options.api_base,
    ) as account:
        return _try_all(account, options.only)


def refusal_of(key: str) -> str | None:
    """Return why this key is not used; None for a secret key of the test mode."""
    if not key:
        return "No STRIPE_API_KEY. Set it to a secret test key, sk_test_…, of any Stripe account."
    if "_live_" in key:
        return "STRIPE_API_KEY is a live key. The experiments make and void invoices: use a test key, sk_test_…"
    if not key.startswith("sk_test_"):
        return "STRIPE_API_KEY is no secret test key. Use one that begins with sk_test_."
    return None


def _try_all(account: Account, only: str) -> int:
    console = Console()
    wanted = [assumed for assumed in catalogue.ASSUMPTIONS if only in assumed.name]
    with Progress(console=Console(stderr=True), transient=True) as progress:
        results = [run(tried, account) for tried in progress.track(wanted, description="trying")]
    table = Table("verdict", "assumption", "", box=None, pad_edge=False)
    for result in results:
        table.add_row(f"[{COLOURS[result.verdict]}]{result.verdict}", result.assumption.name, _remark(result))
    console.print(table)
    counts = [f"{sum(r.verdict is verdict for r in results)} {verdict}" for verdict in Verdict]
    console.print(", ".join(counts), highlight=False)
    left_behind = [what for result in results for what in result.left_behind]
    for what in left_behind:
        console.print(f"left behind: {what}", style="red", markup=False, highlight=False, soft_wrap=True)
    return 1 if left_behind or any(result.verdict is Verdict.FALSE for result in results) else 0


def _remark(result: Result) -> str:
    """Say what was seen and, when it disproves the assumption, what that means for the product."""
    remark = f"{result.detail}. {result.assumption.if_false}" if result.verdict is Verdict.FALSE else result.detail
    return remark.replace("[", r"\[")


if __name__ == "__main__":
    sys.exit(main())
