"""What an operator removes: personal data, and whole workspaces. Amounts and history stay."""

import json

from line_requests.domain.model import ApiKey, IdempotencyRecord, Line, Status
from line_requests.domain.submission import Kind, Submission
from line_requests.storage import records
from line_requests.storage.table import ConditionFailed, Table, TransactionCanceled, Write

ERASED = "erased"
# A line in another status may still be provisioned, or is in use.
ERASABLE = (Status.CANCELED, Status.FAILED)


class Erasure:
    """Removes the personal data of a line's request; what is left names no person."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def erase_line(self, line: Line) -> bool:
        """Replaces the names and removes every other field of the request; False when the line is in use."""
        kept = {name: getattr(line.submission, name) for name in ("channel_type", "line_type")}
        # No invoice is made of it any more, so the text of its charge need not stay.
        description = ", #charge.#description = :erased" if line.charge else ""
        # A provisioner's own words may name a number.
        words = [f", #history[{number}].#reason" for number, change in enumerate(line.history) if change.reason]
        write = Write(
            records.line_key(line.workspace_id, line.id),
            update=f"SET #submission = :submission{description} REMOVE #delivered{''.join(words)}",
            condition="#status IN (:canceled, :failed)",
            values={
                "submission": kept | {"first_name": ERASED, "last_name": ERASED},
                "canceled": str(Status.CANCELED),
                "failed": str(Status.FAILED),
            }
            | ({"erased": ERASED} if line.charge else {}),
        )
        try:
            self._table.write(write)
        except ConditionFailed:
            return False
        return True

    def erase_responses(self, workspace_id: str) -> int:
        """Replaces the names in the answers that idempotency keys replay; returns how many."""
        values = {"pk": f"W#{workspace_id}", "prefix": "IDEMPOTENCY#"}
        items = self._table.query_all("#pk = :pk AND begins_with(#sk, :prefix)", values=values)
        for item in items:
            record: IdempotencyRecord = records.idempotency_record(item)
            key = {"pk": item["pk"], "sk": item["sk"]}
            if record.response_body is None:
                continue
            body = json.loads(record.response_body)
            body["line"] |= {"firstName": ERASED, "lastName": ERASED}
            # The fingerprint is a hash of what was asked for; without it a replay says that the body is another.
            values = {"body": json.dumps(body), "erased": ERASED}
            self._table.write(Write(key, update="SET #response_body = :body, #fingerprint = :erased", values=values))
        return len(items)

    def delete_workspace(self, workspace_id: str, customer: str, organisations: list[str], keys: list[ApiKey]) -> bool:
        """Deletes the workspace, its keys and its ties, but no line; False while lines hold places."""
        for key in keys:
            self._table.write(Write(records.api_key_key(workspace_id, key.hash)))
        for organisation in organisations:
            self._table.write(Write(records.organisation_key(organisation)))
        nothing_held = " AND ".join(f"(attribute_not_exists(#held.#{kind}) OR #held.#{kind} = :zero)" for kind in Kind)
        try:
            self._table.transact(
                [
                    Write(records.workspace_key(workspace_id), condition=nothing_held, values={"zero": 0}),
                    Write(records.customer_key(customer)),
                ]
            )
        except TransactionCanceled:
            return False
        return True

    def delete_lines(self, workspace_id: str) -> None:
        """Deletes the lines of a workspace that never was a client's, with their idempotency records."""
        values = {"pk": f"W#{workspace_id}"}
        for item in self._table.query_all("#pk = :pk", values=values):
            self._table.write(Write({"pk": item["pk"], "sk": item["sk"]}))


def is_erased(submission: Submission) -> bool:
    """Whether a line's personal data was removed, so that it cannot be provisioned."""
    return submission.first_name == submission.last_name == ERASED
