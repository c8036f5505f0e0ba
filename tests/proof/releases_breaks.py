"""Planted breaks of the stored format: each works while one release is alone, and fails beside the one before it."""

from tests.proof.mutants import Mutant

BREAKS = (
    Mutant(
        "an attribute has another name",
        (
            ("storage.due", 'int(item["watermark_s"])', 'int(item["followed_to_s"])'),
            ("storage.due", '"#watermark_s = :seen"', '"#followed_to_s = :seen"'),
            ("storage.due", '"SET #watermark_s = :to ', '"SET #followed_to_s = :to '),
        ),
        ("previous:waiting/reconcile+previous:cancel",),
    ),
    Mutant(
        "an attribute has another type",
        (
            (
                "storage.lines",
                'values={"body": body, "line": line.id},',
                'values={"body": {"status": 201, "text": body}, "line": line.id},',
            ),
            (
                "storage.records",
                "    return _load(IdempotencyRecord, item)\n",
                (
                    '    body = item.get("response_body")\n'
                    '    text = body["text"] if isinstance(body, dict) else body\n'
                    "    return _load(IdempotencyRecord, item, response_body=text)\n"
                ),
            ),
        ),
        ("waiting/poll+previous:create-A",),
    ),
    Mutant(
        "an attribute that is new has no default",
        (
            (
                "domain.model",
                "    history: tuple[Change, ...]\n    charge: Charge",
                "    history: tuple[Change, ...]\n    requested_by: str\n    charge: Charge",
            ),
            (
                "flows.create",
                '            history=(Change(now_ms, status, "requested"),),\n',
                '            history=(Change(now_ms, status, "requested"),),\n            requested_by="client",\n',
            ),
        ),
        ("previous:waiting/poll+previous:cancel",),
    ),
    Mutant(
        "a value is one that the older release does not know",
        (
            ("domain.model", '    EXPIRED = "expired"\n', '    EXPIRED = "expired"\n    GIVEN_UP = "given_up"\n'),
            ("api.change", "line, VoidReason.CANCELED)", "line, VoidReason.GIVEN_UP)"),
        ),
        ("waiting/cancel+previous:poll",),
    ),
    Mutant.of(
        "a key has another prefix",
        "storage.records",
        '"pk": f"CUSTOMER#{customer}"',
        '"pk": f"STRIPE#{customer}"',
        "previous:waiting/upgrade+previous:poll",
    ),
    Mutant(
        "a condition follows an attribute of its own",
        (
            (
                "storage._transitions",
                '        condition = "size(#history) = :sequence"\n',
                (
                    '        condition = "size(#history) = :sequence"\n'
                    '        condition = f"(#moves = :sequence OR (attribute_not_exists(#moves) AND {condition}))"\n'
                    '        sets.append("#moves = :moves")\n'
                    '        values["moves"] = line.sequence + 1\n'
                ),
            ),
            (
                "domain.model",
                "        return len(self.history)\n",
                "        return self.moves or len(self.history)\n",
            ),
            (
                "domain.model",
                "    refund_due: bool = False\n",
                "    refund_due: bool = False\n    moves: int | None = None\n",
            ),
        ),
        ("provisioning/provisioned+previous:not-provisioned",),
    ),
    Mutant.of(
        "the idempotency keys at Stripe have another form",
        "billing.invoices",
        'f"{line.id}:{step}:v{line.stripe_key_version}"',
        'f"{step}:{line.id}:v{line.stripe_key_version}"',
        "full/previous:create-A+poll",
    ),
)
