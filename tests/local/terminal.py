"""Clears deployment settings, so that an operator's shell cannot leak into the local stack and the tests."""

import os

OF_A_DEPLOYMENT = ("AWS_", "BUS_NAME", "CLERK_", "PAYMENT_WINDOW_HOURS", "RATE_LIMIT_", "STRIPE_", "TABLE_NAME")


def forget_deployment() -> None:
    """Takes such settings out of this process's environment, and so out of its children's."""
    for name in [name for name in os.environ if name.startswith(OF_A_DEPLOYMENT)]:
        del os.environ[name]
