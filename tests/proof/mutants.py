"""Planted bugs: small changes of the product's source that some scenario has to find out.

A change is made while the module is imported, in a process of its own; text that is not there
exactly once is an error, so a bug that can no longer be planted does not count as found.
"""

import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, ModuleType

ROOT = Path(__file__).parents[2]
LAYER = ROOT / "layers" / "line_requests"


@dataclass(frozen=True)
class Mutant:
    """A planted bug, and the scenarios that are to find it."""

    name: str
    changes: tuple[tuple[str, str, str], ...]
    """Module, text as it is, text as it is to be."""
    scenarios: tuple[str, ...]

    @classmethod
    def of(cls, name: str, module: str, before: str, after: str, *scenarios: str) -> "Mutant":
        """A bug of one change."""
        return cls(name, ((module, before, after),), scenarios)


_bug = Mutant.of

MUTANTS = (
    _bug(
        "no condition on the lock",
        "storage.capacity",
        'conditions = ["#revision = :revision", "attribute_not_exists(#lock)"]',
        'conditions = ["#revision = :revision"]',
        "full/create-A+create-B",
    ),
    Mutant(
        "the lock is freed by anyone",
        (
            (
                "storage.capacity",
                'return _write(line.workspace_id, line, update, "#lock = :line", values)',
                'return _write(line.workspace_id, line, update, "attribute_exists(#pk)", values)',
            ),
            ("storage._transitions", 'condition = "size(#history) = :sequence"', 'condition = "attribute_exists(#pk)"'),
        ),
        ("waiting/cancel+pay", "waiting/poll+pay"),
    ),
    _bug(
        "no key at Stripe",
        "billing.invoices",
        'self._client.v1.invoices.create(params, _stripe_key(line, "invoice"))',
        "self._client.v1.invoices.create(params)",
        "full/insistent-A+create",
    ),
    _bug(
        "a key without the line's id",
        "billing.invoices",
        'f"{line.id}:{step}:v{line.stripe_key_version}"',
        'f"{line.workspace_id}:{step}:v{line.stripe_key_version}"',
        "waiting/cancel+create-B",
        "full/create-A+cancel+create-B",
    ),
    _bug(
        "a new key after a time-out",
        "billing.invoices",
        'f"{line.id}:{step}:v{line.stripe_key_version}"',
        'f"{line.id}:{step}:v{line.lease_until_ms}"',
        "full/insistent-A+create",
        "full/create-A+reconcile",
    ),
    _bug(
        "canceled before the void",
        "flows.lifecycle",
        "            elif isinstance(move, decision.VoidInvoice):\n",
        "            elif isinstance(move, decision.VoidInvoice):\n"
        '                self._lines.cancel(line, line.void_reason or "", clock.now_ms())\n',
        "waiting/cancel+poll",
    ),
    _bug(
        "no intent before the void",
        "domain.decision",
        "        return RecordVoidReason(reason)\n",
        "        return VoidInvoice()\n",
        "waiting/upgrade+poll",
    ),
    _bug(
        "an intent outweighs a payment",
        "domain.decision",
        '    if status == "paid":\n',
        '    if status == "paid" and line.void_reason is not None:\n        return Cancel(line.void_reason)\n'
        '    if status == "paid":\n',
        "waiting/cancel+pay",
    ),
    _bug(
        "the lock is freed in another write than the payment",
        "storage._transitions",
        "            self._table.transact(writes + (extra or []))\n",
        "            self._table.transact(writes[:1] + (extra or []))\n"
        "            self._table.transact(writes[1:]) if workspace else None\n",
        "waiting/poll+pay",
    ),
    _bug(
        "an event is remembered before its effect",
        "flows.webhook",
        "        if hint.about_our_invoice:\n",
        "        from line_requests.storage.table import ConditionFailed, Write\n"
        '        mark = {"pk": f"EVENT#{hint.type}#{hint.object_id}", "sk": "EVENT"}\n'
        "        try:\n"
        '            self._lines._table.write(Write(mark, put={"seen": True}, condition="attribute_not_exists(#pk)"))\n'
        "        except ConditionFailed:\n"
        "            return\n"
        "        if hint.about_our_invoice:\n",
        "waiting/poll+pay",
        "waiting/pay+reconcile",
    ),
    _bug(
        "quantities are raised by one, not set",
        "flows.add_ons",
        "set_quantity(stripe_subscription.id, price, item, quantity)",
        "set_quantity(stripe_subscription.id, price, item, (item.quantity if item else 0) + 1 if quantity else 0)",
        "provisioning/create-B+pay",
    ),
    _bug(
        "quantities follow nothing but payments",
        "domain.decision",
        "min(paid, beyond)",
        "paid",
        "waiting/pay+upgrade",
    ),
    _bug(
        "the included number is judged outside of the transaction",
        "storage.capacity",
        'conditions.append(_BELOW_INCLUDED)\n        values["included"] = allowance.included\n        if workspace',
        "if workspace",
        "room/create-A+create-B",
    ),
    _bug(
        "the cap is judged outside of the transaction",
        "storage.capacity",
        'conditions.append(_BELOW_CAP)\n        values["cap"] = allowance.cap\n    if line.awaiting',
        "pass\n    if line.awaiting",
        "capped/create-A+create-B",
    ),
    _bug(
        "a canceled line keeps its place",
        "storage.capacity",
        '        sets.append("#held.#kind = #held.#kind - :one")\n    else:',
        '        sets.append("#held.#kind = #held.#kind")\n    else:',
        "waiting/cancel+poll",
    ),
    _bug(
        "a failed line keeps its place",
        "storage._transitions",
        "self._transition(line, change, capacity.give_back(line, now_ms))",
        "self._transition(line, change, None)",
        "provisioning/not-provisioned+poll",
    ),
    _bug(
        "a conflict is taken for a refusal",
        "storage.table",
        'if code == "ConditionalCheckFailed")',
        'if code in {"ConditionalCheckFailed", "TransactionConflict"})',
        "waiting/poll+pay",
    ),
    _bug(
        "a conflict is not tried again",
        "storage.table",
        'if CONFLICTS.isdisjoint([error.response["Error"]["Code"], *codes]):',
        "if True:",
        "waiting/cancel+poll",
        "waiting/create-B+pay",
    ),
    _bug(
        "reasons are read in the wrong order",
        "storage.lines",
        "met = canceled.items[0] if 0 in canceled.failed else None",
        "met = canceled.items[-1] if 0 in canceled.failed else None",
        "full/create-A+create-A",
    ),
    _bug(
        "a replay is told to wait for itself",
        "flows.create",
        "if record is not None or holder is None or not holder.awaiting:",
        "if holder is None or not holder.awaiting:",
        "full/create-A+create-A",
    ),
    _bug(
        "a late event takes a line back",
        "storage._transitions",
        'condition = "size(#history) = :sequence"',
        'condition = "attribute_exists(#pk)"',
        "waiting/cancel+pay",
        "provisioning/provisioned+not-provisioned",
    ),
    _bug(
        "a replayed draft is believed",
        "flows.invoicing",
        "return self.refetch(invoice) if invoice.replayed else invoice",
        "return invoice",
        "full/insistent-A+create",
        "full/insistent-A+insistent-A",
        "full/create-A+late-webhook",
        "full/create-A+poll",
    ),
    _bug(
        "the item goes before its draft",
        "billing.invoices",
        "                    self._client.v1.invoices.delete(invoice.id)\n",
        "                    for line in self._client.v1.invoices.retrieve(invoice.id).lines.data:\n"
        "                        self._client.v1.invoice_items.delete(line.parent.invoice_item_details.invoice_item)\n"
        "                    self._client.v1.invoices.delete(invoice.id)\n",
        "full/create-A+cancel",
    ),
    _bug(
        "the item outlives its draft",
        "flows.lifecycle",
        '        if invoice.status == "gone" and invoice.id:\n            invoicing.delete_pending_items(line)\n',
        "",
        "full/create-A+cancel",
    ),
    _bug(
        "the item outlives a draft that is made again",
        "flows.invoicing",
        "        self._invoices.delete_pending_items(line)\n        now_ms = ",
        "        now_ms = ",
        "old-item/delete-draft",
    ),
    _bug(
        "a draft with another item stays unfinished",
        "flows.invoicing",
        "return self._invoices.void_or_delete(draft)",
        'raise BillingMisconfigured("the draft has other items than ours")',
        "old-item/add-item",
    ),
    Mutant(
        "created again after a day without looking",
        (
            ("flows.invoicing", "        found = self._invoices.find_by_metadata(line)\n", "        found = None\n"),
            (
                "flows.invoicing",
                "found = self._invoices.find_by_metadata(line) if line.stripe_key_version > 1 else None",
                "found = None",
            ),
        ),
        ("old-draft/insistent-A+poll",),
    ),
    _bug(
        "keys are trusted after a day",
        "flows.invoicing",
        "KEY_LIFETIME_MS = 23 * 3_600_000",
        "KEY_LIFETIME_MS = 23 * 3_600_000_000",
        "old-draft/insistent-A+poll",
        "old-item/insistent-A+poll",
    ),
    _bug(
        "uncollectible is taken for canceled",
        "domain.decision",
        'if status == "void" or deleted:',
        'if status in {"void", "uncollectible"} or deleted:',
        "waiting/poll+write-off",
    ),
    _bug(
        "an unknown invoice is taken for canceled",
        "domain.decision",
        'deleted = status == "gone" and line.half_made and line.void_reason is not None',
        'deleted = status == "gone"',
        "missing/poll+reconcile",
    ),
    _bug(
        "an older subscription overwrites a newer one",
        "storage.workspaces",
        'return self._update(workspace.id, update, values, "#revision = :seen")',
        'return self._update(workspace.id, update, values, "attribute_exists(#pk)")',
        "waiting/upgrade+end",
    ),
    _bug(
        "the key is not in the transaction",
        "storage.lines",
        "            self._table.transact(writes)\n",
        "            self._table.transact(writes[:2])\n"
        "            [self._table.write(write) for write in writes[2:]]\n",
        "room/create-A+create-A",
        "room/insistent-A+create-A",
    ),
    _bug(
        "the answer of a key is given twice",
        "storage.lines",
        'condition="#line_id = :line AND attribute_not_exists(#response_body)",\n            values={"body"',
        'condition="#line_id = :line",\n            values={"body"',
        "full/create-A+create-A+pay",
        "full/create-A+create-A",
    ),
    _bug(
        "a refused request keeps its key",
        "storage._transitions",
        "        unanswered = self._delete_unanswered_record(line)\n",
        "        unanswered: list[Write] = []\n",
        "refusing/create-A+insistent-A",
        "refusing/create-A+create-A",
    ),
    _bug(
        "keys that DynamoDB left are forgotten",
        "storage.table",
        "            if left:\n",
        "            if False:\n",
        "waiting/create-B+poll",
        "waiting/poll+poll",
    ),
    _bug(
        "the plan includes it, so why void",
        "domain.decision",
        "    if reason is not None:\n        return RecordVoidReason(reason)\n",
        "    if reason is VoidReason.INCLUDED:\n        return Waive()\n"
        "    if reason is not None:\n        return RecordVoidReason(reason)\n",
        "waiting/upgrade+poll",
    ),
    _bug(
        "a lapsed plan sells",
        "storage.capacity",
        'conditions = ["#revision = :revision", "attribute_not_exists(#lock)"]',
        'conditions = ["attribute_not_exists(#lock)"]',
        "room/create-A+end",
        "full/create-A+end",
        "full/create-A+upgrade",
    ),
    _bug(
        "a copy that is paid pays nothing",
        "domain.decision",
        'return line.invoice_id in {None, invoice.id, invoice.revises} or invoice.status == "paid"',
        "return line.invoice_id in {None, invoice.id, invoice.revises}",
        "touched/copy+poll",
    ),
    _bug(
        "the original of a paid copy is forgotten",
        "flows.lifecycle",
        "replaced = decision.replaced_by(line, invoice)",
        "replaced = None",
        "touched/copy+poll",
    ),
    _bug(
        "a crash leaves the original of a paid copy open",
        "storage._transitions",
        "        if line.replaced_invoice_id is not None:\n            due_at_ms = change.at_ms\n",
        "",
        "touched/copy+poll",
    ),
    _bug(
        "a second payment is kept",
        "domain.decision",
        'return invoice.status == "paid" and not line.awaiting and not own',
        "return line.refundable and not own",
        "touched/copy+pay",
    ),
    _bug(
        "an invoice that was revised is void",
        "billing.invoices",
        'if invoice.status != "void" or invoice.latest_revision is None:',
        "if True:",
        "touched/revise+poll",
    ),
    _bug(
        "a late writer stores the original's link",
        "storage._transitions",
        '        condition += " AND (attribute_not_exists(#invoice_id) OR #invoice_id = :invoice)"\n',
        "",
        "touched/revise+poll",
    ),
    _bug(
        "an invoice that is credited in full is paid",
        "domain.decision",
        'return "void" if 0 < total <= credited else status',
        "return status",
        "touched/credit+poll",
    ),
    _bug(
        "a part pays the line",
        "domain.decision",
        "        return AwaitPayment()  # Stripe would refuse the void\n",
        "        return MarkPaid()\n",
        "touched/part+poll",
    ),
    _bug(
        "a plan without the kind keeps the request waiting",
        "domain.decision",
        "        return VoidReason.NOT_ON_PLAN\n",
        "        return None\n",
        "touched/switch+poll",
    ),
    _bug(
        "a refused void cancels nevertheless",
        "billing.invoices",
        "        except (BillingRefused, BillingRejected, ReplayedFailure):\n"
        "            return self.retrieve(invoice.id)\n",
        "        except (BillingRefused, BillingRejected, ReplayedFailure):\n"
        '            return replace(self.retrieve(invoice.id), status="void")\n',
        "unvoidable/cancel+poll",
    ),
    _bug(
        "a renewal before the payment leaves the rest of the period free",
        "flows.add_ons",
        "while (charge := self._next_charge(workspace, subscription, now_ms)) is not None:",
        "while (charge := None) is not None:",
        "renewed/pay+reconcile",
    ),
    _bug(
        "a crash keeps the quantities' lease",
        "storage.workspaces",
        "(attribute_not_exists(#quantities_lease_until_ms) OR #quantities_lease_until_ms <= :now)",
        "attribute_not_exists(#quantities_lease_until_ms)",
        "waiting/pay-unheard+reconcile",
    ),
    _bug(
        "a crash keeps the line's lease",
        "flows.leases",
        "\nLEASE_MS = 13_000\n",
        "\nLEASE_MS = 13_000_000\n",
        "full/create-A+poll",
    ),
    _bug(
        "the reconciler does not finish a half-made request",
        "flows.create",
        "due_at_ms=now_ms if add_on else now_ms + REPUBLISH_AFTER_MS",
        "due_at_ms=None if add_on else now_ms + REPUBLISH_AFTER_MS",
        "full/create-A+poll",
    ),
    Mutant(
        "no look for earlier refunds before the credit note",
        (
            (
                "domain.reversals",
                "        returned = sum(refund.amount for refund in self.refunds if refund.counts)\n",
                "        returned = 0\n",
            ),
            ("domain.reversals", "if refund.counts and refund.id not in named}", "if False}"),
        ),
        ("released/refund-by-hand+refund",),
    ),
    _bug(
        "the refund flag is cleared before Stripe confirms",
        "domain.reversals",
        "for refund in self.refunds if refund.status == SUCCEEDED)",
        "for refund in self.refunds if refund.counts)",
        "released/refund-pending+refund",
    ),
    _bug(
        "what was sent outside Stripe is forgotten",
        "domain.reversals",
        "if dispute.status == LOST) + self.sent_outside",
        "if dispute.status == LOST)",
        "released/refund-outside+reconcile",
    ),
    _bug(
        "a line whose payment was sent outside Stripe may be retried",
        "flows.refunds",
        "            if _fails_paid(line):\n                # Released first",
        "            if False:\n                # Released first",
        "failed/refund-outside+retry",
    ),
    _bug(
        "a failed refund is ignored",
        "flows.reversals",
        "        refund_due = bool(kept)\n",
        "        refund_due = line.refund_due and bool(kept)\n",
        "released/refund+refund-fails",
    ),
    _bug(
        "a reversal is written by each who hears of it",
        "storage._marks",
        'condition=f"size(#history) = :sequence AND {known} AND',
        'condition=f"size(#history) = :sequence AND',
        "provisioning/refund-by-hand+reconcile",
    ),
    _bug(
        "a failed line is refunded and may be retried",
        "flows.refunds",
        "        if _fails_paid(line):\n            # Released first",
        "        if False:\n            # Released first",
        "failed/refund+retry",
    ),
    _bug(
        "an event about a workspace that the bus refuses counts as published",
        "flows.publishing",
        "if any(event in refused for event in events)]",
        "if any(event in refused and event.detail_type == STATE_CHANGED for event in events)]",
        "room/upgrade+stream",
    ),
    _bug(
        "reversals are heard from the webhook alone",
        "billing.events",
        '"types": [*FEED_INVOICE_EVENTS, *SUBSCRIPTION_EVENTS, *FEED_REVERSAL_EVENTS],',
        '"types": [*FEED_INVOICE_EVENTS, *SUBSCRIPTION_EVENTS],',
        "released/refund-unheard",
    ),
)


