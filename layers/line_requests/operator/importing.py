"""`line import`: what a file means for its workspaces, checked against the table and Stripe, then written."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from line_requests.billing.operator_account import OperatorBilling
from line_requests.billing.subscriptions import StripeSubscription
from line_requests.domain import decision, money, over_plan
from line_requests.domain.model import Change, Line, PaymentStatus, Status, Subscription, Workspace
from line_requests.domain.prices import Counted, Coverage, Plan
from line_requests.domain.submission import Kind
from line_requests.flows.subscriptions import select
from line_requests.operator.commands import refuse_former
from line_requests.operator.import_file import ImportRow, InvalidRows, Mistake
from line_requests.operator.refusal import Refused, Row
from line_requests.storage.imports import HOLD_MS, LINES_MAX, Imports
from line_requests.storage.stores import Stores

IMPORTED = "imported"


@dataclass(frozen=True, slots=True)
class Batch:
    """What a file adds to one workspace."""

    before: Workspace
    after: Workspace
    """With the lines of the file, under the subscription as Stripe has it now."""
    is_new: bool
    rows: tuple[ImportRow, ...]
    """Those that were not imported before."""
    already_there: int

    def view(self) -> Row:
        """As it is shown."""
        return {
            "workspace": self.after.id,
            "customer": self.after.customer,
            "new": self.is_new,
            "lines": len(self.rows),
            "paid": sum(row.paid for row in self.rows),
            "alreadyThere": self.already_there,
            "overPlanBy": sum(standing.excess for standing in over_plan.excess(self.after).values()),
        }


class Check:
    """Checks the rows of one workspace after the other; collects what is wrong."""

    def __init__(self, stores: Stores, connect: Callable[[], OperatorBilling]) -> None:
        self._stores = stores
        self._connect = connect
        self._plans: list[Plan] = stores.plans.all()
        self.mistakes: list[Mistake] = []

    def batches(self, rows: Iterable[ImportRow]) -> Iterator[Batch]:
        """Each workspace that can be imported; the others leave mistakes."""
        by_workspace = defaultdict[str, list[ImportRow]](list)
        for row in rows:
            by_workspace[row.workspace_id].append(row)
        for of_one in by_workspace.values():
            try:
                batch = self._batch(of_one)
            except Refused as refusal:
                self.mistakes.append(Mistake(of_one[0].file_line, str(refusal)))
            else:
                yield batch

    def _batch(self, rows: Sequence[ImportRow]) -> Batch:
        billing = self._connect()
        before, is_new = self._workspace(rows, billing)
        listed = billing.subscriptions.of_customer(before.customer)
        subscription = select(listed, self._plans)
        if subscription is None or subscription.plan is None or subscription.ended:
            raise Refused(f"{before.customer} has no subscription whose base price a plan names")
        self._check_kinds(rows, subscription)
        there = {line.id for line in self._stores.lines.get_many((before.id, row.line_id) for row in rows)}
        new = tuple(row for row in rows if row.line_id not in there)
        after = with_rows(before, subscription, new)
        if new:
            self._refuse_other_quantities(after, next(one for one in listed if one.id == subscription.id))
        return Batch(before, after, is_new, new, len(there))

    def _workspace(self, rows: Sequence[ImportRow], billing: OperatorBilling) -> tuple[Workspace, bool]:
        """The rows' workspace, and whether the import makes it."""
        workspace_id, customer = rows[0].workspace_id, rows[0].customer
        if any(row.customer != customer for row in rows):
            raise Refused(f"the rows of {workspace_id} name several customers")
        livemode = billing.catalogue.customer_livemode(customer)
        if livemode is None:
            raise Refused(f"Stripe does not know the customer {customer}, or deleted it")
        if livemode is not billing.livemode:
            raise Refused(f"the customer {customer} is not of the Stripe key's mode")
        workspaces = self._stores.workspaces
        existing, owner = workspaces.get(workspace_id), workspaces.of_customer(customer)
        if existing is None and owner is None:
            refuse_former(workspaces, self._stores.lines, workspace_id)
            return Workspace(workspace_id, customer, livemode, revision=0), True
        if existing is None or owner != workspace_id:
            tied = (
                f"to {owner}" if existing is None else f"not to {workspace_id}, whose customer is {existing.customer}"
            )
            raise Refused(f"the customer {customer} is tied {tied}")
        return existing, False

    def _check_kinds(self, rows: Sequence[ImportRow], subscription: Subscription) -> None:
        for row in rows:
            kind = row.submission.kind
            allowance = subscription.allowances.get(kind)
            if allowance is None:
                message = f"the plan {subscription.plan} has no {kind.words} lines"
                self.mistakes.append(Mistake(row.file_line, message))
            elif row.paid and allowance.add_on is None:
                message = f"the plan {subscription.plan} sells no {kind.words} lines, so none can be paid"
                self.mistakes.append(Mistake(row.file_line, message))

    def _refuse_other_quantities(self, after: Workspace, found: StripeSubscription) -> None:
        """Raises Refused unless the reconciler leaves the subscription's add-ons as they are."""
        add_ons = {price for plan in self._plans for _, price in plan.add_on_prices()}
        carried = {price: item.quantity for price, item in found.items.items() if item.ours or price in add_ons}
        owed = {price: quantity for price, quantity in decision.quantities_owed(after).items() if quantity}
        if carried != owed:
            raise Refused(
                f"{found.id} carries {_quantities(carried)}, with the lines of this file {after.id} owes "
                f"{_quantities(owed)}: correct the column paid, or the quantity at Stripe"
            )


