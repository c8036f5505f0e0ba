"""What a reconciler run has done, and its guard around each piece of work."""

from collections import Counter
from collections.abc import Callable
from threading import Lock
from typing import ParamSpec

from line_requests.clock import Clock
from line_requests.domain.errors import BillingMisconfigured, BillingUnavailable, LineRequestError
from line_requests.telemetry import alarm, logger

P = ParamSpec("P")


class Progress:
    """Counts, and failures that stop nothing; safe to share between threads."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._done: Counter[str] = Counter()
        self._lock = Lock()

    def guard(self, subject: str, work: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> None:
        """Runs one piece of work unless time is up; a failure is logged, counted and left to the next run."""
        if self._clock.remaining_s() <= 0:
            return
        try:
            work(*args, **kwargs)
        except BillingUnavailable as trouble:
            self.count("failed")
            if isinstance(trouble, BillingMisconfigured) and not trouble.alarmed:
                alarm("StripeRefused", f"left undone, an operator is needed: {trouble}", subject=subject)
            logger.warning("left for the next run", extra={"subject": subject, "reason": str(trouble)})
        except LineRequestError as error:
            # Without its traceback, which quotes Stripe's text.
            self._fail(subject, str(error))
        except Exception as error:  # noqa: BLE001 - a defect that one line meets must not stop the run
            logger.exception("left for the next run", extra={"subject": subject})
            self._fail(subject, type(error).__name__)

    def count(self, what: str, number: int = 1) -> None:
        """Adds to a count of the summary."""
        with self._lock:
            self._done[what] += number

    def _fail(self, subject: str, reason: str) -> None:
        self.count("failed")
        alarm("ReconcileLineFailed", "a reconcile step failed", subject=subject, reason=reason)

    def summary(self) -> dict[str, int]:
        """Everything that was counted."""
        return {name: self._done[name] for name in ("events", "lines", "republished", "quantities", "failed")}
