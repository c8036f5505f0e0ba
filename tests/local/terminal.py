"""The terminal that the local stack runs in: its settings stay outside, and its signals stop everything."""

import os
import signal
from types import FrameType

OF_A_DEPLOYMENT = ("AWS_", "BUS_NAME", "CLERK_", "PAYMENT_WINDOW_HOURS", "RATE_LIMIT_", "STRIPE_", "TABLE_NAME")
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def forget_deployment() -> None:
    """Takes such settings out of this process's environment, and so out of its children's; no proxy is between them."""
    for name in [name for name in os.environ if name.startswith(OF_A_DEPLOYMENT)]:
        del os.environ[name]
    # Stripe's SDK looks for a proxy at each call, through the whole environment unless the host is named first.
    others = os.environ.get("no_proxy") or os.environ.get("NO_PROXY", "")
    os.environ["no_proxy"] = f"127.0.0.1,{others}"


def end_on_signals() -> None:
    """From now on the first signal raises KeyboardInterrupt; later ones do not interrupt stopping."""
    for number in SIGNALS:
        signal.signal(number, _interrupt)


def _interrupt(_: int, __: FrameType | None) -> None:
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt
