"""The operators' console script: `line-requests`, against AWS or whatever AWS_ENDPOINT_URL names."""

import argparse
import io
import json
import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from functools import cached_property
from pathlib import Path

import boto3
from botocore.exceptions import BotoCoreError, ClientError
from botocore.utils import is_valid_endpoint_url

from line_requests import telemetry
from line_requests.billing.account import Billing
from line_requests.bus.events import Bus, event_id
from line_requests.clock import Clock, wall_time_ms
from line_requests.deployment import Deployment
from line_requests.domain.errors import BillingUnavailable, LineRequestError
from line_requests.domain.ids import parse_line_id
from line_requests.domain.model import Workspace
from line_requests.operator import commands, plan_files, views
from line_requests.operator.commands import Refused
from line_requests.operator.views import Row, View
from line_requests.settings import Settings
from line_requests.storage.keys import ApiKeys
from line_requests.storage.table import ConditionFailed, TransactionCanceled
from line_requests.storage.workspaces import Workspaces

BUDGET_S = 20.0
APPLY_BUDGET_S = 600.0

# What a stack tells of its deployment, by the name of the environment variable that it stands for.
STACK_OUTPUTS = {"TABLE_NAME": "TableName", "BUS_NAME": "BusName"}
STACK_PARAMETERS = {
    "STRIPE_SECRET_ARN": "StripeSecretArn",
    "STRIPE_API_BASE": "StripeApiBase",
    "PAYMENT_WINDOW_HOURS": "PaymentWindowHours",
}
ENVIRONMENT = """\
environment, where --stack does not say it:
  TABLE_NAME, BUS_NAME          the deployment's table and event bus
  STRIPE_SECRET_ARN             its secret; or, to use a key of your own,
  STRIPE_API_KEY                a Stripe key, which --stack leaves in force
  STRIPE_API_BASE               where Stripe answers (default: https://api.stripe.com)
  PAYMENT_WINDOW_HOURS          as deployed (default: 0)
  AWS_PROFILE, AWS_DEFAULT_REGION, AWS_ENDPOINT_URL, ...   as for every AWS tool
"""


class _Incomplete(Exception):
    """Some of it went wrong: there is something to show, and to fail with."""

    def __init__(self, view: View, message: str) -> None:
        super().__init__(message)
        self.view = view


class Target:
    """The deployment that a command is about, wired when it is first asked for."""

    def __init__(self, stack: str | None) -> None:
        self._stack = stack
        for name, value in os.environ.items():
            if name.startswith("AWS_ENDPOINT_URL") and value and not is_valid_endpoint_url(value):
                raise Refused(f"{name} is not a URL: {value}")

    @cached_property
    def environment(self) -> Mapping[str, str]:
        """The process's environment, overridden by what the stack says."""
        return {**os.environ, **(_stack_environment(self._stack) if self._stack else {})}

    @cached_property
    def deployment(self) -> Deployment:
        """Its parts; raises Refused when a setting is missing."""
        self._require("TABLE_NAME")
        try:
            return Deployment(Settings.from_environment(self.environment))
        except ValueError as error:
            raise Refused(f"a setting is not a number: {error}") from None

    def billing(self, clock: Clock | None = None) -> Billing:
        """Its Stripe account, with the operator's own key if there is one."""
        self._require("STRIPE_SECRET_ARN", "STRIPE_API_KEY")
        return self.deployment.billing(clock or new_clock())

    def bus(self) -> Bus:
        """Its event bus."""
        self._require("BUS_NAME")
        return self.deployment.bus

    def _require(self, *names: str) -> None:
        if not any(self.environment.get(name) for name in names):
            raise Refused(f"{' or '.join(names)} is not set: name the deployment with --stack, or set it")


def new_clock() -> Clock:
    """As much time as a client's request has."""
    return Clock.start(BUDGET_S)


def _stack_environment(stack: str) -> dict[str, str]:
    found = boto3.client("cloudformation").describe_stacks(StackName=stack)["Stacks"][0]
    outputs = {output["OutputKey"]: output["OutputValue"] for output in found.get("Outputs", [])}
    parameters = {given["ParameterKey"]: given["ParameterValue"] for given in found.get("Parameters", [])}
    if "TableName" not in outputs:
        raise Refused(f"the stack {stack} has no output TableName: it is another product's, or not deployed yet")
    told = {name: outputs.get(key, "") for name, key in STACK_OUTPUTS.items()}
    return told | {name: parameters[key] for name, key in STACK_PARAMETERS.items() if key in parameters}


# --- commands -----------------------------------------------------------------------------------


