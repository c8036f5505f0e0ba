from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING

import pytest

from line_requests.domain.bodies import submission_body
from line_requests.domain.model import Status
from line_requests.domain.submission import Submission
from line_requests.operator import cli, commands
from line_requests.operator.refusal import Refused
from line_requests.storage import records
from line_requests.storage.lines import Lines
from line_requests.storage.table import Write
from tests.operator import lines

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_boto3_dynamodb.client import DynamoDBClient

    from line_requests.domain.model import Line, Workspace
    from tests.operator.conftest import Console, Deployment, Listener
    from tests.operator.shop import Shop


class Terminal(io.StringIO):
    """Somebody who answers."""

    def isatty(self) -> bool:
        return True


AWAITING = "awaiting_payment"


def _used(console: Console) -> list[int]:
    phones = console.json("workspace", "show", "acme")["capacity"][0]
    return [phones["used"], phones["paid"], phones["left"]]


def test_a_line_is_shown_with_its_history_by_time_and_cause(
    console: Console, deployment: Deployment, acme: str
) -> None:
    line = lines.failed(deployment, acme)
    view = console.json("line", "show", line.id.upper())
    assert (view["line"], view["kind"]) == (line.id, "purchased_phone")
    assert (view["firstName"], view["lastName"]) == ("Ada", "Lovelace")
    assert (view["status"], view["paymentStatus"], view["refundDue"]) == ("failed", "not_required", False)
    assert view["history"] == [
        {"at": "2026-11-18T11:06:40.000Z", "status": "provisioning", "cause": "included", "reason": None},
        {
            "at": "2026-11-18T11:06:40.002Z",
            "status": "failed",
            "cause": "provisioning_failed",
            "reason": "carrier said no",
        },
    ]
    shown = console.text("line", "show", line.id)
    assert "18 Nov 2026 11:06:40 UTC  failed        provisioning_failed  carrier said no" in shown


def test_a_line_is_shown_with_what_was_asked_for_and_what_it_is_charged(
    console: Console, deployment: Deployment, acme: str
) -> None:
    included = lines.active(deployment, acme)
    view = console.json("line", "show", included.id)
    assert view["unitAmount"] is None
    submission = Submission(
        first_name="Ada",
        last_name="Lovelace",
        channel_type="phone",
        line_type="purchased",
        email="ada@example.com",
        phone="+15551234567",
        zipcode="94107",
        state="CA",
        forward_calls_to="+15557654321",
        profile_image_url="https://example.com/ada.png",
    )
    charged = lines.requested(deployment, acme, submission)
    view = console.json("line", "show", charged.id)
    assert view.items() >= submission_body(submission).items()
    assert charged.charge is not None
    assert view["unitAmount"] == {"amount": 1500, "currency": "usd"}
    assert "$15.00" in console.text("line", "show", charged.id)


def test_a_line_of_another_workspace_is_not_shown(console: Console, deployment: Deployment, acme: str) -> None:
    line = lines.active(deployment, acme)
    for verb in ("show", "retry", "release"):
        said = console.refused("line", verb, line.id, "--workspace", "other")
        assert said == f"the workspace other has no line {line.id}"
    said = console.refused("line", "show", "0" * 24)
    assert said == f"no workspace has a line {'0' * 24}; a deleted one's is found with --workspace"


def test_retry_takes_a_place_again(console: Console, deployment: Deployment, acme: str) -> None:
    line = lines.failed(deployment, acme)
    assert _used(console) == [0, 0, 1]
    view = console.json("line", "retry", line.id)
    assert view["status"] == "provisioning"
    assert view["history"][-1]["cause"] == "retried_by_operator"
    assert _used(console) == [1, 0, 0]
    stored = deployment.stores.lines.get(acme, line.id)
    assert stored is not None
    assert (stored.status, len(stored.history)) == (Status.PROVISIONING, 3)


def test_retry_is_refused_when_the_place_is_taken(console: Console, deployment: Deployment, acme: str) -> None:
    line = lines.failed(deployment, acme)
    lines.active(deployment, acme)
    assert console.refused("line", "retry", line.id) == "The plan has no place left for this line."
    assert console.json("line", "show", line.id)["status"] == "failed"
    assert _used(console) == [1, 0, 0]


