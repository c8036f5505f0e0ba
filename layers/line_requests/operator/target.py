"""The deployment that a command is about, named by its CloudFormation stack or by the environment."""

import os
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import boto3
from botocore.config import Config
from botocore.utils import is_valid_endpoint_url

from line_requests.billing.client import is_live
from line_requests.billing.operator_account import OperatorBilling
from line_requests.bus.events import Bus
from line_requests.clock import Clock
from line_requests.deployment import Deployment
from line_requests.domain.errors import BillingUnavailable
from line_requests.operator.refusal import Refused
from line_requests.secret import api_key_of
from line_requests.settings import Settings

# As much time as a client's request has; a command about many workspaces takes a new clock for each of them.
BUDGET_S = 20.0
# A file of plans is one call to Stripe per price.
APPLY_BUDGET_S = 600.0
# No client waits for an operator, and a page of a scan is a megabyte, over whatever line the operator has.
PATIENT = Config(connect_timeout=10, read_timeout=60)

# What a stack says about its deployment, by the environment variable that it replaces.
STACK_OUTPUTS = {"TABLE_NAME": "TableName", "BUS_NAME": "BusName", "API_URL": "ApiUrl", "WEBHOOK_URL": "WebhookUrl"}
STACK_PARAMETERS = {
    "STRIPE_SECRET_ARN": "StripeSecretArn",
    "STRIPE_API_BASE": "StripeApiBase",
    "PAYMENT_WINDOW_HOURS": "PaymentWindowHours",
}
ENVIRONMENT = """\
Environment, where --stack does not say it:
  TABLE_NAME, BUS_NAME          the deployment's table and event bus
  STRIPE_SECRET_ARN             its secret; or, to use a key of your own,
  STRIPE_API_KEY                a Stripe key, which also overrides the stack's secret
  STRIPE_API_BASE               where Stripe answers (default: https://api.stripe.com)
  PAYMENT_WINDOW_HOURS          as deployed (default: 0)
  AWS_PROFILE, AWS_DEFAULT_REGION, AWS_ENDPOINT_URL, ...   as for every AWS tool"""


class Target:
    """One deployment, wired when a command first needs it."""

    def __init__(self, stack: str | None) -> None:
        self.stack = stack
        for name, value in os.environ.items():
            if name.startswith("AWS_ENDPOINT_URL") and value and not is_valid_endpoint_url(value):
                raise Refused(f"{name} is not a URL: {value}")

    @cached_property
    def outputs(self) -> Mapping[str, str]:
        """The stack's outputs; none without a stack."""
        return {output["OutputKey"]: output["OutputValue"] for output in self._described.get("Outputs", [])}

    @cached_property
    def environment(self) -> Mapping[str, str]:
        """The process's environment, overridden by what the stack says."""
        if self.stack is None:
            return os.environ
        given = {one["ParameterKey"]: one["ParameterValue"] for one in self._described.get("Parameters", [])}
        if "TableName" not in self.outputs:
            raise Refused(
                f"the stack {self.stack} has no output TableName: it is another product's, or not deployed yet"
            )
        told = {name: self.outputs[key] for name, key in STACK_OUTPUTS.items() if key in self.outputs}
        return {**os.environ, **told, **{name: given[key] for name, key in STACK_PARAMETERS.items() if key in given}}

    def resources(self, kind: str) -> dict[str, str]:
        """The physical ids of the stack's resources of a type, by their logical ids."""
        pages = self.client("cloudformation").get_paginator("list_stack_resources").paginate(StackName=self.stack)
        return {
            found["LogicalResourceId"]: found["PhysicalResourceId"]
            for page in pages
            for found in page["StackResourceSummaries"]
            if found["ResourceType"] == kind
        }

    def client(self, service: str) -> Any:  # noqa: ANN401 - boto3 makes a client of any service
        """A client of an AWS service."""
        return boto3.client(service)  # type: ignore[call-overload] # any service

    @cached_property
    def _described(self) -> dict[str, Any]:
        if self.stack is None:
            return {}
        found: dict[str, Any] = self.client("cloudformation").describe_stacks(StackName=self.stack)["Stacks"][0]
        return found

    @cached_property
    def deployment(self) -> Deployment:
        """Its parts; raises Refused when a setting is missing."""
        self._require("TABLE_NAME")
        try:
            return Deployment(Settings.from_environment(self.environment), _patient_client)
        except ValueError as error:
            raise Refused(f"a setting is not a number: {error}") from None

    def billing(self, clock: Clock | None = None) -> OperatorBilling:
        """Its Stripe account, with the operator's own key if there is one."""
        self._require("STRIPE_SECRET_ARN", "STRIPE_API_KEY")
        billing = OperatorBilling.of(self.deployment.billing(clock or new_clock()))
        self._refuse_another_mode(billing)
        return billing

    def _refuse_another_mode(self, billing: OperatorBilling) -> None:
        """An operator's key of the other mode would store test objects in a live deployment, or the reverse."""
        if not (self.environment.get("STRIPE_API_KEY") and self.environment.get("STRIPE_SECRET_ARN")):
            return
        try:
            deployed = is_live(api_key_of(self.deployment.secret.read()))
        except BillingUnavailable:
            return  # an operator may lack the right to read it
        if deployed is not billing.livemode:
            modes = {True: "live", False: "test"}
            raise Refused(
                f"STRIPE_API_KEY is of {modes[billing.livemode]} mode, the api_key in the secret "
                f"{self.environment['STRIPE_SECRET_ARN']} of {modes[deployed]} mode; set a key of the same mode"
            )

    def bus(self) -> Bus:
        """Its event bus."""
        self._require("BUS_NAME")
        return self.deployment.bus

    def _require(self, *names: str) -> None:
        if not any(self.environment.get(name) for name in names):
            raise Refused(f"{' or '.join(names)} is not set: name the deployment with --stack, or set it")


def _patient_client(service: str, *, config: Config) -> Any:  # noqa: ANN401 - boto3 makes a client of any service
    """A client of an AWS service with an operator's time-outs."""
    return boto3.client(service, config=config.merge(PATIENT))  # type: ignore[call-overload] # any service


def new_clock(budget_s: float = BUDGET_S) -> Clock:
    """A clock that starts now."""
    return Clock.start(budget_s)
