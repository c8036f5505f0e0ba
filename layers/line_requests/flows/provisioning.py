"""Provisioning: a provisioner's results, and the transitions that an operator decides."""

from typing import TYPE_CHECKING

from line_requests.bus.events import event_id
from line_requests.clock import Clock
from line_requests.domain.errors import NotInThisStatus
from line_requests.domain.model import Line, PaymentStatus, Status
from line_requests.storage.lines import Lines
from line_requests.telemetry import alarm, logger

if TYPE_CHECKING:
    from line_requests.bus.results import ProvisioningResult

RELEASED_BY_CLIENT = "released_by_client"


def apply_result(lines: Lines, result: "ProvisioningResult", clock: Clock) -> None:
    """Makes a line active or failed, once; a result about another state of the line changes nothing."""
    line = lines.get(result.workspace_id, result.line_id)
    if line is None or line.status is not Status.PROVISIONING or event_id(line) != result.event_id:
        logger.info("the result is not about the line's present state", extra={"line_id": result.line_id})
        return
    # The bus rounds to whole seconds: a fast result must not look older than the change that it answers.
    now_ms = max(clock.now_ms(), line.history[-1].at_ms)
    if result.outcome == "succeeded":
        lines.mark_active(line, now_ms, result.what_was_delivered)
    else:
        paid = line.payment_status is PaymentStatus.PAID
        # The alarm comes before the write: a crash in between repeats it rather than loses it.
        alarm("ProvisioningFailed", f"a {'paid' if paid else 'free'} line failed", line_id=line.id, paid=paid)
        lines.mark_failed(line, result.reason, now_ms, result.reason_code)


def release(lines: Lines, line: Line, now_ms: int, cause: str = RELEASED_BY_CLIENT) -> Line:
    """From active or failed to canceled; raises NotInThisStatus (contract 63)."""
    if line.status is Status.FAILED and line.payment_status is PaymentStatus.PAID:
        # The alarm comes before the write: a crash in between repeats it rather than loses it.
        alarm("RefundDue", "a line that was paid for and failed is released", line_id=line.id, invoice=line.invoice_id)
    if line.status in {Status.ACTIVE, Status.FAILED}:
        line = lines.release(line, cause, max(now_ms, line.history[-1].at_ms))
    if line.status is not Status.CANCELED:
        instead = "Cancel the request" if line.awaiting else "Wait until it is active or failed, then release it"
        raise NotInThisStatus(line, f"A line in status {line.status} cannot be released. {instead}.")
    return line