@pytest.mark.parametrize("make", [lines.active, lines.failed])
def test_release_gives_the_place_back(
    console: Console, deployment: Deployment, acme: str, make: Callable[[Deployment, str], Line]
) -> None:
    line = make(deployment, acme)
    view = console.json("line", "release", line.id, "--yes")
    assert (view["status"], view["history"][-1]["cause"]) == ("canceled", "released_by_operator")
    assert _used(console) == [0, 0, 1]
    assert console.refused("line", "release", line.id, "--yes") == (
        f"the line {line.id} is canceled; only active or failed lines can be released"
    )


def test_a_released_paid_line_is_no_longer_counted_as_paid(console: Console, deployment: Deployment, acme: str) -> None:
    lines.active(deployment, acme)
    paid = deployment.stores.lines.mark_active(lines.paid(deployment, acme), lines.AT_MS + 5)
    assert _used(console) == [2, 1, 0]
    console.json("line", "release", paid.id, "--yes")
    assert _used(console) == [1, 0, 0]


def test_only_the_contracts_transitions_exist(console: Console, deployment: Deployment, acme: str) -> None:
    line = lines.requested(deployment, acme)
    for verb, allowed in (("retry", "failed"), ("release --yes", "active or failed"), ("cancel --yes", AWAITING)):
        said = console.refused("line", *verb.split(), line.id, "--workspace", acme)
        assert said.startswith(f"the line {line.id} is provisioning; only {allowed} lines can be ")
    deployment.stores.lines.mark_active(line, lines.AT_MS)
    assert "is active; only failed lines can be retried" in console.refused("line", "retry", line.id)


def test_a_waiting_request_is_neither_retried_nor_released(console: Console, deployment: Deployment, acme: str) -> None:
    lines.active(deployment, acme)
    waiting = lines.requested(deployment, acme)
    for verb in ("retry", "release --yes"):
        assert "is awaiting_payment; only" in console.refused("line", *verb.split(), waiting.id)


def test_a_change_by_other_hands_is_told(deployment: Deployment, acme: str) -> None:
    """Two operators: one releases the line between the other's read and write."""
    line = lines.active(deployment, acme)

    class Overtaken(Lines):
        def get(self, workspace_id: str, line_id: str) -> Line | None:
            found = super().get(workspace_id, line_id)
            if found is not None and found.status is Status.ACTIVE:
                deployment.stores.lines.release(found, "released_by_operator", lines.AT_MS + 9)
            return found

    with pytest.raises(Refused, match="was just changed by another process: it is canceled"):
        commands.release(Overtaken(deployment.table), acme, line.id, lines.AT_MS + 10)


def test_a_subscription_that_changes_meanwhile_is_not_taken_for_a_lack_of_places(
    deployment: Deployment, acme: str
) -> None:
    line = lines.failed(deployment, acme)

    class Overtaken(Lines):
        def retry(self, workspace: Workspace, line: Line, cause: str, now_ms: int) -> Line:
            deployment.stores.workspaces.save_subscription(workspace, workspace.subscription, now_ms)
            return super().retry(workspace, line, cause, now_ms)

    with pytest.raises(Refused, match="the subscription has just changed; try again"):
        commands.retry(Overtaken(deployment.table), deployment.stores.workspaces, acme, line.id, lines.AT_MS + 10)


