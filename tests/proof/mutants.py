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

LAYER = Path(__file__).parents[2] / "layers" / "line_requests"


@dataclass(frozen=True)
class Mutant:
    """A planted bug, and the scenarios that are to find it."""

    name: str
    changes: tuple[tuple[str, str, str], ...]
    """Module, text as it is, text as it is to be."""
    scenarios: tuple[str, ...]


def _bug(name: str, module: str, before: str, after: str, *scenarios: str) -> Mutant:
    return Mutant(name, ((module, before, after),), scenarios)


MUTANTS = (
    _bug(
        "no condition on the lock",
        "places",
        'conditions = ["#revision = :revision", "attribute_not_exists(#lock)"]',
        'conditions = ["#revision = :revision"]',
        "full/create-A+create-B",
    ),
    Mutant(
        "the lock is freed by anyone",
        (
            ("places", 'condition="#lock = :line"', 'condition="attribute_exists(#pk)"'),
            ("store", 'condition = "size(#history) = :sequence"', 'condition = "attribute_exists(#pk)"'),
        ),
        ("waiting/cancel+pay", "waiting/poll+pay"),
    ),
    _bug(
        "no key at Stripe",
        "billing",
        'self._client.v1.invoices.create(params, _keyed(line, "invoice"))',
        "self._client.v1.invoices.create(params)",
        "full/insistent-A+create",
    ),
    _bug(
        "a key without the line's id",
        "billing",
        'f"{line.id}:{step}:v{line.stripe_key_version}"',
        'f"{line.workspace_id}:{step}:v{line.stripe_key_version}"',
        "waiting/cancel+create-B",
        "full/create-A+cancel+create-B",
    ),
    _bug(
        "a new key after a time-out",
        "billing",
        'f"{line.id}:{step}:v{line.stripe_key_version}"',
        'f"{line.id}:{step}:v{line.look_after_ms}"',
        "full/insistent-A+create",
        "full/create-A+reconcile",
    ),
    _bug(
        "canceled before the void",
        "lifecycle",
        "            elif isinstance(move, decision.VoidInvoice):\n",
        "            elif isinstance(move, decision.VoidInvoice):\n"
        '                self._store.cancel(line, line.void_reason or "", self._clock.now_ms())\n',
        "waiting/cancel+poll",
    ),
    _bug(
        "no intent before the void",
        "decision",
        "        return Intend(void_reason)\n",
        "        return Close()\n",
        "waiting/upgrade+poll",
    ),
    _bug(
        "an intent outweighs a payment",
        "decision",
        '    if status == "paid":\n',
        '    if status == "paid" and line.void_reason is not None:\n        return Cancel(line.void_reason)\n'
        '    if status == "paid":\n',
        "waiting/cancel+pay",
    ),
    _bug(
        "the lock is freed in another write than the payment",
        "store",
        "            self._table.transact(writes + (extra or []))\n",
        "            self._table.transact(writes[:1] + (extra or []))\n"
        "            self._table.transact(writes[1:]) if workspace else None\n",
        "waiting/poll+pay",
    ),
    _bug(
        "an event is remembered before its effect",
        "webhook",
        "    if hint.about_our_invoice:\n",
        "    from line_requests.table import ConditionFailed, Write\n"
        '    mark = {"pk": f"EVENT#{hint.type}#{hint.object_id}", "sk": "EVENT"}\n'
        "    try:\n"
        '        registry._table.write(Write(mark, put={"seen": True}, condition="attribute_not_exists(#pk)"))\n'
        "    except ConditionFailed:\n"
        "        return\n"
        "    if hint.about_our_invoice:\n",
        "waiting/poll+pay",
        "waiting/pay+reconcile",
    ),
    _bug(
        "quantities are raised by one, not set",
        "subscriptions",
        "billing.set_quantity(one.id, price, item, quantity)",
        "billing.set_quantity(one.id, price, item, (item.quantity if item else 0) + 1 if quantity else 0)",
        "provisioning/create-B+pay",
    ),
    _bug(
        "quantities follow nothing but payments",
        "decision",
        "min(paid, max(0, settled - allowance.included))",
        "paid",
        "waiting/pay+upgrade",
    ),
    _bug(
        "the included number is judged outside of the transaction",
        "places",
        'conditions.append("#unpaid.#kind < :included")\n        if workspace',
        "if workspace",
        "room/create-A+create-B",
    ),
    _bug(
        "the cap is judged outside of the transaction",
        "places",
        'conditions.append("#held.#kind < :cap")\n        values["cap"] = allowance.cap\n    if line.awaiting',
        "pass\n    if line.awaiting",
        "capped/create-A+create-B",
    ),
    _bug(
        "a canceled line keeps its place",
        "places",
        '        sets.append("#held.#kind = #held.#kind - :one")\n    else:',
        '        sets.append("#held.#kind = #held.#kind")\n    else:',
        "waiting/cancel+poll",
    ),
    _bug(
        "a failed line keeps its place",
        "store",
        "self._transition(line, Status.FAILED, reason, now_ms, places.give_back(line, now_ms))",
        "self._transition(line, Status.FAILED, reason, now_ms, None)",
        "provisioning/not-provisioned+poll",
    ),
    _bug(
        "a conflict is taken for a refusal",
        "table",
        'if code == "ConditionalCheckFailed")',
        'if code in {"ConditionalCheckFailed", "TransactionConflict"})',
        "waiting/poll+pay",
    ),
    _bug(
        "a conflict is not tried again",
        "table",
        'if CONFLICTS.isdisjoint([error.response["Error"]["Code"], *codes]) or attempt == CONFLICT_ATTEMPTS:',
        "if True:",
        "waiting/cancel+poll",
        "waiting/create-B+pay",
    ),
    _bug(
        "reasons are read in the wrong order",
        "store",
        "now = lost.items[0] if 0 in lost.failed else None",
        "now = lost.items[-1] if 0 in lost.failed else None",
        "full/create-A+create-A",
    ),
    _bug(
        "a replay is told to wait for itself",
        "intake",
        "if record is not None or holder is None or not holder.awaiting:",
        "if holder is None or not holder.awaiting:",
        "full/create-A+create-A",
    ),
    _bug(
        "a late event takes a line back",
        "store",
        'condition = "size(#history) = :sequence"',
        'condition = "attribute_exists(#pk)"',
        "waiting/cancel+pay",
        "provisioning/provisioned+not-provisioned",
    ),
    _bug(
        "a replayed draft is believed",
        "lifecycle",
        "return self.billing.retrieve(invoice.id) if invoice.replayed else invoice",
        "return invoice",
        "full/insistent-A+create",
        "full/insistent-A+insistent-A",
        "full/create-A+late-webhook",
        "full/create-A+poll",
    ),
    _bug(
        "the item goes before its draft",
        "billing",
        "                    self._client.v1.invoices.delete(invoice.id)\n",
        "                    for line in self._client.v1.invoices.retrieve(invoice.id).lines.data:\n"
        "                        self._client.v1.invoice_items.delete(line.parent.invoice_item_details.invoice_item)\n"
        "                    self._client.v1.invoices.delete(invoice.id)\n",
        "full/create-A+cancel",
    ),
    _bug(
        "the item outlives its draft",
        "lifecycle",
        '        if invoice.status == "gone" and invoice.id:\n            self.billing.drop_items(line)\n',
        "",
        "full/create-A+cancel",
    ),
    _bug(
        "the item outlives a draft that is made again",
        "lifecycle",
        "        self.billing.drop_items(line)\n        line = self._store.next_key_version",
        "        line = self._store.next_key_version",
        "old-item/delete-draft",
    ),
    _bug(
        "a draft with another item stays unfinished",
        "lifecycle",
        "return self.billing.close(draft)",
        'raise BillingMisconfigured("the draft has other items than ours")',
        "old-item/add-item",
    ),
    Mutant(
        "created again after a day without looking",
        (
            ("lifecycle", "        found = self.billing.find(line)\n", "        found = None\n"),
            ("lifecycle", "found = self.billing.find(line) if line.stripe_key_version > 1 else None", "found = None"),
        ),
        ("old-draft/insistent-A+poll",),
    ),
    _bug(
        "keys are trusted after a day",
        "lifecycle",
        "KEY_LIFETIME_MS = 23 * 3_600_000",
        "KEY_LIFETIME_MS = 23 * 3_600_000_000",
        "old-draft/insistent-A+poll",
        "old-item/insistent-A+poll",
    ),
    _bug(
        "uncollectible is taken for canceled",
        "decision",
        'if status == "void" or deleted:',
        'if status in {"void", "uncollectible"} or deleted:',
        "waiting/poll+write-off",
    ),
    _bug(
        "an unknown invoice is taken for canceled",
        "decision",
        'deleted = status == "gone" and line.half_made and line.void_reason is not None',
        'deleted = status == "gone"',
        "missing/poll+reconcile",
    ),
    _bug(
        "an older subscription overwrites a newer one",
        "registry",
        'condition="#revision = :seen"',
        'condition="attribute_exists(#pk)"',
        "waiting/upgrade+end",
    ),
    _bug(
        "the key is not in the transaction",
        "store",
        "            self._table.transact(writes)\n",
        "            self._table.transact(writes[:2])\n"
        "            [self._table.write(write) for write in writes[2:]]\n",
        "room/create-A+create-A",
        "room/insistent-A+create-A",
    ),
    _bug(
        "the answer of a key is given twice",
        "store",
        'condition="#line_id = :line AND attribute_not_exists(#answer)",\n            values={"answer"',
        'condition="#line_id = :line",\n            values={"answer"',
        "full/create-A+create-A+pay",
        "full/create-A+create-A",
    ),
    _bug(
        "a refused request keeps its key",
        "store",
        "        unanswered = self._unanswered_record(line)\n",
        "        unanswered: list[Write] = []\n",
        "refusing/create-A+insistent-A",
        "refusing/create-A+create-A",
    ),
    _bug(
        "keys that DynamoDB left are forgotten",
        "table",
        "            if left:\n",
        "            if False:\n",
        "waiting/create-B+poll",
        "waiting/poll+poll",
    ),
    _bug(
        "the plan includes it, so why void",
        "decision",
        "    if void_reason is not None:\n        return Intend(void_reason)\n",
        "    if void_reason is VoidReason.INCLUDED:\n        return Include()\n"
        "    if void_reason is not None:\n        return Intend(void_reason)\n",
        "waiting/upgrade+poll",
    ),
    _bug(
        "a lapsed plan sells",
        "places",
        'conditions = ["#revision = :revision", "attribute_not_exists(#lock)"]',
        'conditions = ["attribute_not_exists(#lock)"]',
        "room/create-A+end",
        "full/create-A+end",
        "full/create-A+upgrade",
    ),
    _bug(
        "a crash keeps the quantities' lease",
        "registry",
        "(attribute_not_exists(#quantities_until) OR #quantities_until <= :now)",
        "attribute_not_exists(#quantities_until)",
        "waiting/pay-unheard+reconcile",
    ),
    _bug(
        "a crash keeps the line's lease",
        "lifecycle",
        "\nLEASE_MS = 16_000\n",
        "\nLEASE_MS = 16_000_000\n",
        "full/create-A+poll",
    ),
    _bug(
        "a half-made request is nobody's to finish",
        "intake",
        "due_at_ms=now_ms if add_on else None",
        "due_at_ms=None",
        "full/create-A+poll",
    ),
)


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
        package, _, module = fullname.rpartition(".")
        if package != "line_requests" or module not in self._changes:
            return None
        file = str(LAYER / f"{module}.py")
        loader = _Patched(fullname, file, self._changes[module])
        return importlib.util.spec_from_file_location(fullname, file, loader=loader)


def plant(mutant: Mutant) -> None:
    """Plants the bug in this process, which has not imported the product yet."""
    assert not any(name.startswith("line_requests") for name in sys.modules), "the product is there already"
    changes: dict[str, list[tuple[str, str]]] = {}
    for module, before, after in mutant.changes:
        changes.setdefault(module, []).append((before, after))
    sys.meta_path.insert(0, _Finder(changes))