def _plans_apply(target: Target, args: argparse.Namespace) -> View:
    try:
        specs = plan_files.read(Path(args.file).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise Refused(f"{args.file}: {getattr(error, 'strerror', None) or error}") from None
    # Every price is one call, so a file of many plans takes its time.
    billing = target.billing(Clock.start(APPLY_BUDGET_S))
    applied, removed = plan_files.apply(specs, target.deployment.stores.plans, billing, prune=args.prune)
    view: Row = {"applied": [plan.name for plan in applied], "removed": removed}
    if args.sync:
        try:
            view["synced"] = _sync_all(target)
        except _Incomplete as incomplete:
            raise _Incomplete(view | {"synced": incomplete.view}, str(incomplete)) from None
    return view


def _plans_show(target: Target, _: argparse.Namespace) -> View:
    return [views.plan_view(plan) for plan in target.deployment.stores.plans.all()]


def _workspace_create(target: Target, args: argparse.Namespace) -> View:
    created = commands.create_workspace(
        target.deployment.stores.workspaces,
        target.deployment.lifecycle.subscriptions,
        target.billing(),
        args.workspace,
        customer=args.customer,
        organisation=args.organisation,
        now_ms=wall_time_ms(),
    )
    return _shown(target, created)


def _workspace_show(target: Target, args: argparse.Namespace) -> View:
    return _shown(target, commands.workspace(target.deployment.stores.workspaces, args.workspace))


def _shown(target: Target, workspace: Workspace) -> Row:
    return views.workspace_view(workspace, target.deployment.stores.api_keys.list(workspace.id))


def _workspace_sync(target: Target, args: argparse.Namespace) -> View:
    if args.all:
        return _sync_all(target)
    synced = _sync(target, args.workspace)
    return _shown(target, synced)


def _sync_all(target: Target) -> list[Row]:
    """One bad workspace stops nothing; it is told at the end."""
    rows, failed = list[Row](), 0
    for workspace_id in sorted(target.deployment.stores.workspaces.ids()):
        row: Row = {"workspace": workspace_id, "plan": None, "status": None, "error": None}
        try:
            synced = _sync(target, workspace_id)
        except (Refused, LineRequestError) as error:
            failed += 1
            row["error"] = _one_line(error)
        else:
            if synced.subscription is not None:
                row |= {"plan": synced.subscription.plan, "status": synced.subscription.status}
        rows.append(row)
    if failed:
        raise _Incomplete(rows, f"{failed} of {len(rows)} workspaces could not be synced")
    return rows


def _sync(target: Target, workspace_id: str) -> Workspace:
    target.billing()  # names a missing setting before anything is read
    deployment = target.deployment
    return commands.sync(deployment.stores.workspaces, deployment.lifecycle, workspace_id, new_clock())


def _keys(target: Target) -> tuple[Workspaces, ApiKeys]:
    return target.deployment.stores.workspaces, target.deployment.stores.api_keys


def _key_issue(target: Target, args: argparse.Namespace) -> View:
    token = commands.issue_key(*_keys(target), args.workspace, args.label, wall_time_ms())
    note = "Keep it now: it is shown this once, and only its hash is stored."
    return {"workspace": args.workspace, "label": args.label, "key": token, "note": note}


def _key_list(target: Target, args: argparse.Namespace) -> View:
    return [views.key_view(key) for key in commands.list_keys(*_keys(target), args.workspace)]


def _key_revoke(target: Target, args: argparse.Namespace) -> View:
    return views.key_view(commands.revoke_key(*_keys(target), args.workspace, args.key, wall_time_ms()))


def _line_show(target: Target, args: argparse.Namespace) -> View:
    return views.line_view(commands.line(target.deployment.stores.lines, args.workspace, args.line))


def _line_retry(target: Target, args: argparse.Namespace) -> View:
    retried = commands.retry(
        target.deployment.stores.lines, target.deployment.stores.workspaces, args.workspace, args.line, wall_time_ms()
    )
    return views.line_view(retried)


def _line_release(target: Target, args: argparse.Namespace) -> View:
    return views.line_view(commands.release(target.deployment.stores.lines, args.workspace, args.line, wall_time_ms()))


def _provisioning_answer(target: Target, args: argparse.Namespace) -> View:
    succeeded = args.outcome == "succeeded"
    if succeeded and args.reason:
        raise Refused("a reason belongs to failed")
    line = commands.publish_result(
        target.deployment.stores.lines, target.bus(), args.workspace, args.line, succeeded=succeeded, reason=args.reason
    )
    return {"line": line.id, "eventId": event_id(line), "outcome": args.outcome}


# --- the command line ---------------------------------------------------------------------------


def _line_id(text: str) -> str:
    line_id = parse_line_id(text)
    if line_id is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no line id: 24 hex digits")
    return line_id


def _parser() -> argparse.ArgumentParser:
    """Every command, its arguments, and the function that it stands for."""
    common = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    common.add_argument("--stack", metavar="NAME", help="the deployment, by its CloudFormation stack")
    common.add_argument("--json", action="store_true", help="JSON instead of text")
    parser = argparse.ArgumentParser(
        prog="line-requests",
        description="Plans, workspaces, keys and lines of one deployment.",
        epilog=ENVIRONMENT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[common],
    )
    groups = parser.add_subparsers(required=True, metavar="GROUP")

    def group(name: str, text: str) -> Callable[[str, Callable[..., View], str], argparse.ArgumentParser]:
        commands = groups.add_parser(name, help=text, description=text).add_subparsers(required=True, metavar="COMMAND")

        def command(verb: str, run: Callable[..., View], text: str) -> argparse.ArgumentParser:
            added = commands.add_parser(verb, help=text, description=text, parents=[common])
            added.set_defaults(run=run)
            return added

        return command

    command = group("plans", "what the base prices mean")
    apply = command("apply", _plans_apply, "check the plans of a file at Stripe and store them, all or none")
    apply.add_argument("file", metavar="FILE", help="TOML, see plans.example.toml")
    apply.add_argument("--prune", action="store_true", help="remove applied plans that the file does not have")
    apply.add_argument("--sync", action="store_true", help="then bring every workspace up to date")
    command("show", _plans_show, "show the applied plans")

    command = group("workspace", "who may request lines, and how many")
    create = command("create", _workspace_create, "tie a new workspace to a Stripe customer")
    create.add_argument("workspace", metavar="ID", help="1 to 40 of a-z, 0-9 and -")
    create.add_argument("--customer", required=True, metavar="cus_...")
    create.add_argument("--organisation", metavar="org_...", help="the Clerk organisation that acts for it")
    show = command("show", _workspace_show, "show plan, places, lock and keys")
    show.add_argument("workspace", metavar="ID")
    sync = command("sync", _workspace_sync, "read the subscription from Stripe")
    which = sync.add_mutually_exclusive_group(required=True)
    which.add_argument("workspace", metavar="ID", nargs="?")
    which.add_argument("--all", action="store_true", help="every workspace")

    command = group("key", "a workspace's API keys")
    issue = command("issue", _key_issue, "make a key; it is shown once")
    issue.add_argument("workspace", metavar="WORKSPACE")
    issue.add_argument("--label", default="", help="what it is for")
    command("list", _key_list, "list the keys, by their hash").add_argument("workspace", metavar="WORKSPACE")
    revoke = command("revoke", _key_revoke, "revoke a key; it takes effect with the next call")
    revoke.add_argument("workspace", metavar="WORKSPACE")
    revoke.add_argument("key", metavar="KEY", help="the first digits of its hash, or the key itself")

    command = group("line", "one line request")
    for verb, run, text in (
        ("show", _line_show, "show a line with its history"),
        ("retry", _line_retry, "provision a failed line again, if there is a place for it"),
        ("release", _line_release, "end an active or failed line and give its place back"),
    ):
        _with_line(command(verb, run, text))

    command = group("provisioning", "what provisioners say")
    answer = _with_line(command("answer", _provisioning_answer, "answer for a provisioner, on the event bus"))
    answer.add_argument("outcome", choices=["succeeded", "failed"])
    answer.add_argument("--reason", metavar="TEXT", help="why it failed")
    return parser


def _with_line(command: argparse.ArgumentParser) -> argparse.ArgumentParser:
    command.add_argument("workspace", metavar="WORKSPACE")
    command.add_argument("line", metavar="LINE", type=_line_id)
    return command


@contextmanager
def _own_words_only() -> Iterator[None]:
    """Keeps logs and metrics, which are for CloudWatch, off the operator's terminal."""
    level = telemetry.logger.log_level
    telemetry.logger.setLevel(logging.CRITICAL)
    try:
        with redirect_stdout(io.StringIO()):
            yield
    finally:
        telemetry.logger.setLevel(level)


def _one_line(error: Exception) -> str:
    if isinstance(error, ConditionFailed | TransactionCanceled):
        return "another process has just changed it; check it, then retry"
    text = " ".join(str(error).split()) or type(error).__name__
    return f"Stripe: {text}" if isinstance(error, BillingUnavailable) else text


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; what went wrong is one line on stderr, and exit code 1."""
    args = _parser().parse_args(argv)

    def tell(view: View) -> None:
        print(json.dumps(view, indent=2) if getattr(args, "json", False) else views.text(view))

    try:
        with _own_words_only():
            view = args.run(Target(getattr(args, "stack", None)), args)
    except _Incomplete as error:
        tell(error.view)
        print(f"line-requests: {error}", file=sys.stderr)
    except (Refused, LineRequestError, ConditionFailed, TransactionCanceled, BotoCoreError, ClientError) as error:
        print(f"line-requests: {_one_line(error)}", file=sys.stderr)
    else:
        tell(view)
        return 0
    return 1