def check(stores: Stores, connect: Callable[[], OperatorBilling], rows: Iterable[ImportRow]) -> list[Batch]:
    """What the rows mean; raises InvalidRows with all mistakes. Changes nothing.

    `connect`: for each workspace anew, or a long file would use up one clock.
    """
    checking = Check(stores, connect)
    batches = list(checking.batches(rows))
    if checking.mistakes:
        raise InvalidRows(checking.mistakes)
    return batches


def with_rows(before: Workspace, subscription: Subscription, rows: Iterable[ImportRow]) -> Workspace:
    """The workspace with these lines, under this subscription."""
    held, unpaid = Counter(before.held), Counter(before.unpaid)
    for row in rows:
        kind = row.submission.kind
        held[kind] += 1
        unpaid[kind] += not row.paid
    return replace(before, subscription=subscription, held=held, unpaid=unpaid)


def write(stores: Stores, batch: Batch, now_ms: int) -> None:
    """Writes what is not there yet; after a crash the same file goes on where it stopped."""
    subscription = batch.after.subscription
    if subscription is None or not batch.rows:
        return
    imports, until_ms = Imports(stores.table), now_ms + HOLD_MS
    held = (
        imports.create_held(batch.before, subscription, until_ms)
        if batch.is_new
        else imports.hold(batch.before.id, now_ms, until_ms)
    )
    if not held:
        raise Refused(f"the reconciler or another import is at work on {batch.after.id}; try again in a few minutes")
    # A payment or the reconciler may have changed it since the check.
    before, period = stores.workspaces.get(batch.after.id) or batch.before, subscription.period
    counted: Counted | None = Counted(subscription.id, period.end_s, period.start_s)
    # Without charges of ours before, what Stripe charged for these lines is counted by their coverage.
    if any(before.charged.values()):
        if before.counted is None or replace(before.counted, started_s=period.start_s) != counted:
            imports.release(batch.after.id, until_ms)
            raise Refused(
                f"the reconciler has not counted yet what {subscription.id} was charged for its present period; "
                "try again in a few minutes"
            )
        counted = None
    uncharged = _uncharged(before, subscription, batch.rows)
    for lines in _chunks(batch, now_ms):
        kind, paid = lines[0].kind, sum(line.payment_status is PaymentStatus.PAID for line in lines)
        places = min(paid, uncharged.get(kind, 0))
        uncharged[kind] = uncharged.get(kind, 0) - places
        imports.insert(lines, charged=Coverage(period.end_s, places), counted=counted, held_until_ms=until_ms)
    imports.release(batch.after.id, until_ms)


def _uncharged(before: Workspace, subscription: Subscription, rows: Iterable[ImportRow]) -> dict[Kind, int]:
    """How many places of each kind are owed with these lines and not charged to the end of the period."""
    return {
        kind: max(0, owed - money.covered(before.charged.get(kind, ()), subscription.period.end_s))
        for kind, owed in decision.owed_by_kind(with_rows(before, subscription, rows)).items()
    }


def _chunks(batch: Batch, now_ms: int) -> Iterator[Sequence[Line]]:
    by_kind = defaultdict[Kind, list[Line]](list)
    for row in batch.rows:
        by_kind[row.submission.kind].append(_line(row, now_ms))
    for lines in by_kind.values():
        yield from (lines[start : start + LINES_MAX] for start in range(0, len(lines), LINES_MAX))


def _line(row: ImportRow, now_ms: int) -> Line:
    return Line(
        id=row.line_id,
        workspace_id=row.workspace_id,
        submission=row.submission,
        status=Status.ACTIVE,
        payment_status=PaymentStatus.PAID if row.paid else PaymentStatus.NOT_REQUIRED,
        created_at_ms=now_ms if row.created_at_ms is None else row.created_at_ms,
        history=(Change(now_ms, Status.ACTIVE, IMPORTED),),
        delivered=row.delivered,
    )


def _quantities(by_price: Mapping[str, int]) -> str:
    return ", ".join(f"{quantity} of {price}" for price, quantity in sorted(by_price.items())) or "no add-on"
