from __future__ import annotations

import io
import json
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from line_requests.domain.errors import InvalidPlan
from line_requests.operator import cli
from line_requests.operator import plan_files as plans
from line_requests.operator.values import Money

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.operator.conftest import Console, Deployment
    from tests.operator.shop import Shop

EXAMPLE = Path(__file__).parents[2] / "plans.example.toml"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "plans.toml"


def plan(base: str, lines: str = "email = { included = 1 }", name: str = "starter", tax: str = "") -> str:
    return f'[{name}]\nbase_prices = ["{base}"]\n{tax}\n[{name}.lines]\n{lines}\n'


def test_the_example_is_a_plans_file() -> None:
    assert list(plans.read(EXAMPLE.read_text(encoding="utf-8"))) == ["starter", "scale", "capped"]


@pytest.mark.parametrize("text", ["x = " + "[" * 3_000, f"x = {'1' * 5_001}", "x = [", "\0"])
def test_what_is_no_toml_is_one_line(console: Console, file: Path, text: str) -> None:
    file.write_text(text)
    assert console.refused("plans", "apply", str(file)).startswith("not TOML: ")


def test_an_applied_plan_is_shown_with_what_it_copied_from_stripe(shop: Shop, console: Console, file: Path) -> None:
    base, former, extra = shop.price(2900), shop.price(400), shop.price(500)
    more = 'tax = "automatic"\nexcess = "bill"\ninvoice_memo = "Thank you."'
    shop.v1.tax.settings.update({"defaults": {"tax_behavior": "exclusive"}})
    for price in (former, extra):
        file.write_text(plan(base, f'email = {{ included = 2, add_on = "{price}", cap = 7 }}', tax=more))
        assert console.json("plans", "apply", str(file)) == {"applied": ["starter"], "removed": []}

    assert console.json("plans", "show") == [
        {
            "plan": "starter",
            "basePrices": [base],
            "tax": "automatic",
            "excess": "bill",
            "firstCharge": "prorated",
            "invoiceMemo": "Thank you.",
            "invoiceFooter": None,
            "lines": [
                {
                    "kind": "email",
                    "included": 2,
                    "cap": 7,
                    "addOn": extra,
                    "amounts": [{"amount": 500, "currency": "usd"}],
                    "formerAddOns": [former],
                }
            ],
        }
    ]
    shown = console.text("plans", "show")
    assert shown.splitlines()[0].split() == ["plan", "starter"]
    assert ["email", "2", "7", extra, "$5.00", former] == shown.rstrip().splitlines()[-1].split()


@pytest.mark.parametrize("behavior", ["exclusive", "inclusive", None])
def test_an_add_on_is_taxed_as_its_price(
    shop: Shop, console: Console, file: Path, deployment: Deployment, behavior: str | None
) -> None:
    extra = shop.price(tax_behavior=behavior)
    file.write_text(plan(shop.price(), f'email = {{ included = 1, add_on = "{extra}" }}'))
    console.json("plans", "apply", str(file))

    [applied] = deployment.stores.plans.all()
    [allowance] = applied.allowances.values()
    assert allowance.add_on is not None
    [amount] = allowance.add_on.amounts.values()
    assert amount.tax_behavior == (behavior or "unspecified")


def test_tax_rates_are_active_ones_of_stripe(shop: Shop, console: Console, file: Path) -> None:
    rate = shop.v1.tax_rates.create({"display_name": "VAT", "percentage": 19, "inclusive": False}).id
    file.write_text(plan(shop.price(), tax=f'tax = ["{rate}"]'))
    console.json("plans", "apply", str(file))
    assert console.json("plans", "show")[0]["tax"] == [rate]

    file.write_text(plan(shop.price(), tax='tax = ["txr_unknown"]'))
    assert console.mistakes("plans", "apply", str(file)) == [
        "plan starter: tax: Stripe has no active tax rate txr_unknown"
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("plans = [", "not TOML: "),
        ("", "the file has no plan"),
        ("starter = 1", "plan starter: the plan: "),
        ('["Starter plan"]', "plan Starter plan: the plan: a name is"),
        ("[a]\n[a.lines]\nemail = { included = 1 }", "plan a: base_prices: Field required"),
        ("[a]\nbase_prices = []\nlines = {}", "plan a: base_prices: List should have at least 1 item"),
        ('[a]\nbase_prices = ["prod_x"]\nlines = {}', "plan a: base_prices.0: String should match"),
        ('[a]\nbase_prices = ["price_x"]', "plan a: lines: Field required"),
        (plan("price_x", "fax = { included = 1 }"), "plan starter: lines.fax: Input should be 'purchased_phone'"),
        (plan("price_x", "email = {}"), "plan starter: lines.email.included: Field required"),
        (plan("price_x", "email = { included = -1 }"), "plan starter: lines.email.included: "),
        (plan("price_x", 'email = { included = "1" }'), "plan starter: lines.email.included: "),
        (plan("price_x", "email = { included = true }"), "plan starter: lines.email.included: "),
        (plan("price_x", "email = { included = 1.5 }"), "plan starter: lines.email.included: "),
        (plan("price_x", "email = { included = 1, limit = 2 }"), "plan starter: lines.email.limit: Extra inputs"),
        (
            plan("price_x", "email = { included = 3, cap = 2 }"),
            "plan starter: lines.email: the cap 2 is less than the 3 included",
        ),
        (plan("price_x", tax='tax = "none"'), "plan starter: tax"),
        (plan("price_x") + plan("price_y"), "not TOML: Cannot declare"),
    ],
)
def test_a_malformed_file_is_refused_by_plan_and_field(text: str, said: str) -> None:
    with pytest.raises(InvalidPlan) as refusal:
        plans.read(text)
    assert str(refusal.value).startswith(said)
    assert "\n" not in str(refusal.value)


