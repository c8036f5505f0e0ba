"""Planted bugs that the table or Stripe shows, each with the scenarios that have to find it."""

from tests.proof.mutants import Mutant

_bug = Mutant.of

MUTANTS = (
    Mutant(
        "a draft is made again although the deleted one is still the line's",
        (
            (
                "flows.invoicing",
                "return line, self._invoices.retrieve(line.invoice_id) if line.invoice_id is not None else None",
                "return line, None",
            ),
            ("flows.invoicing", "unwanted = not line.awaiting or line.void_reason is not None", "unwanted = False"),
        ),
        ("old-item/cancel+delete-draft",),
    ),
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
                'return _write(line, update, "#lock = :line", values)',
                'return _write(line, update, "attribute_exists(#pk)", values)',
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
        "            self._table.transact(writes[1:]) if workspace_write else None\n",
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
        "set_quantity(stripe_subscription.id, price, item, (item.quantity if item else 0) + 1 if quantity else None)",
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
        'raise RuntimeError("the draft has other items than ours")',
        "old-item/add-item",
    ),
    Mutant(
        "created again after a day without looking",
        (
            ("flows.invoicing", "found = self._invoices.find_by_metadata(line, void=True)", "found = None"),
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
        "an event about a workspace that the bus refuses counts as published",
        "flows.publishing",
        "if any(event in refused for event in events)]",
        "if any(event in refused and event.detail_type == STATE_CHANGED for event in events)]",
        "room/upgrade+stream",
    ),
)
