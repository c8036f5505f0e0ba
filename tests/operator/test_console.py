from __future__ import annotations

import json
from typing import TYPE_CHECKING

import boto3
import pytest

from line_requests.operator import cli

if TYPE_CHECKING:
    from tests.operator.conftest import Console, Deployment
    from tests.operator.shop import Shop


def test_without_settings_it_says_what_is_missing(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STRIPE_API_KEY")
    said = console.refused("workspace", "create", "acme", "--customer", "cus_1")
    assert said.startswith("STRIPE_SECRET_ARN or STRIPE_API_KEY is not set: ")
    monkeypatch.setenv("PAYMENT_WINDOW_HOURS", "long")
    assert console.refused("plans", "show") == "a setting is no number: could not convert string to float: 'long'"
    monkeypatch.delenv("TABLE_NAME")
    assert console.refused("plans", "show").startswith("TABLE_NAME is not set: ")


def test_the_bus_has_to_be_named_to_answer(console: Console) -> None:
    said = console.refused("provisioning", "answer", "acme", "0" * 24, "succeeded")
    assert said.startswith("BUS_NAME is not set: ")


def test_a_table_that_is_not_there_is_one_line(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TABLE_NAME", "nowhere")
    assert "ResourceNotFoundException" in console.refused("plans", "show")


@pytest.mark.parametrize(
    ("trouble", "said"),
    [("revoked", "Stripe: AuthenticationError 401"), ("forbidden", "Stripe: PermissionError 403")],
)
def test_a_key_that_stripe_refuses_is_one_line(
    shop: Shop, console: Console, monkeypatch: pytest.MonkeyPatch, trouble: str, said: str
) -> None:
    key = f"sk_test_{trouble}"
    monkeypatch.setenv("STRIPE_API_KEY", key)
    (shop.double.revoked_api_keys if trouble == "revoked" else shop.double.forbidden_api_keys).add(key)
    assert console.refused("workspace", "create", "acme", "--customer", "cus_1").startswith(said)


def test_stripe_out_of_reach_is_one_line(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRIPE_API_BASE", "http://127.0.0.1:9")
    said = console.refused("workspace", "create", "acme", "--customer", "cus_1")
    assert said.startswith("Stripe: APIConnectionError")


def test_a_live_key_and_a_test_customer_do_not_go_together(
    shop: Shop, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The double takes any key of this form, and all that it holds is test mode.
    monkeypatch.setenv("STRIPE_API_KEY", "sk_test_live_")
    customer = shop.customer()
    said = console.refused("workspace", "create", "acme", "--customer", customer)
    assert said == f"the customer {customer} is not of the Stripe key's mode"


def _stack(deployment: Deployment, secret: str, shop: Shop) -> str:
    name = f"stack-of-{deployment.table_name}"
    parameters = {"StripeSecretArn": secret, "StripeApiBase": shop.double.url, "PaymentWindowHours": "48"}
    template = {
        "Parameters": {key: {"Type": "String"} for key in parameters},
        "Resources": {"Any": {"Type": "AWS::SQS::Queue"}},
        "Outputs": {"TableName": {"Value": deployment.table_name}, "BusName": {"Value": "line-bus"}},
    }
    boto3.client("cloudformation").create_stack(
        StackName=name,
        TemplateBody=json.dumps(template),
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
    )
    return name


def test_a_stack_says_all_that_is_needed(
    shop: Shop, console: Console, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("TABLE_NAME", "STRIPE_API_KEY", "STRIPE_API_BASE"):
        monkeypatch.delenv(name)
    secret = boto3.client("secretsmanager").create_secret(
        Name=f"stripe-of-{deployment.table_name}", SecretString=json.dumps({"api_key": "sk_test_product"})
    )["ARN"]
    stack = _stack(deployment, secret, shop)
    monkeypatch.setenv("TABLE_NAME", "another")
    created = console.json("--stack", stack, "workspace", "create", "acme", "--customer", shop.customer())
    assert created["workspace"] == "acme"
    assert console.json("workspace", "show", "acme", "--stack", stack) == created
    settings = cli.Deployment(stack).settings
    assert (settings.bus_name, settings.window_ms) == ("line-bus", 48 * 3_600_000)


def test_a_secret_that_cannot_be_read_is_one_line(
    shop: Shop, console: Console, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("STRIPE_API_KEY")
    stack = _stack(deployment, "arn:aws:secretsmanager:us-east-1:123456789012:secret:none", shop)
    said = console.refused("--stack", stack, "workspace", "create", "acme", "--customer", "cus_1")
    assert said == "Stripe: the Stripe secret cannot be read"


def test_an_unknown_stack_is_one_line(console: Console) -> None:
    assert "nowhere does not exist" in console.refused("--stack", "nowhere", "plans", "show")


@pytest.mark.parametrize("url", ["nonsense", "http://", "http://a b"])
def test_an_endpoint_that_is_no_url_is_one_line(console: Console, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", url)
    assert console.refused("plans", "show") == f"AWS_ENDPOINT_URL_DYNAMODB is no URL: {url}"


def test_a_stack_of_another_product_is_refused(console: Console) -> None:
    template = {"Resources": {"Any": {"Type": "AWS::SQS::Queue"}}}
    boto3.client("cloudformation").create_stack(StackName="other", TemplateBody=json.dumps(template))
    assert console.refused("--stack", "other", "plans", "show").startswith("the stack other has no output TableName")


@pytest.mark.parametrize("argv", [[], ["plans"], ["line", "show", "acme", "xyz"], ["workspace", "sync"]])
def test_a_command_that_is_none_is_explained(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        cli.main(argv)
    assert exit_.value.code == 2
    assert capsys.readouterr().err.startswith("usage: line-requests")