def test_every_mistake_of_a_file_is_shown_with_its_line(
    console: Console, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """[53]"""
    file.write_text(
        """\
[starter]
base_prices = ["price_x"]
tax = "none"

[starter.lines]
fax = { included = -1 }
email = { included = 3, cap = 2 }

[scale.lines]
# a comment
email.included = "1"
"""
    )
    assert console.mistakes("plans", "apply", str(file))[0].startswith("plan starter: tax")
    assert cli.main(["plans", "apply", str(file)]) == 1
    title, *shown = capsys.readouterr().err.splitlines()
    assert title == f"line-requests: {len(shown)} mistakes, nothing was stored:"
    assert {line.partition(": Input")[0].partition(": Field")[0] for line in shown} >= {
        "  line 6: plan starter: lines.fax",
        "  line 6: plan starter: lines.fax.included",
        "  line 7: plan starter: lines.email: the cap 2 is less than the 3 included",
        "  line 9: plan scale: base_prices",
        "  line 11: plan scale: lines.email.included",
    }
    assert console.json("plans", "show") == []


def test_mistakes_that_stripe_knows_have_their_lines_too(shop: Shop, console: Console, file: Path) -> None:
    free, add_on = shop.price(0), shop.price()
    file.write_text(
        plan(free, f'email = {{ included = 1, add_on = "{add_on}" }}')
        + plan("price_unknown", name="other", tax='tax = ["txr_unknown"]')
    )
    code, mistakes = cli.main(["plans", "apply", str(file), "--json"]), json.loads(console.capsys.readouterr().err)
    assert code == 1
    assert [(one["plan"], one["field"], one["line"]) for one in mistakes["mistakes"]] == [
        ("starter", "base_prices", 2),
        ("other", "base_prices", 7),
        ("other", "tax", 8),
    ]
    assert "is free ($0.00): Stripe charges an add-on" in mistakes["error"]
    assert console.json("plans", "show") == []


def test_a_file_that_cannot_be_read_is_refused(console: Console, tmp_path: Path) -> None:
    assert console.refused("plans", "apply", str(tmp_path / "none.toml")).endswith(
        "none.toml: No such file or directory"
    )
    (tmp_path / "latin.toml").write_bytes(b"\xff")
    assert "latin.toml" in console.refused("plans", "apply", str(tmp_path / "latin.toml"))


YEARLY = {"interval": "year"}
METERED = {"interval": "month", "usage_type": "metered", "meter": "mtr_1"}
TIERS: dict[str, Any] = {
    "billing_scheme": "tiered",
    "tiers_mode": "graduated",
    "tiers": [{"up_to": "inf", "unit_amount": 100}],
}


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda _: "price_unknown", "lines.email.add_on: Stripe does not know price_unknown"),
        (lambda shop: shop.price(recurring=None), "is not recurring"),
        (lambda shop: shop.price(recurring=METERED), "is metered"),
        (lambda shop: shop.price(None, **TIERS), "is tiered"),
        (lambda shop: shop.price(transform_quantity={"divide_by": 10, "round": "up"}), "is for packages"),
        (lambda shop: shop.price(None, unit_amount_decimal=Decimal("0.5")), "has no whole unit amount"),
        (lambda shop: shop.inactive_price(), "is not active"),
        (lambda shop: shop.price_of_inactive_product(), "is not active"),
        (lambda shop: shop.price(currency="eur"), "is in eur every 1 month, the base price"),
        (lambda shop: shop.price(recurring=YEARLY), "is in usd every 1 year, the base price"),
        (
            lambda shop: shop.price(recurring={"interval": "month", "interval_count": 3}),
            "is in usd every 3 month, the base price",
        ),
    ],
)
def test_an_add_on_that_cannot_be_billed_so_is_refused(
    shop: Shop, console: Console, file: Path, make: Callable[[Shop], str], said: str
) -> None:
    good = plan(shop.price(), name="good")
    file.write_text(good + plan(shop.price(), f'email = {{ included = 1, add_on = "{make(shop)}" }}'))
    (mistake,) = console.mistakes("plans", "apply", str(file))
    assert mistake.startswith("plan starter: lines.email.add_on: ")
    assert said in mistake
    # All are validated before any is stored.
    assert console.json("plans", "show") == []


