"""One Stripe account as the console script uses it: what it looks up and sets up there besides."""

from typing import Self

import stripe

from line_requests.billing.account import Billing
from line_requests.billing.catalogue import Catalogue
from line_requests.billing.setup import Setup


class OperatorBilling(Billing):
    """The account with what only operators use; no function imports it, because imports slow every start."""

    def __init__(self, client: stripe.StripeClient, *, livemode: bool) -> None:
        super().__init__(client, livemode=livemode)
        self.catalogue = Catalogue(client)
        self.setup = Setup(client)

    @classmethod
    def of(cls, account: Billing) -> Self:
        """The same account, through the same client."""
        return cls(account.client, livemode=account.livemode)
