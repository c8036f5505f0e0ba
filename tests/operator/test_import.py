from __future__ import annotations

import io
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from line_requests.clock import wall_time_ms
from line_requests.domain.model import Status
from line_requests.domain.prices import Coverage
from line_requests.domain.submission import Kind
from line_requests.operator import cli
from line_requests.operator.target import Target, new_clock
from line_requests.storage.imports import LINES_MAX, Imports
from line_requests.storage.table import TransactionCanceled
from line_requests.storage.workspaces import QUANTITIES_LEASE_MS

if TYPE_CHECKING:
    from line_requests.billing.operator_account import OperatorBilling
    from tests.operator.conftest import Console, Deployment
    from tests.operator.shop import Shop

HEADER = "workspace,customer,externalId,paid,firstName,lastName,channelType,email"
EXAMPLE = Path(__file__).parents[2] / "lines.example.csv"


@dataclass(frozen=True)
class Customer:
    """Who had three lines before this service did: one included, two as add-ons on the subscription."""

    shop: Shop
    id: str
    subscription: str
    add_on: str

    def add_ons(self) -> int | None:
        items = self.shop.v1.subscriptions.retrieve(self.subscription)["items"].data
        return next((item.quantity for item in items if item.price.id == self.add_on), None)

    def rows(self, *paid: str, workspace: str = "acme", first: int = 1) -> list[str]:
        return [
            f"{workspace},{self.id},line-{number},{each},Ada,Lovelace {number},phone,"
            for number, each in enumerate(paid, first)
        ]

    def period_end_s(self) -> int:
        items = self.shop.v1.subscriptions.retrieve(self.subscription)["items"].data
        return int(items[0].current_period_end)


@pytest.fixture
def customer(shop: Shop, console: Console, starter: str) -> Customer:
    add_on = console.json("plans", "show")[0]["lines"][0]["addOn"]
    customer = shop.customer()
    items: Any = [{"price": starter}, {"price": add_on, "quantity": 2}]
    subscription = shop.v1.subscriptions.create({"customer": customer, "items": items})
    return Customer(shop, customer, subscription.id, add_on)


@dataclass(frozen=True)
class File:
    """Writes a file of these rows."""

    path: Path

    def __call__(self, *rows: str, header: str = HEADER) -> str:
        self.path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
        return str(self.path)


@pytest.fixture
def file(tmp_path: Path) -> File:
    return File(tmp_path / "lines.csv")


class Crash(Exception):
    """The process ends."""


def reconcile() -> dict[str, int]:
    return Target(None).deployment.reconciler(new_clock(60)).run()