@pytest.mark.parametrize(("cost", "step"), [(Money(550, "isk"), 100), (Money(1005, "kwd"), 10)])
def test_an_add_on_costs_what_stripe_charges(shop: Shop, console: Console, file: Path, cost: Money, step: int) -> None:
    """[51][53] A first charge of the whole price would be an invoice that nobody can pay."""
    base, odd, even = (
        shop.price(one, currency=cost.currency) for one in (step, cost.amount, cost.amount // step * step)
    )
    file.write_text(plan(base, f'email = {{ included = 1, add_on = "{odd}" }}'))
    said = f"{odd} costs {cost}, and Stripe charges only multiples of {Money(step, cost.currency)}"
    assert console.mistakes("plans", "apply", str(file)) == [f"plan starter: lines.email.add_on: {said}"]
    file.write_text(plan(base, f'email = {{ included = 1, add_on = "{even}" }}'))
    console.json("plans", "apply", str(file))


def test_an_add_on_fits_every_base_price_of_its_plan(shop: Shop, console: Console, file: Path) -> None:
    monthly, yearly, extra = shop.price(), shop.price(recurring=YEARLY), shop.price()
    grant = f'email = {{ included = 1, add_on = "{extra}" }}'
    file.write_text(plan(f'{monthly}", "{yearly}', grant))
    (mistake,) = console.mistakes("plans", "apply", str(file))
    assert f"the base price {yearly} in usd every 1 year" in mistake

    file.write_text(plan(f'{monthly}", "{yearly}'))
    console.json("plans", "apply", str(file))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda _: "price_unknown", "Stripe does not know price_unknown"),
        (lambda shop: shop.price(recurring=None), "is not recurring"),
    ],
)
def test_a_base_price_has_to_be_known_and_recurring(
    shop: Shop, console: Console, file: Path, make: Callable[[Shop], str], said: str
) -> None:
    file.write_text(plan(make(shop)))
    (mistake,) = console.mistakes("plans", "apply", str(file))
    assert mistake.startswith("plan starter: base_prices: ")
    assert said in mistake


def test_a_base_price_means_one_plan(shop: Shop, console: Console, file: Path) -> None:
    base = shop.price()
    file.write_text(plan(base) + plan(base, name="twin"))
    said = f"plan twin: base_prices: {base} already identifies plan starter"
    assert console.mistakes("plans", "apply", str(file)) == [said]

    file.write_text(plan(base))
    console.json("plans", "apply", str(file))
    file.write_text(plan(base, name="renamed"))
    (mistake,) = console.mistakes("plans", "apply", str(file))
    assert "already identifies plan starter" in mistake
    assert console.json("plans", "apply", str(file), "--prune") == {"applied": ["renamed"], "removed": ["starter"]}
    assert [shown["plan"] for shown in console.json("plans", "show")] == ["renamed"]


def test_a_base_price_moves_to_another_plan_in_one_file(shop: Shop, console: Console, file: Path) -> None:
    one, two = shop.price(), shop.price()
    file.write_text(plan(one) + plan(two, name="other"))
    console.json("plans", "apply", str(file))
    file.write_text(plan(two) + plan(one, name="other"))
    console.json("plans", "apply", str(file))
    assert {p["plan"]: p["basePrices"] for p in console.json("plans", "show")} == {"starter": [two], "other": [one]}


def test_an_add_on_is_nobodys_base_price(shop: Shop, console: Console, file: Path) -> None:
    base = shop.price()
    file.write_text(plan(base) + plan(shop.price(), f'email = {{ included = 0, add_on = "{base}" }}', name="other"))
    said = f"plan other: lines.email.add_on: {base} is a base price of plan starter"
    assert console.mistakes("plans", "apply", str(file)) == [said]


