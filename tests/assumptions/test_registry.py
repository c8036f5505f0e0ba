"""The declarations are complete, their page is current, and a verdict can be any of the three."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
import stripe
import stripe.params

from tests.assumptions import catalogue, document
from tests.assumptions.__main__ import main, refusal_of
from tests.assumptions.double_account import API_KEY, DoubleAccount
from tests.assumptions.registry import Assumption, Verdict, accepted, assumption, expect, refused, run, single
from tests.local.stripe_double import StripeDouble

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.assumptions.account import Account

LEAST = 45
WORDS_LEAST = 3


@pytest.fixture
def double() -> Iterator[StripeDouble]:
    with StripeDouble() as running:
        yield running


@pytest.fixture
def account(double: StripeDouble) -> Iterator[DoubleAccount]:
    with DoubleAccount(double) as made:
        yield made


@assumption(source="", if_true="", if_false="it retrieves the invoice [again]")
def zero_is_paid(account: Account) -> None:
    """An invoice over 0 is open."""
    invoice = account.new_open_invoice(account.new_customer(), 0)
    expect("status", invoice.status, "open")


@assumption(source="", if_true="", if_false="")
def void_is_refused(account: Account) -> None:
    """An open invoice cannot be voided."""
    invoice = account.new_open_invoice(account.new_customer())
    with refused(400):
        account.v1.invoices.void_invoice(invoice.id)


@assumption(source="", if_true="", if_false="")
def void_is_refused_by_another_code(account: Account) -> None:
    """Voiding a draft is 404."""
    draft = account.new_draft(account.new_customer())
    with refused(404):
        account.v1.invoices.void_invoice(draft.id)


@assumption(source="", if_true="", if_false="")
def draft_is_voided(account: Account) -> None:
    """A draft can be voided."""
    draft = account.new_draft(account.new_customer())
    with accepted("void"):
        account.v1.invoices.void_invoice(draft.id)


@assumption(source="", if_true="", if_false="")
def call_is_malformed(account: Account) -> None:
    """A call with an unknown parameter is refused."""
    with refused(400):
        account.client.raw_request("post", "/v1/customers", colour="blue")


@assumption(source="", if_true="", if_false="")
def customer_is_unknown(account: Account) -> None:
    """The experiment fails before it asks."""
    account.new_draft("cus_unknown")


@assumption(source="", if_true="", if_false="")
def draft_has_a_line(account: Account) -> None:
    """A new draft has a line."""
    single("lines", account.new_draft(account.new_customer(), amount=None).lines.data)


@assumption(source="", if_true="", if_false="")
def draft_has_metadata(account: Account) -> None:
    """The experiment cannot read the answer."""
    account.new_draft(account.new_customer(), amount=None)["nonsense"]


@pytest.mark.parametrize(
    ("tried", "verdict", "detail"),
    [
        (zero_is_paid, Verdict.FALSE, "status: assumed 'open', Stripe says 'paid'"),
        (void_is_refused, Verdict.FALSE, "assumed StripeError 400, Stripe did what was asked"),
        (
            void_is_refused_by_another_code,
            Verdict.FALSE,
            "assumed StripeError 404, Stripe says InvalidRequestError 400",
        ),
        (draft_is_voided, Verdict.FALSE, "void: assumed to be accepted, Stripe says InvalidRequestError 400"),
        (draft_has_a_line, Verdict.FALSE, "number of lines: assumed 1, Stripe says 0"),
        (draft_has_metadata, Verdict.NOT_TRIED, "the answer could not be read: KeyError"),
        (call_is_malformed, Verdict.NOT_TRIED, "the experiment's own call is wrong: InvalidRequestError 400"),
        (customer_is_unknown, Verdict.NOT_TRIED, "Stripe refused the preparation: InvalidRequestError 400"),
    ],
    ids=lambda value: value.name if isinstance(value, Assumption) else "",
)
def test_wrong_assumption_is_not_true(account: DoubleAccount, tried: Assumption, verdict: Verdict, detail: str) -> None:
    result = run(tried, account)

    assert result.verdict is verdict
    assert result.detail.startswith(detail)


def test_experiment_leaves_nothing_behind_when_it_fails(double: StripeDouble, account: DoubleAccount) -> None:
    result = run(void_is_refused, account)

    assert result.left_behind == ()
    assert {product["active"] for product in double.all_of("product")} == {False}
    assert {invoice["status"] for invoice in double.all_of("invoice")} == {"void"}
    assert double.all_of("customer") == []


def test_experiment_leaves_nothing_behind_when_it_is_interrupted(double: StripeDouble, account: DoubleAccount) -> None:
    @assumption(source="", if_true="", if_false="")
    def somebody_presses_ctrl_c(account: Account) -> None:
        account.new_open_invoice(account.new_customer())
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(somebody_presses_ctrl_c, account)

    assert [invoice["status"] for invoice in double.all_of("invoice")] == ["void"]


def test_what_cannot_be_removed_is_named(double: StripeDouble, account: DoubleAccount) -> None:
    customer = account.new_customer()
    double.revoked_api_keys.add(API_KEY)

    (left,) = account.clean_up()

    assert left.startswith(f"customer {customer} (Invalid API Key provided")


def test_names_are_unique_and_claims_are_sentences() -> None:
    names = [assumed.name for assumed in catalogue.ASSUMPTIONS]

    assert len(set(names)) == len(names) >= LEAST
    for assumed in catalogue.ASSUMPTIONS:
        assert len(assumed.name.split("-")) >= WORDS_LEAST
        for text in (assumed.claim, assumed.if_true, assumed.if_false):
            assert text.rstrip(")").endswith("."), text


@pytest.mark.parametrize("assumed", catalogue.ASSUMPTIONS, ids=lambda assumed: assumed.name)
def test_source_is_a_page_of_stripe_or_a_name_in_its_sdk(assumed: Assumption) -> None:
    if "://" in assumed.source:
        page = urlsplit(assumed.source)
        assert (page.scheme, page.netloc) in {("https", "docs.stripe.com"), ("https", "github.com")}
        return
    path, _, last = assumed.source.removeprefix("stripe.").rpartition(".")
    owner: object = stripe
    for name in path.split("."):
        owner = getattr(owner, name)
    assert last in owner.__annotations__ or hasattr(owner, last)


def test_page_is_current() -> None:
    assert document.PAGE.read_text(encoding="utf-8") == document.render(), "run python -m tests.assumptions --docs"


@pytest.mark.parametrize("key", ["", "sk_live_x", "rk_live_x", "rk_test_x", "pk_test_x", "sk_prod"])
def test_key_that_is_no_secret_test_key_is_refused(capsys: pytest.CaptureFixture[str], key: str) -> None:
    assert main([], {"STRIPE_API_KEY": key}) == 2

    said = capsys.readouterr()
    assert "sk_test_" in said.err
    assert (said.out, key in said.err if key else False) == ("", False)


def test_secret_test_key_is_accepted() -> None:
    assert refusal_of("sk_test_x") is None


def test_command_prints_a_verdict_for_each(double: StripeDouble, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(
        ["--only", "draft", "--api-base", double.url],
        {"STRIPE_API_KEY": API_KEY},
    )

    lines = capsys.readouterr().out.splitlines()
    assert code == 0
    assert any(line.split()[:2] == ["TRUE", "draft-has-no-hosted-page"] for line in lines)
    assert lines[-1].endswith(" TRUE, 0 FALSE, 0 NOT TRIED")


def test_command_says_what_a_false_assumption_means(
    double: StripeDouble, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalogue, "ASSUMPTIONS", (zero_is_paid,))
    monkeypatch.setenv("COLUMNS", "300")

    code = main(["--api-base", double.url], {"STRIPE_API_KEY": API_KEY})

    said = " ".join(capsys.readouterr().out.split())
    assert code == 1
    assert "FALSE zero-is-paid status: assumed 'open', Stripe says 'paid'. it retrieves the invoice [again]" in said
    assert said.endswith("0 TRUE, 1 FALSE, 0 NOT TRIED")
