"""The console script against the local stack: the real template, deployed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import boto3
import stripe

from line_requests.operator import cli
from line_requests.storage.stores import Stores
from line_requests.storage.table import Table
from tests.local.demo import OPERATOR_API_KEY
from tests.local.deployment import STACK_NAME

if TYPE_CHECKING:
    import pytest

    from tests.local.stack import LocalStack

Row = dict[str, Any]


@dataclass(frozen=True)
class Local:
    """A deployment, its Stripe account and an operator's terminal."""

    stack: LocalStack
    capsys: pytest.CaptureFixture[str]

    @cached_property
    def stores(self) -> Stores:
        return Stores(Table(boto3.client("dynamodb"), self.stack.deployment.table))

    @cached_property
    def stripe(self) -> stripe.V1Services:
        return stripe.StripeClient(OPERATOR_API_KEY, base_addresses={"api": self.stack.double.url}).v1

    @property
    def webhook_url(self) -> str:
        return f"{self.stack.origin}/stripe/webhook"

    def run(self, *argv: str) -> tuple[int, Any]:
        """The exit code, and what was shown."""
        self.capsys.readouterr()
        code = cli.main(["--stack", STACK_NAME, "--json", *argv])
        return code, json.loads(self.capsys.readouterr().out)

    def physical_ids(self, kind: str) -> dict[str, str]:
        """The stack's resources of a type, by logical id."""
        resources = boto3.client("cloudformation").list_stack_resources(StackName=STACK_NAME)
        return {
            found["LogicalResourceId"]: found["PhysicalResourceId"]
            for found in resources["StackResourceSummaries"]
            if found["ResourceType"] == kind
        }

    def output(self, name: str) -> str:
        """One of the stack's outputs."""
        (found,) = boto3.client("cloudformation").describe_stacks(StackName=STACK_NAME)["Stacks"]
        return next(output["OutputValue"] for output in found["Outputs"] if output["OutputKey"] == name)

    def restored_stripe(self) -> None:
        """The webhook endpoint as this release needs it."""
        assert self.run("setup-stripe", "--url", self.webhook_url)[0] == 0
