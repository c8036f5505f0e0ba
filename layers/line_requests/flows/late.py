"""What has waited too long for a customer or a provisioner, as the reconciler reports it and the doctor finds it."""

from itertools import islice

from line_requests.domain.model import Line, Status
from line_requests.storage import records
from line_requests.storage.stores import Stores
from line_requests.telemetry import alarm

# A request that is unpaid after three days is probably forgotten, and it blocks every other one of its workspace.
PAYMENT_LATE_MS = 3 * 86_400_000
PROVISIONING_LATE_MS = 3_600_000
# An alarm names so many; `line-requests line list` has them all.
NAMED_MAX = 10
# One batch of reads: refunds due of lines in other statuses are read past.
PAGE = 100


def late(stores: Stores, status: Status, until_ms: int) -> list[Line]:
    """The lines that have been in a status since then or longer, oldest first, as many as an alarm names."""
    # No line that awaits payment is flagged for a refund.
    op_statuses = [status] if status is Status.AWAITING_PAYMENT else [status, records.REFUND_ENTRY]
    entries = stores.operator.entries(op_statuses, until_ms=until_ms, page=PAGE)
    found = list[Line]()
    while len(found) < NAMED_MAX and (ids := [(one.workspace_id, one.line_id or "") for one in islice(entries, PAGE)]):
        lines = [line for line in stores.lines.get_many(ids) if line.status is status]
        found += sorted(lines, key=lambda line: line.history[-1].at_ms)
    return found[:NAMED_MAX]


def report_late(stores: Stores, now_ms: int) -> None:
    """Alarms as long as requests wait for their payment for days, or lines for their provisioner for an hour."""
    if unpaid := late(stores, Status.AWAITING_PAYMENT, now_ms - PAYMENT_LATE_MS):
        alarm("PaymentLate", "requests have waited for their payment for days", lines=[line.id for line in unpaid])
    if unanswered := late(stores, Status.PROVISIONING, now_ms - PROVISIONING_LATE_MS):
        alarm("ProvisioningLate", "lines wait for their provisioner", lines=[line.id for line in unanswered])