def test_workspaces_get_a_changed_plan_with_their_next_sync(
    console: Console, file: Path, acme: str, starter: str
) -> None:
    def included() -> int:
        phones = console.json("workspace", "show", acme)["capacity"][0]
        assert phones["kind"] == "purchased_phone"
        return int(phones["included"])

    file.write_text(plan(starter, "purchased_phone = { included = 4 }"))
    console.json("plans", "apply", str(file))
    assert included() == 1
    console.json("workspace", "sync", acme)
    assert included() == 4

    file.write_text(plan(starter, "purchased_phone = { included = 6 }"))
    applied = console.json("plans", "apply", str(file), "--sync")
    assert applied["synced"] == [{"workspace": acme, "plan": "starter", "status": "active", "error": None}]
    assert included() == 6


def test_a_sync_that_fails_does_not_hide_that_the_plans_are_applied(
    console: Console, deployment: Deployment, file: Path, starter: str
) -> None:
    deployment.stores.workspaces.insert("acme", "cus_unknown", livemode=False)
    file.write_text(plan(starter))
    code, view, said = console.incomplete("plans", "apply", str(file), "--sync")
    assert (code, said) == (1, "1 of 1 workspaces could not be synced")
    assert view["applied"] == ["starter"]
    assert view["synced"][0]["error"]


def test_more_plans_than_one_transaction_takes_are_refused(console: Console, file: Path) -> None:
    file.write_text("".join(plan(f"price_{number}", name=f"p{number}") for number in range(101)))
    assert console.refused("plans", "apply", str(file)) == "more than 100 plans would change at once"


def test_no_plans_are_shown_as_none(console: Console) -> None:
    assert console.text("plans", "show") == "(none)\n"


def test_automatic_tax_needs_a_tax_behavior_of_the_price_or_of_the_account(
    shop: Shop, console: Console, file: Path
) -> None:
    """[53]"""
    grant = f'email = {{ included = 1, add_on = "{shop.price()}" }}'
    file.write_text(plan(shop.price(), grant, tax='tax = "automatic"'))
    shop.forget_tax_behavior()
    (mistake,) = console.mistakes("plans", "apply", str(file))
    assert "has no tax behavior, which automatic tax needs, and the account has no default" in mistake
    shop.v1.tax.settings.update({"defaults": {"tax_behavior": "exclusive"}})
    console.json("plans", "apply", str(file))


def test_shown_plans_are_a_file_that_changes_nothing(
    shop: Shop, console: Console, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grant = f'email = {{ included = 1, add_on = "{shop.price(500)}", cap = 4 }}'
    file.write_text(plan(shop.price(), grant) + plan(shop.price(), name="plain"))
    console.json("plans", "apply", str(file))
    shown = console.text("plans", "show", "--toml")
    assert console.json("plans", "show", "--toml") == shown
    monkeypatch.setattr("sys.stdin", io.StringIO(shown))
    assert console.json("plans", "diff", "-") == {"changes": [], "overPlan": []}
    monkeypatch.setattr("sys.stdin", io.StringIO(f"\ufeff{shown}"))  # a file of an editor on Windows, in a pipe
    assert console.json("plans", "apply", "-")["applied"] == ["plain", "starter"]


def test_a_plan_that_a_workspace_is_on_is_not_pruned(shop: Shop, console: Console, file: Path, acme: str) -> None:
    """[53]"""
    assert acme
    file.write_text(plan(shop.price(), name="other"))
    said = "plan starter: the plan: 1 workspaces are on it, so it cannot be pruned"
    assert console.mistakes("plans", "apply", str(file), "--prune") == [said]
    assert cli.main(["plans", "apply", str(file), "--prune"]) == cli.FAILED
    printed = console.capsys.readouterr()
    assert printed.err == f"line-requests: 1 mistake, nothing was stored:\n  {said}\n", "the file has no line of it"
    assert [shown["plan"] for shown in console.json("plans", "show")] == ["starter"]
    console.json("plans", "apply", str(file))


def test_plans_keep_the_order_of_their_file(shop: Shop, console: Console, deployment: Deployment, file: Path) -> None:
    """[17] Of several base prices on one subscription, the first plan's counts."""
    file.write_text(plan(shop.price(2900), name="zzz") + plan(shop.price(900), name="aaa"))
    console.json("plans", "apply", str(file))
    assert {found.name: found.position for found in deployment.stores.plans.all()} == {"zzz": 0, "aaa": 1}
