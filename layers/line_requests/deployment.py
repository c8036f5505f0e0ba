"""The composition root: settings become clients, clients become stores, stores become flows. Only here."""

from collections.abc import Callable
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import boto3
from aws_lambda_powertools.utilities.parameters import SecretsProvider

from line_requests import snapstart
from line_requests.billing.account import Billing
from line_requests.billing.client import connect, is_live
from line_requests.bus.events import Bus
from line_requests.clock import Clock
from line_requests.flows.create import Creation
from line_requests.flows.lifecycle import Lifecycle
from line_requests.flows.reconciler import Reconciler
from line_requests.flows.refunds import Refunds
from line_requests.flows.webhook import Webhook
from line_requests.secret import StripeSecret, api_key_of
from line_requests.settings import Settings
from line_requests.storage.calls import CLIENT_CONFIG, end_with_invocation
from line_requests.storage.snapshot import load_snapshot
from line_requests.storage.stores import Stores
from line_requests.storage.table import Table

if TYPE_CHECKING:
    import stripe


class Deployment:
    """One deployment's parts, wired; made once per process, at import, so that a snapshot holds the clients."""

    def __init__(self, settings: Settings, client: Callable[..., Any] = boto3.client) -> None:
        self._client = client
        self.settings = settings
        table = Table(self._aws("dynamodb"), settings.table_name)
        self.stores = Stores(table)
        self.secret = StripeSecret(
            SecretsProvider(boto3_client=self._aws("secretsmanager")), settings.stripe_secret_arn
        )
        self.lifecycle = Lifecycle(self.stores, self.billing, settings.window_ms)
        self.refunds = Refunds(self.stores.lines, self.lifecycle)
        self.webhook = Webhook(self.secret, self.stores, self.lifecycle)
        self.load_snapshot = partial(load_snapshot, table)

    @classmethod
    def from_environment(cls) -> "Deployment":
        """The deployment that this function belongs to."""
        return cls(Settings.from_environment())

    @classmethod
    def for_snapshot(cls) -> "Deployment":
        """The deployment that this function belongs to, with all that its handler may use: for SnapStart."""
        snapstart.prepare()
        return cls.from_environment()

    @cached_property
    def bus(self) -> Bus:
        """The event bus, to which two functions and the console script publish."""
        return Bus(self._aws("events"), self.settings.bus_name)

    def _aws(self, service: str) -> Any:  # noqa: ANN401 - a client of boto3's
        """A client whose calls end with the invocation."""
        made = self._client(service, config=CLIENT_CONFIG)
        end_with_invocation(made)
        return made

    def billing(self, clock: Clock) -> Billing:
        """Stripe with the deployment's key, until the clock ends; raises BillingMisconfigured without a key."""
        api_key = self.settings.stripe_api_key or api_key_of(self.secret.read())
        return Billing(self.stripe_client(api_key, clock), livemode=is_live(api_key))

    def stripe_client(self, api_key: str, clock: Clock) -> "stripe.StripeClient":
        """The SDK's client, whose calls end when the clock does."""
        return connect(api_key, api_base=self.settings.stripe_api_base, clock=clock)

    def creation(self, clock: Clock) -> Creation:
        """The flow of one request for a line."""
        settings = self.settings
        return Creation(self.stores, self.lifecycle, clock, limit=settings.limit, window_ms=settings.window_ms)

    def reconciler(self, clock: Clock) -> Reconciler:
        """One run of the reconciler."""
        return Reconciler(self.stores, self.lifecycle, self.bus, clock)
