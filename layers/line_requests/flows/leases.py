"""How long one caller may work on a line at Stripe, and what callers wait for."""

from enum import Enum

from line_requests.domain.model import Line

# At most one poller per line and interval asks Stripe; the others answer what is stored (contract 39).
POLL_INTERVAL_MS = 3_000
# Three of Stripe's slowest calls, and a margin in which the holder no longer calls Stripe.
LEASE_MS = 13_000
LEASE_MARGIN_S = 1.0
# The pause between two attempts to take a lease that another caller holds.
LEASE_PAUSE_MIN_S, LEASE_PAUSE_MAX_S = 0.05, 0.5


class Until(Enum):
    """What a caller needs from `advance`."""

    FINALIZED = "the invoice has its hosted page"
    CHECKED = "Stripe was asked once"

    def reached(self, line: Line) -> bool:
        """Whether there is nothing left to do for it."""
        return not line.half_made if self is Until.FINALIZED else not line.awaiting
