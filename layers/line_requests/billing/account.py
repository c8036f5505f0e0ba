"""One Stripe account: everything that the flows ask of Stripe starts here."""

import stripe

from line_requests.billing.credit_notes import CreditNotes
from line_requests.billing.events import Events
from line_requests.billing.invoices import Invoices
from line_requests.billing.reversals import Reversals
from line_requests.billing.subscriptions import Subscriptions


class Billing:
    """What the flows call at Stripe, through one client, whose clock ends the calls."""

    def __init__(self, client: stripe.StripeClient, *, livemode: bool) -> None:
        self.client = client
        self.livemode = livemode
        self.invoices = Invoices(client, livemode=livemode)
        self.subscriptions = Subscriptions(client)
        self.events = Events(client)
        self.reversals = Reversals(client)
        self.credit_notes = CreditNotes(client)
