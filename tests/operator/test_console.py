from __future__ import annotations

import importlib.metadata
import json
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Literal

import boto3
import pytest

from line_requests.domain.submission import Submission
from line_requests.operator import cli
from line_requests.operator.target import Target
from tests.operator import lines

if TYPE_CHECKING:
    from tests.operator.conftest import Console, Deployment
    from tests.operator.shop import Shop

GROUPS = ("plans", "workspace", "key", "line", "provisioning")
# In a process of its own, because the result goes to a pipe that nobody reads.
SHOW_PLANS = """
import sys
import boto3
from moto import mock_aws
from line_requests.operator import cli
from tests.support.engine import table_definition
with mock_aws():
    boto3.client("dynamodb").create_table(TableName="lines", **table_definition())
    sys.exit(cli.main(["plans", "show"]))
"""


def test_without_settings_it_says_what_is_missing(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STRIPE_API_KEY")
    said = console.refused("workspace", "create", "acme", "--customer", "cus_1")
    assert said.startswith("STRIPE_SECRET_ARN or STRIPE_API_KEY is not set: ")
    monkeypatch.setenv("PAYMENT_WINDOW_HOURS", "long")
    assert console.refused("plans", "show") == "a setting is not a number: could not convert string to float: 'long'"
    monkeypatch.delenv("TABLE_NAME")
    assert console.refused("plans", "show").startswith("TABLE_NAME is not set: ")


def test_the_bus_has_to_be_named_to_answer(console: Console) -> None:
    said = console.refused("provisioning", "answer", "0" * 24, "succeeded")
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
    settings = Target(stack).deployment.settings
    assert (settings.bus_name, settings.window_ms) == ("line-bus", 48 * 3_600_000)


def test_a_secret_that_cannot_be_read_is_one_line(
    shop: Shop, console: Console, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("STRIPE_API_KEY")
    secret = "arn:aws:secretsmanager:us-east-1:123456789012:secret:none"
    stack = _stack(deployment, secret, shop)
    said = console.refused("--stack", stack, "workspace", "create", "acme", "--customer", "cus_1")
    assert said == f"Stripe: the Stripe secret {secret} cannot be read: ResourceNotFoundException"


def test_an_unknown_stack_is_one_line(console: Console) -> None:
    assert "nowhere does not exist" in console.refused("--stack", "nowhere", "plans", "show")


@pytest.mark.parametrize("url", ["nonsense", "http://", "http://a b"])
def test_an_endpoint_that_is_no_url_is_one_line(console: Console, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", url)
    assert console.refused("plans", "show") == f"AWS_ENDPOINT_URL_DYNAMODB is not a URL: {url}"


def test_a_stack_of_another_product_is_refused(console: Console) -> None:
    template = {"Resources": {"Any": {"Type": "AWS::SQS::Queue"}}}
    boto3.client("cloudformation").create_stack(StackName="other", TemplateBody=json.dumps(template))
    assert console.refused("--stack", "other", "plans", "show").startswith("the stack other has no output TableName")


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["plan"], 'Unknown command "plan". Did you mean "plans"?'),
        (["line", "shwo"], 'Unknown command "shwo". Did you mean "show"?'),
        (["plans", "apply", "x", "--prun"], "Unknown option: --prun. Did you mean --prune?"),
        (["line", "show", "xyz"], "'xyz' is neither a line id, 24 hex digits, nor an invoice, in_..."),
        (["workspace", "create", "acme"], 'Command "workspace create" parameter --customer requires an argument.'),
    ],
)
def test_a_wrong_command_line_is_explained_with_a_suggestion(
    argv: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(argv) == cli.USAGE == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("line-requests: ")
    assert said in printed.err
    assert cli.main([*argv, "--json"]) == cli.USAGE
    assert said in json.loads(capsys.readouterr().err)["error"]


@pytest.mark.parametrize("argv", [["--help"], [], ["plans"], ["plans", "--help"], ["plans", "apply", "--help"]])
def test_help_is_no_error(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(argv) == cli.DONE
    printed = capsys.readouterr()
    assert printed.out.startswith(f"Usage: line-requests {' '.join(argv[:-1])}".rstrip())
    assert "--stack" in printed.out
    assert printed.err == ""


def test_help_shows_examples_exit_codes_and_the_environment(capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["plans", "apply", "--help"])
    assert "Examples:\n  line-requests --stack prod plans apply plans.toml --dry-run\n" in capsys.readouterr().out
    cli.main(["--help"])
    printed = capsys.readouterr().out
    assert "Exit codes:\n  0  done\n" in printed
    assert "TABLE_NAME, BUS_NAME " in printed


def test_every_command_has_help_with_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    for group in GROUPS:
        cli.main([group])
        for command in re.findall(r"^│ ([a-z][a-z-]+) ", capsys.readouterr().out, re.MULTILINE):
            cli.main([group, command, "--help"])
            assert f"  line-requests {group} {command}" in capsys.readouterr().out.replace(" --stack prod", "")


def test_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == cli.DONE
    assert capsys.readouterr().out == f"{importlib.metadata.version('line-requests')}\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_knows_every_group(shell: Literal["bash", "zsh", "fish"]) -> None:
    script = cli.app.generate_completion(shell=shell)
    assert all(group in script for group in GROUPS)
    assert "issue" in script


def test_clients_texts_cannot_steer_the_terminal(console: Console, deployment: Deployment, acme: str) -> None:
    name = "Ada\x1b[2J\u202e[bold]"
    submission = Submission(first_name=name, last_name="Lovelace", channel_type="phone", line_type="purchased")
    line = lines.requested(deployment, acme, submission)
    printed = console.text("line", "show", line.id)
    assert "Ada\\x1b[2J\\u202e[bold]" in printed
    assert "\x1b" not in printed
    assert console.json("line", "show", line.id)["firstName"] == name


def test_colour_is_for_terminals_that_want_it(
    console: Console, deployment: Deployment, acme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = lines.active(deployment, acme)
    assert "\x1b[" not in console.text("line", "show", line.id)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    assert "\x1b[32mactive" in console.text("line", "show", line.id)
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[32m" not in console.text("line", "show", line.id)


def test_a_reader_that_stops_reading_is_no_error() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    environment = os.environ | {"TABLE_NAME": "lines", "AWS_DEFAULT_REGION": "us-east-1"}
    done = subprocess.run(
        [sys.executable, "-c", SHOW_PLANS], stdout=writer, stderr=subprocess.PIPE, env=environment, check=False
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (cli.BROKEN_PIPE, b"")