def path_of(module: str) -> Path:
    """The file of a module, named from the layer's package on, or a function's: `flows.create`, `functions.x.app`."""
    root = ROOT if module.startswith("functions.") else LAYER
    return root.joinpath(*module.split(".")).with_suffix(".py")


class _Patched(importlib.machinery.SourceFileLoader):
    """Compiles a module's source with the changes in it."""

    def __init__(self, fullname: str, path: str, changes: Sequence[tuple[str, str]]) -> None:
        super().__init__(fullname, path)
        self._changes = changes

    def get_code(self, fullname: str) -> CodeType:
        source = Path(self.get_filename(fullname)).read_text()
        for before, after in self._changes:
            if source.count(before) != 1:
                raise LookupError(f"{fullname} has {source.count(before)} of {before!r}, not one")
            source = source.replace(before, after)
        return compile(source, self.get_filename(fullname), "exec", dont_inherit=True)


class _Finder(importlib.abc.MetaPathFinder):
    def __init__(self, changes: dict[str, list[tuple[str, str]]]) -> None:
        self._changes = changes

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        del path, target
        module = fullname.removeprefix("line_requests.")
        if module not in self._changes or (module == fullname and not module.startswith("functions.")):
            return None
        file = str(path_of(module))
        loader = _Patched(fullname, file, self._changes[module])
        return importlib.util.spec_from_file_location(fullname, file, loader=loader)


def plant(mutant: Mutant) -> None:
    """Plants the bug in this process, which has not imported the product yet."""
    assert not any(name.startswith("line_requests") for name in sys.modules), "the product is there already"
    changes: dict[str, list[tuple[str, str]]] = {}
    for module, before, after in mutant.changes:
        changes.setdefault(module, []).append((before, after))
    sys.meta_path.insert(0, _Finder(changes))