def test_rows_are_read_from_standard_input(
    console: Console, customer: Customer, file: File, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = Path(file(*customer.rows("no", "yes", "yes"))).read_text(encoding="utf-8")
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    assert console.json("line", "import", "-", "--yes")[0]["lines"] == 3


def test_imported_lines_are_active_and_counted(
    console: Console, deployment: Deployment, customer: Customer, file: File
) -> None:
    """[49][52]"""
    shown = console.json("line", "import", file(*customer.rows("no", "yes", "yes")), "--yes")
    assert shown == [
        {
            "workspace": "acme",
            "customer": customer.id,
            "new": True,
            "lines": 3,
            "paid": 2,
            "alreadyThere": 0,
            "overPlanBy": 0,
            "error": None,
        }
    ]
    workspace = deployment.stores.workspaces.get("acme")
    assert workspace is not None
    assert (workspace.held, workspace.unpaid) == ({Kind.PURCHASED_PHONE: 3}, {Kind.PURCHASED_PHONE: 1})
    assert workspace.charged == {Kind.PURCHASED_PHONE: (Coverage(customer.period_end_s(), 2),)}
    lines = deployment.stores.lines.of_workspace("acme")
    assert {line.status for line in lines} == {Status.ACTIVE}
    assert sorted(line.payment_status for line in lines) == ["not_required", "paid", "paid"]
    assert {(line.history[0].status, line.history[0].cause) for line in lines} == {(Status.ACTIVE, "imported")}


def test_reconciler_leaves_quantities_and_charges_of_imported_lines_as_they_were(
    console: Console, customer: Customer, file: File
) -> None:
    """[50][52]"""
    console.json("line", "import", file(*customer.rows("no", "yes", "yes")), "--yes")
    for _ in range(2):
        done = reconcile()
        assert (done["quantities"], done["failed"]) == (0, 0)
    assert customer.add_ons() == 2
    assert customer.shop.v1.invoice_items.list({"customer": customer.id, "pending": True}).data == []
    assert console.json("workspace", "show", "acme")["capacity"][0]["left"] == 0
    (released, *_) = console.json("line", "list", "--workspace", "acme")
    console.json("line", "release", released["line"], "--yes")
    assert reconcile()["quantities"] == 1
    assert customer.add_ons() == 1


def test_file_is_imported_once_however_often_it_is_given(
    console: Console, deployment: Deployment, customer: Customer, file: File
) -> None:
    rows = customer.rows("no", "yes", "yes")
    console.json("line", "import", file(*rows), "--yes")
    before = deployment.stores.workspaces.get("acme")
    (shown,) = console.json("line", "import", file(*rows), "--yes")
    assert (shown["new"], shown["lines"], shown["alreadyThere"]) == (False, 0, 3)
    assert deployment.stores.workspaces.get("acme") == before


def test_dry_run_shows_the_same_and_writes_nothing(
    console: Console, deployment: Deployment, customer: Customer, file: File
) -> None:
    rows = file(*customer.rows("no", "yes", "yes"))
    (shown,) = console.json("line", "import", rows, "--dry-run")
    assert (shown["new"], shown["lines"], shown["paid"]) == (True, 3, 2)
    assert deployment.stores.workspaces.get("acme") is None
    assert console.refused("line", "import", rows) == "Import 3 lines into 1 workspaces? Confirm with --yes"
    assert deployment.stores.workspaces.get("acme") is None


def test_interrupted_import_keeps_the_quantities_and_goes_on(
    console: Console, deployment: Deployment, customer: Customer, file: File, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crash between two transactions: the reconciler does not see half of the lines."""
    rows = file(*customer.rows("no", "yes", "yes"))
    insert, calls = Imports.insert, list[int]()

    def crash_later(self: Imports, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - the method's own
        calls.append(1)
        if len(calls) > 1:
            raise Crash
        insert(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr("line_requests.operator.importing.LINES_MAX", 2)
        patch.setattr(Imports, "insert", crash_later)
        with pytest.raises(Crash):
            cli.main(["line", "import", rows, "--yes"])
    # An event of Stripe's makes it due.
    deployment.stores.workspaces.mark_subscription_due("acme", changed_by_ms=2**50, now_ms=0)
    assert reconcile()["quantities"] == 0
    assert customer.add_ons() == 2
    console.capsys.readouterr()
    (shown,) = console.json("line", "import", rows, "--yes")
    assert (shown["lines"], shown["alreadyThere"]) == (1, 2)
    assert reconcile()["quantities"] == 0
    assert customer.add_ons() == 2
    workspace = deployment.stores.workspaces.get("acme")
    assert workspace is not None
    assert workspace.unpaid == {Kind.PURCHASED_PHONE: 1}


def test_each_workspace_is_checked_with_a_clock_of_its_own(
    console: Console, customer: Customer, file: File, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One for a long file would be used up before its end."""
    connected, connect = list[Target](), Target.billing

    def counted(self: Target) -> OperatorBilling:
        connected.append(self)
        return connect(self)

    monkeypatch.setattr(Target, "billing", counted)
    rows = [*customer.rows("no"), *customer.rows("no", workspace="other", first=2)]
    console.mistakes("line", "import", file(*rows), "--dry-run")
    assert len(connected) == 2


def test_import_that_is_stopped_says_how_to_go_on(
    console: Console, customer: Customer, file: File, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("line_requests.operator.importing.write", stop)
    with pytest.raises(SystemExit, match=str(cli.INTERRUPTED)):
        cli.main(["line", "import", file(*customer.rows("no", "yes", "yes")), "--yes"])
    printed = console.capsys.readouterr()
    assert (printed.out, printed.err) == ("", "Stopped after 0 of 1 workspaces; import the file again to go on\n")


def test_import_while_the_workspace_is_held_is_done_later(
    console: Console, deployment: Deployment, customer: Customer, file: File
) -> None:
    console.json("line", "import", file(*customer.rows("no", "yes", "yes")), "--yes")
    assert Imports(deployment.table).hold("acme", 0, wall_time_ms() + QUANTITIES_LEASE_MS)
    customer.shop.v1.subscription_items.update(
        next(
            item.id
            for item in customer.shop.v1.subscriptions.retrieve(customer.subscription)["items"].data
            if item.price.id == customer.add_on
        ),
        {"quantity": 3},
    )
    code, (shown,), said = console.incomplete(
        "line", "import", file(*customer.rows("no", "yes", "yes", "yes")), "--yes"
    )
    assert (code, said) == (1, "1 of 1 workspaces were not imported; import the file again")
    assert shown["error"].startswith("the reconciler or another import is at work on acme")
    assert len(deployment.stores.lines.of_workspace("acme")) == 3


def test_quantities_that_the_lines_do_not_owe_are_a_mistake(
    console: Console, deployment: Deployment, customer: Customer, file: File
) -> None:
    """[50] Neither raised nor lowered by an import."""
    for paid in (("no", "yes"), ("yes", "yes", "yes", "yes")):
        (said,) = console.mistakes("line", "import", file(*customer.rows(*paid)), "--yes")
        owed = paid.count("yes") if paid[0] == "no" else 3
        assert said == (
            f"{customer.subscription} carries 2 of {customer.add_on}, with the lines of this file acme owes "
            f"{owed} of {customer.add_on}: correct the column paid, or the quantity at Stripe"
        )
    assert deployment.stores.workspaces.get("acme") is None


def test_all_mistakes_of_a_file_are_shown_with_their_lines(console: Console, customer: Customer, file: File) -> None:
    rows = [
        f"Acme,{customer.id},,maybe,Ada,,phone,",
        f"acme,{customer.id},line-2,no,Ada,Lovelace,email,not an address",
        f"acme,{customer.id},line-3,no,Ada,Lovelace,phone,",
        f"acme,{customer.id},line-3,no,Ada,Lovelace,phone,",
        "acme,cus,line-4,no,Ada,Lovelace,phone,,too many",
    ]
    code = cli.main(["line", "import", file(*rows)])
    said = console.capsys.readouterr().err.splitlines()
    assert (code, said[0]) == (1, "line-requests: 8 mistakes, nothing was stored:")
    assert said[1:] == [
        "  line 2: 'Acme' is no workspace id: 1 to 40 of a-z, 0-9 and -",
        "  line 2: externalId must have 1 to 255 characters",
        "  line 2: paid must be yes or no, not 'maybe'",
        "  line 2: lastName is required",
        "  line 3: email must be one address such as ada@example.com, without a name or a list",
        "  line 5: line-3 of acme is on line 4, too",
        "  line 6: there are more cells than columns",
        "  line 6: 'cus' is no Stripe customer: cus_...",
    ]


def test_columns_and_dates_are_checked(console: Console, customer: Customer, file: File) -> None:
    assert console.mistakes("line", "import", file("a,b", header="workspace,colour")) == [
        *(f"there is no column {name}" for name in ("customer", "externalId", "firstName", "lastName", "channelType")),
        "unknown column 'colour'",
    ]
    assert console.mistakes("line", "import", file()) == ["there is no row below the names of the columns"]
    for date in ("yesterday", "9999-12-31T23:59:59-01:00", "0001-01-01T00:00:00+01:00"):
        row = f"acme,{customer.id},line-1,no,Ada,Lovelace,phone,,{date},12"
        assert console.mistakes("line", "import", file(row, header=f"{HEADER},createdAt,deliveredPhone")) == [
            "createdAt must be like 2024-03-31T12:00:00Z",
            "delivered: phone must have 7 to 15 digits; this has 2",
        ]
    assert "not CSV" in console.mistakes("line", "import", file('acme,"cus'))[0]
    assert console.refused("line", "import", "nowhere.csv") == "nowhere.csv: No such file or directory"


def test_workspaces_customers_and_kinds_are_checked_against_stripe_and_the_table(
    shop: Shop, console: Console, customer: Customer, acme: str, file: File
) -> None:
    taken = console.json("workspace", "show", acme)["customer"]
    rows = [
        f"acme,{customer.id},line-1,no,Ada,Lovelace,phone,",
        f"beta,{taken},line-1,no,Ada,Lovelace,phone,",
        "gamma,cus_unknown,line-1,no,Ada,Lovelace,phone,",
        f"delta,{shop.customer()},line-1,no,Ada,Lovelace,phone,",
        f"zeta,{customer.id},line-1,no,Ada,Lovelace,email,ada@example.com",
        f"eta,{customer.id},line-1,no,Ada,Lovelace,phone,",
        f"eta,{taken},line-2,no,Ada,Lovelace,phone,",
    ]
    said = console.mistakes("line", "import", file(*rows))
    assert said[0] == f"the customer {customer.id} is tied not to acme, whose customer is {taken}"
    assert said[1] == f"the customer {taken} is tied to acme"
    assert said[2] == "Stripe does not know the customer cus_unknown, or deleted it"
    assert said[3].endswith("has no subscription whose base price a plan names")
    assert "the plan starter has no email lines" in said
    assert said[-1] == "the rows of eta name several customers"


def test_many_lines_are_written_in_transactions_of_a_hundred(
    console: Console, deployment: Deployment, customer: Customer, shop: Shop, file: File
) -> None:
    """As many as DynamoDB takes."""
    count = LINES_MAX + 2
    items = shop.v1.subscriptions.retrieve(customer.subscription)["items"].data
    (item,) = [item.id for item in items if item.price.id == customer.add_on]
    shop.v1.subscription_items.update(item, {"quantity": count - 1})
    (shown,) = console.json("line", "import", file(*customer.rows("no", *["yes"] * (count - 1))), "--yes")
    assert (shown["lines"], shown["overPlanBy"]) == (count, count - 3)
    assert len(deployment.stores.lines.of_workspace("acme")) == count
    assert reconcile()["quantities"] == 0
    assert customer.add_ons() == count - 1


def test_lines_are_written_only_into_a_workspace_that_is_held(
    console: Console, deployment: Deployment, customer: Customer, file: File
) -> None:
    console.json("line", "import", file(*customer.rows("no", "yes", "yes")), "--yes")
    (line, *_) = deployment.stores.lines.of_workspace("acme")
    with pytest.raises(TransactionCanceled):
        Imports(deployment.table).insert(
            [replace(line, id="f" * 24)], charged=Coverage(0, 0), counted=None, held_until_ms=0
        )


def test_example_file_is_imported(
    console: Console, deployment: Deployment, customer: Customer, shop: Shop, tmp_path: Path
) -> None:
    items = shop.v1.subscriptions.retrieve(customer.subscription)["items"].data
    (item,) = [item.id for item in items if item.price.id == customer.add_on]
    shop.v1.subscription_items.update(item, {"quantity": 1})
    file = tmp_path / "lines.csv"
    file.write_text(EXAMPLE.read_text(encoding="utf-8").replace("cus_123", customer.id), encoding="utf-8")
    (shown,) = console.json("line", "import", str(file), "--yes")
    assert (shown["lines"], shown["paid"]) == (2, 1)
    delivered = {line.delivered.reference for line in deployment.stores.lines.of_workspace("acme") if line.delivered}
    assert delivered == {"carrier-7421", "carrier-7422"}
