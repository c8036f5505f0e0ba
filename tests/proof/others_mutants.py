"""Planted bugs that one call against arbitrary changes of others has to find: a condition lost one clause."""

from tests.proof.mutants import Mutant

_bug = Mutant.of

# In place of scenarios: the handlers that meet the bug.
MUTANTS = (
    _bug(
        "a new line does not ask for the lock",
        "storage.capacity",
        'conditions = ["#revision = :revision", "attribute_not_exists(#lock)"]',
        'conditions = ["#revision = :revision"]',
        "create",
    ),
    _bug(
        "a new line does not ask for the subscription's revision",
        "storage.capacity",
        'conditions = ["#revision = :revision", "attribute_not_exists(#lock)"]',
        'conditions = ["attribute_not_exists(#lock)"]',
        "create A",
    ),
    _bug(
        "a new line does not ask for the cap",
        "storage.capacity",
        '        conditions.append(_BELOW_CAP)\n        values["cap"] = allowance.cap\n    if line.awaiting:',
        "        pass\n    if line.awaiting:",
        "create, capped",
    ),
    _bug(
        "a line awaits payment though a place was given back",
        "storage.capacity",
        '            conditions.append("#unpaid.#kind >= :included")\n'
        '            values["included"] = allowance.included\n',
        "            pass\n",
        "create A",
    ),
    _bug(
        "a new line does not ask for its key",
        "storage.lines",
        "writes.append(Write(key, put=records.idempotency_item(record), condition=absent))",
        "writes.append(Write(key, put=records.idempotency_item(record)))",
        "create A",
    ),
    _bug(
        "a move does not ask for the state that it starts from",
        "storage._transitions",
        'condition = "size(#history) = :sequence"\n        for same, read',
        'condition = "attribute_exists(#pk)"\n        for same, read',
        "not provisioned",
    ),
    _bug(
        "a write to an unpaid line does not ask whether it is unpaid",
        "storage._transitions",
        'condition=f"#status = :awaiting AND ({condition})"',
        'condition=f"attribute_exists(#pk) AND ({condition})"',
        "cancel",
    ),
    _bug(
        "a draft's id does not ask for the one that is stored",
        "storage._transitions",
        'condition = "attribute_not_exists(#invoice_id) OR #invoice_id = :invoice"\n        return',
        'condition = "attribute_exists(#pk)"\n        return',
        "cancel",
        "poll",
    ),
    _bug(
        "a canceled request takes the answer of its key along",
        "storage._transitions",
        'condition="#line_id = :line AND attribute_not_exists(#response_body)"',
        'condition="#line_id = :line"',
        "cancel",
    ),
)