def test_what_is_lost_is_confirmed(
    console: Console, deployment: Deployment, acme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = lines.active(deployment, acme)
    said = console.refused("line", "release", line.id)
    assert said == f"Release the line {line.id} of acme, for good? Confirm with --yes"
    monkeypatch.setattr("sys.stdin", Terminal("n\ny\n"))
    assert cli.main(["line", "release", line.id]) == cli.FAILED
    asked = console.capsys.readouterr()
    assert (asked.out, "Release the line" in asked.err, "nothing was changed" in asked.err) == ("", True, True)
    assert cli.main(["line", "release", line.id, "--json"]) == cli.DONE
    assert json.loads(console.capsys.readouterr().out)["status"] == "canceled"


def test_a_waiting_request_is_canceled_with_its_invoice(
    shop: Shop, console: Console, deployment: Deployment, acme: str
) -> None:
    waiting = lines.invoiced(deployment, acme)
    assert waiting.invoice_id is not None
    assert console.json("line", "show", waiting.invoice_id)["line"] == waiting.id
    view = console.json("line", "cancel", waiting.invoice_id, "--yes")
    assert (view["status"], view["paymentStatus"]) == ("canceled", "canceled")
    assert shop.v1.invoices.retrieve(waiting.invoice_id).status == "void"
    assert console.json("workspace", "show", acme)["lock"] is None


def test_a_payment_comes_before_a_cancel(shop: Shop, console: Console, deployment: Deployment, acme: str) -> None:
    waiting = lines.invoiced(deployment, acme)
    shop.v1.invoices.pay(waiting.invoice_id or "", {"paid_out_of_band": True})
    code, view, said = console.incomplete("line", "cancel", waiting.id, "--yes")
    assert (code, view["status"], view["paymentStatus"]) == (1, "provisioning", "paid")
    assert said == f"the line {waiting.id} is provisioning: it was paid first"


def test_a_cancel_that_stripe_does_not_answer_is_said_to_be_stored(
    shop: Shop, console: Console, deployment: Deployment, acme: str
) -> None:
    waiting = lines.invoiced(deployment, acme)
    shop.double.set_faults("error_before", 9, f"/v1/invoices/{waiting.invoice_id}/void")
    code, view, said = console.incomplete("line", "cancel", waiting.id, "--yes")
    assert (code, view["status"], view["voidReason"]) == (1, AWAITING, "canceled")
    assert said.endswith("; the cancellation is stored, and the reconciler completes it once Stripe answers")
    shop.double.set_faults("error_before", 0)
    assert console.json("line", "cancel", waiting.id, "--yes")["status"] == "canceled"


def test_an_invoice_that_is_no_lines_is_refused(shop: Shop, console: Console, acme: str) -> None:
    assert console.refused("line", "show", "in_unknown") == "Stripe does not know the invoice in_unknown"
    customer = console.json("workspace", "show", acme)["customer"]
    other = shop.v1.invoices.create({"customer": customer}).id
    assert console.refused("line", "show", other) == f"the invoice {other} is not a line's"


def test_lines_are_listed_by_status_age_workspace_and_refund(
    shop: Shop, console: Console, deployment: Deployment, acme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    starter = console.json("plans", "show")[0]["basePrices"][0]
    console.json("workspace", "create", "beta", "--customer", shop.subscriber(starter))
    failed, young = lines.failed(deployment, acme), lines.requested(deployment, "beta")
    active = lines.active(deployment, acme)
    waiting = lines.requested(deployment, acme)
    monkeypatch.setattr("line_requests.operator.groups.lines.wall_time_ms", lambda: lines.AT_MS + 86_400_000)

    def listed(*filters: str) -> list[str]:
        return [row["line"] for row in console.json("line", "list", *filters)]

    assert set(listed()) == {failed.id, waiting.id}
    assert set(listed("--all")) == {failed.id, young.id, active.id, waiting.id}
    assert listed("--all", "--status", "active") == [active.id]
    assert listed("--status", "failed") == listed("--status", "FAILED") == [failed.id]
    assert listed("--status", "awaiting-payment") == [waiting.id]
    assert set(listed("--workspace", acme)) == {failed.id, active.id, waiting.id}
    assert listed("--workspace", acme, "--status", "active") == [active.id]
    assert listed("--older-than", "3650d") == listed("--refund-due") == []
    assert set(listed("--older-than", "23h")) == {failed.id, waiting.id}
    assert listed("--older-than", "25h") == []
    canceled = deployment.stores.lines.release(failed, "released", lines.AT_MS + 9)
    deployment.stores.lines.flag_refund(waiting, "in_1")
    assert listed("--refund-due") == [], "what was never paid is not to be refunded"
    deployment.stores.table.write(
        Write(records.line_key(acme, canceled.id), update="SET #refund_due = :yes", values={"yes": True})
    )
    assert console.json("reindex") == {"read": 6, "repaired": 1}
    (row,) = console.json("line", "list", "--refund-due")
    assert (row["line"], row["cause"], row["refundDue"]) == (canceled.id, "released", True)
    assert listed("--sort", "newest")[0] == canceled.id
    assert set(listed()) == {canceled.id, waiting.id}
    rows = console.json("line", "list", "--all", "--sort", "workspace")
    assert [row["workspace"] for row in rows] == [acme, acme, acme, "beta"]
    assert "Ada" not in console.text("line", "list")
    assert console.refused("line", "list", "--workspace", "nobody") == "there is no workspace nobody"
    assert console.refused("line", "list", "--all", "--workspace", acme).startswith("--all is every workspace")
    assert "--all" in console.refused("line", "list", "--status", "active")


def test_a_line_in_provisioning_is_listed_before_and_after_its_provisioner_is_late(
    console: Console, deployment: Deployment, acme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = lines.requested(deployment, acme)
    lines.requested(deployment, acme)
    monkeypatch.setattr("line_requests.operator.groups.lines.wall_time_ms", lambda: lines.AT_MS + 60_000)
    deployment.stores.lines.set_due(line, lines.AT_MS + 600_000)
    assert [row["line"] for row in console.json("line", "list", "--status", "provisioning")] == [line.id]
    assert line.id not in {row["line"] for row in console.json("line", "list")}
    deployment.stores.lines.set_due(line, lines.AT_MS + 86_400_000, late=True)
    assert [row["line"] for row in console.json("line", "list", "--status", "provisioning")] == [line.id]
    assert line.id in {row["line"] for row in console.json("line", "list")}


def test_a_long_list_says_that_there_is_more(console: Console, deployment: Deployment, acme: str) -> None:
    made = [lines.failed(deployment, acme).id for _ in range(3)]
    for argv in (["--status", "failed"], ["--status", "failed", "--sort", "workspace"], ["--all"]):
        assert cli.main(["line", "list", "--limit", "2", "--json", *argv]) == cli.DONE
        printed = console.capsys.readouterr()
        assert {row["line"] for row in json.loads(printed.out)} < set(made)
        assert printed.err == "There are more than these 2: --limit N shows more.\n"
    assert len(console.json("line", "list", "--limit", "3")) == 3


def test_reading_the_whole_table_shows_how_far_it_is(
    deployment: Deployment, console: Console, acme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines.failed(deployment, acme)
    terminal = Terminal()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("sys.stderr", terminal)
    assert cli.main(["line", "list", "--all", "--json"]) == cli.DONE
    assert "Reading the whole table: 1" in terminal.getvalue()
    assert len(json.loads(console.capsys.readouterr().out)) == 1
    shown = terminal.getvalue()
    assert cli.main(["line", "list", "--json"]) == cli.DONE
    assert terminal.getvalue() == shown, "the index needs no progress"


def test_a_table_without_the_index_is_listed_with_all(
    console: Console, deployment: Deployment, dynamodb: DynamoDBClient, acme: str
) -> None:
    """It was restored without, or an older release made it."""
    failed = lines.failed(deployment, acme)
    dynamodb.update_table(
        TableName=deployment.table_name, GlobalSecondaryIndexUpdates=[{"Delete": {"IndexName": "operator"}}]
    )
    said = console.refused("line", "list")
    assert said.startswith("the table's index operator is missing: docs/recover.md says how to add it. Meanwhile")
    assert [row["line"] for row in console.json("line", "list", "--all")] == [failed.id]
    assert console.json("line", "show", failed.id, "--workspace", acme)["status"] == "failed"


@pytest.mark.parametrize("outcome", ["succeeded", "failed"])
def test_an_answer_for_a_provisioner_goes_over_the_bus(
    console: Console, deployment: Deployment, listener: Listener, acme: str, outcome: str
) -> None:
    line = lines.requested(deployment, acme)
    reason = ["--reason", "no numbers left"] if outcome == "failed" else []
    told = console.json("provisioning", "answer", line.id, outcome, *reason)
    assert told == {"line": line.id, "eventId": f"{line.id}:1", "outcome": outcome}
    (event,) = listener.heard()
    assert (event["source"], event["detail-type"]) == ("line-provisioner", "Line Provisioning Result")
    expected = {"eventId": f"{line.id}:1", "workspaceId": acme, "lineId": line.id, "outcome": outcome}
    assert event["detail"] == expected | ({"reason": "no numbers left"} if reason else {})


def test_only_a_line_in_provisioning_is_answered_for(
    console: Console, deployment: Deployment, listener: Listener, acme: str
) -> None:
    line = lines.active(deployment, acme)
    assert console.refused("provisioning", "answer", line.id, "succeeded") == (
        f"the line {line.id} is active; only provisioning lines can be answered"
    )
    assert console.refused("provisioning", "answer", line.id, "succeeded", "--reason", "x") == (
        "a reason belongs to failed"
    )
    assert listener.heard() == []
