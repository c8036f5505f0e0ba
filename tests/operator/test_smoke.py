from __future__ import annotations

from typing import TYPE_CHECKING, Any

import boto3
import pytest

from line_requests.operator import smoke
from tests.operator.faults import FAULTS

if TYPE_CHECKING:
    from tests.operator.local import Local


def _smoke(local: Local) -> tuple[int, list[dict[str, Any]]]:
    return local.run("smoke", "--api-url", local.stack.origin)


def test_a_sound_deployment_passes_and_keeps_nothing(local: Local, monkeypatch: pytest.MonkeyPatch) -> None:
    assert smoke.BUDGET_S < 60
    monkeypatch.setattr(smoke, "PROVISIONER_S", 30.0)  # a busy machine is no fault
    monkeypatch.setattr(smoke, "BUDGET_S", 110.0)
    before = {workspace.id for workspace in local.stores.workspaces.all()}
    code, rows = _smoke(local)
    assert [row for row in rows if row["result"] != "ok"] == []
    assert code == 0
    assert [row["step"] for row in rows] == [
        "a workspace is created",
        "the reconciler is scheduled",
        "an included line is requested",
        "its key replays the answer",
        "the line is published and the answer heard",
        "a paid line is requested",
        "meanwhile another request conflicts",
        "it can be canceled",
        "another is requested",
        "its payment is heard by the webhook",
        "the workspace is removed",
    ]
    assert rows[4]["detail"] == "a provisioner answered"
    assert {workspace.id for workspace in local.stores.workspaces.all()} == before
    items = boto3.client("dynamodb").scan(TableName=local.stack.deployment.table)["Items"]
    assert not [item["pk"]["S"] for item in items if "smoke-" in item["pk"]["S"]]


@pytest.mark.parametrize(
    ("check", "step"),
    [
        ("reconciler's schedule", "the reconciler is scheduled"),
        ("provisioner on the bus", "the line is published and the answer heard"),
        ("provisioners' answers", "the line is published and the answer heard"),
    ],
)
def test_what_is_broken_is_named_with_where_to_look(
    local: Local, monkeypatch: pytest.MonkeyPatch, check: str, step: str
) -> None:
    monkeypatch.setattr(smoke, "PROVISIONER_S", 1.0)
    monkeypatch.setattr(smoke, "HEARD_S", 5.0)
    with FAULTS[check](local):
        code, rows = _smoke(local)
    assert code == 1
    *_, failed, removed = rows
    assert (failed["step"], failed["result"]) == (step, "failed")
    assert failed["look"].startswith(f"{check}: ")
    assert removed["result"] == "ok"


def test_a_webhook_that_never_arrives_is_named(local: Local, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smoke, "HEARD_S", 5.0)
    local.stack.set_webhook_mode("drop")
    with FAULTS["webhook endpoint"](local):
        code, rows = _smoke(local)
    assert code == 1
    *_, failed, removed = rows
    assert (failed["step"], failed["result"]) == ("its payment is heard by the webhook", "failed")
    assert "webhook endpoint: no enabled webhook endpoint" in failed["look"]
    assert removed["result"] == "ok"


def test_a_wrong_signing_secret_is_named(local: Local, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smoke, "HEARD_S", 5.0)
    monkeypatch.setattr(local.stack.double, "webhook_secrets", ["whsec_another_endpoint"])
    code, rows = _smoke(local)
    assert code == 1
    *_, failed, removed = rows
    assert (failed["step"], failed["result"]) == ("its payment is heard by the webhook", "failed")
    assert "line-requests setup-stripe --rotate" in failed["look"]
    assert removed["result"] == "ok"
