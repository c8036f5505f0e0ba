"""`doctor` and `smoke` examine all of a deployment; in one file, so that they share a local stack of their own."""

from __future__ import annotations

import re
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import boto3
import httpx
import pytest

from line_requests.billing.setup import Setup
from line_requests.clock import wall_time_ms
from line_requests.domain.errors import BillingUnavailable
from line_requests.operator import commands, doctor, doctor_aws, smoke, target
from line_requests.operator.doctor_stripe import LIST_FROM
from line_requests.operator.groups.deployment import CHECKS
from line_requests.operator.target import Target
from line_requests.storage import records
from line_requests.storage.table import Write
from tests.local.deployment import STACK_NAME
from tests.operator.faults import FAULTS
from tests.stories.world import eventually
from tests.support.engine import table_definition

if TYPE_CHECKING:
    from tests.operator.local import Local

DAY_MS = 86_400_000
(QUANTITIES,) = (check for check in CHECKS if check.name == "add-on quantities")


def test_a_healthy_deployment_has_no_fault(local: Local) -> None:
    code, rows = local.run("doctor")
    assert [row for row in rows if row["result"] != "ok"] == []
    assert code == 0
    assert len(rows) == len(CHECKS) >= 15
    assert {check.name for check in CHECKS} == {row["check"] for row in rows}


def test_every_planted_fault_is_found_by_name_and_gone_with_it(local: Local) -> None:
    checks = {check.name: check for check in CHECKS}
    assert FAULTS.keys() == checks.keys()

    def found(name: str) -> doctor.Finding:
        patient = doctor.Patient(Target(STACK_NAME), wall_time_ms())
        (finding,) = doctor.examine(patient, [checks[name]])
        return finding

    wrong = {}
    for name, plant in FAULTS.items():
        with ExitStack() as planted:
            expected = planted.enter_context(plant(local))
            finding = found(name)
        if finding.result != "fault" or expected not in finding.detail or not _fixes(checks[name], finding):
            wrong[name] = (expected, finding)
        if found(name).result != "ok":
            wrong[f"{name}, afterwards"] = ("ok", found(name))
    assert wrong == {}


# The commands for what a deployment does not set back, because its template has not changed.
BY_HAND = {
    "point-in-time recovery": "aws dynamodb update-continuous-backups --table-name TABLE "
    "--point-in-time-recovery-specification PointInTimeRecoveryEnabled=true",
    "reconciler's schedule": "aws events enable-rule --name RULE",
    "event source mappings": "aws lambda update-event-source-mapping --uuid UUID --enabled",
    "provisioners' answers": "aws events enable-rule --name RULE --event-bus-name BUS",
}


def _fixes(check: doctor.Check, finding: doctor.Finding) -> bool:
    """The check's fix, or a command with the names of what is there."""
    if check.name not in BY_HAND:
        return finding.fix == check.fix
    pattern = re.sub("TABLE|RULE|UUID|BUS", r"[\\w.-]+[a-z0-9]", BY_HAND[check.name])
    return re.fullmatch(pattern, finding.fix) is not None


def test_checks_beyond_the_functions_key_are_made_with_the_operators_or_skipped(
    local: Local, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The functions' key has no scope for the account, webhook endpoints and the portal: docs/deploy.md."""
    names = {"Stripe account", "webhook endpoint", "webhook events", "webhook version", "customer portal"}
    checks = [check for check in CHECKS if check.name in names]

    def results() -> set[tuple[str, bool]]:
        patient = doctor.Patient(Target(STACK_NAME), wall_time_ms())
        return {(one.result, "STRIPE_API_KEY" in one.detail) for one in doctor.examine(patient, checks)}

    with FAULTS["key scopes"](local):
        assert results() == {("ok", False)}
        monkeypatch.delenv("STRIPE_API_KEY")
        assert results() == {("skipped", True)}


def test_customers_need_no_portal(local: Local) -> None:
    """docs/deploy.md, step 6."""
    [listed] = local.stripe.billing_portal.configurations.list().data
    tables = local.stack.double._account.tables  # noqa: SLF001 - the double has no route that changes it
    configuration = tables["billing_portal.configuration"][listed.id]
    configuration["active"] = False
    patient = doctor.Patient(Target(STACK_NAME), wall_time_ms())
    [found] = doctor.examine(patient, [check for check in CHECKS if check.name == "customer portal"])
    configuration["active"] = True
    assert (found.result, found.detail) == ("skipped", "customers have no portal")


def test_what_changes_while_the_doctor_reads_is_no_fault(local: Local) -> None:
    """Its advice to void the invoice would cancel a client's request."""
    patient = doctor.Patient(Target(STACK_NAME), wall_time_ms())
    workspace = next(one for one in patient.workspaces.values() if one.id.startswith("starter"))
    scanned = {line.id for line in patient.lines_of[workspace.id]}
    key = commands.issue_key(local.stores.workspaces, local.stores.api_keys, workspace.id, "test", wall_time_ms())
    with httpx.Client(base_url=local.stack.origin, headers={"Authorization": f"Bearer {key}"}, timeout=60) as client:
        body = {"firstName": "Ada", "lastName": "Lovelace", "channelType": "phone"}
        answers = [client.post("/api/line-requests", json=body) for _ in range(2)]
        assert [answer.status_code for answer in answers] == [201, 201], answers[0].text + answers[1].text
        included, waiting = (answer.json()["line"]["_id"] for answer in answers)
        foreign = local.stripe.invoices.create({"customer": workspace.customer, "metadata": {"line_id": "0" * 24}})
        names = {"counters", "locks", "orphan invoices"}
        findings = doctor.examine(patient, [check for check in CHECKS if check.name in names])
        assert {(one.check, one.result) for one in findings} == {(name, "ok") for name in names}
        assert not {included, waiting} & scanned
        local.stripe.invoices.delete(foreign.id)
        client.post(f"/api/line-requests/{waiting}", json={"action": "cancel"}).raise_for_status()
        eventually(lambda: client.delete(f"/api/lines/{included}").is_success)


def test_many_subscriptions_are_read_by_the_page(local: Local) -> None:
    """1,000 workspaces are 10 calls, not 1,000; `make bench` says how long that takes."""
    made = next(one for one in local.stores.workspaces.all() if one.id.startswith("starter"))
    assert made.subscription is not None
    price = local.stripe.prices.list({"type": "recurring"}).data[0].id
    customers = [local.stripe.customers.create({"name": f"{number}"}).id for number in range(LIST_FROM)]
    subscriptions = {
        customer: local.stripe.subscriptions.create({"customer": customer, "items": [{"price": price}]}).id
        for customer in customers
    }
    # Their customers have no workspace yet, so no event makes a function read a subscription.
    assert local.stack.double.wait_idle()
    names = {customer: f"many-{customer[-12:].lower()}" for customer in customers}
    for customer, name in names.items():
        snapshot = replace(made.subscription, id=subscriptions[customer], allowances={})
        assert local.stores.workspaces.insert(name, customer, livemode=False, subscription=snapshot)
    first = len(local.stack.double.request_log)
    (finding,) = doctor.examine(doctor.Patient(Target(STACK_NAME), wall_time_ms()), [QUANTITIES])
    assert finding.result == "ok"
    calls = [call.path for call in local.stack.double.request_log[first:] if "subscription" in call.path]
    assert calls == ["/v1/subscriptions"]
    for name in names.values():
        local.stores.table.write(Write(records.workspace_key(name)))


def _examined() -> list[doctor.Finding]:
    return list(doctor.examine(doctor.Patient(Target(STACK_NAME), wall_time_ms()), doctor_aws.CHECKS))


def test_the_doctor_exits_with_1_and_names_the_fix(local: Local) -> None:
    with FAULTS["reconciler's schedule"](local):
        code, rows = local.run("doctor")
    assert code == 1
    (fault,) = [row for row in rows if row["result"] == "fault"]
    rules = local.physical_ids("AWS::Events::Rule")
    rule = next(physical for logical, physical in rules.items() if logical.startswith("Reconciler"))
    assert (fault["check"], fault["fix"]) == ("reconciler's schedule", f"aws events enable-rule --name {rule}")


def test_an_answer_rule_that_was_disabled_by_hand_is_enabled_by_the_named_command(local: Local) -> None:
    """A deployment without a change of the template leaves the rule disabled."""
    events, bus = boto3.client("events"), local.stack.deployment.bus
    rule = local.physical_ids("AWS::Events::Rule")["ProvisioningResultRule"].split("|")[-1]
    with FAULTS["provisioners' answers"](local):
        (finding,) = (one for one in _examined() if one.check == "provisioners' answers")
    assert finding.fix == f"aws events enable-rule --name {rule} --event-bus-name {bus}"
    (target,) = events.list_targets_by_rule(Rule=rule, EventBusName=bus)["Targets"]
    events.remove_targets(Rule=rule, EventBusName=bus, Ids=[target["Id"]])
    (finding,) = (one for one in _examined() if one.check == "provisioners' answers")
    events.put_targets(Rule=rule, EventBusName=bus, Targets=[target])
    assert finding.detail == f"the rule {rule} has no target"
    assert "REVERT_DRIFT" in finding.fix


def test_without_a_stack_what_needs_one_is_skipped(local: Local, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TABLE_NAME", local.stack.deployment.table)
    monkeypatch.setenv("STRIPE_API_BASE", local.stack.double.url)
    patient = doctor.Patient(Target(None), wall_time_ms())
    findings = list(doctor.examine(patient, CHECKS))
    assert {finding.result for finding in findings} == {"ok", "skipped"}
    assert next(one for one in findings if one.check == "alarms").detail == "needs --stack"


@pytest.mark.usefixtures("local")
def test_a_table_that_is_gone_is_restored_and_not_deployed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """CloudFormation takes it for unchanged, and makes an empty one when it is told to revert drift."""
    monkeypatch.setitem(target.STACK_OUTPUTS, "TABLE_NAME", "")
    monkeypatch.setenv("TABLE_NAME", "gone")
    finding, *others = _examined()
    assert [one.result for one in others if one.check == "event source mappings"] == ["ok"]
    assert (finding.check, finding.detail) == ("table", "the table gone does not exist")
    assert finding.fix == "do not deploy, which restores nothing: docs/recover.md"


def test_a_stream_of_another_table_is_a_fault(local: Local, monkeypatch: pytest.MonkeyPatch) -> None:
    """TableName was changed and TableStreamArn was not: nothing would be published, and no alarm would fire."""
    dynamodb = boto3.client("dynamodb")
    stream: Any = {"StreamEnabled": True, "StreamViewType": "KEYS_ONLY"}
    made = dynamodb.create_table(TableName="restored", **table_definition(), StreamSpecification=stream)
    (before,) = (one for one in _examined() if one.check == "event source mappings")
    monkeypatch.setitem(target.STACK_OUTPUTS, "TABLE_NAME", "")
    monkeypatch.setenv("TABLE_NAME", "restored")
    findings = {one.check: one for one in _examined()}
    finding = findings["event source mappings"]
    dynamodb.delete_table(TableName="restored")
    assert (before.result, finding.result) == ("ok", "fault")
    assert f"the stream of restored is {made['TableDescription']['LatestStreamArn']}" in finding.detail
    assert f"table/{local.stack.deployment.table}/stream/" in finding.detail
    assert finding.fix == "deploy with TableStreamArn as the table's LatestStreamArn: docs/recover.md"
    assert findings["table"].detail == "the stream of the table restored is KEYS_ONLY, not NEW_AND_OLD_IMAGES"


def test_an_adopted_table_gets_its_index_by_hand(local: Local, monkeypatch: pytest.MonkeyPatch) -> None:
    """A deployment with TableName has no table in its stack, so that it adds no index."""
    there = Target.resources

    def without_table(self: Target, kind: str) -> dict[str, str]:
        return {} if kind == "AWS::DynamoDB::Table" else there(self, kind)

    monkeypatch.setattr(Target, "resources", without_table)
    with FAULTS["table"](local):
        finding = _examined()[0]
    assert (finding.check, finding.fix) == ("table", "add it to the adopted table: docs/recover.md")


# --- smoke ------------------------------------------------------------------------------------------


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
    assert set(_charged(local)) == {1500}, "the whole price, for Stripe makes no invoice of a few cents"


def _charged(local: Local) -> list[int]:
    """What the paid lines of smoke tests cost."""
    metadata = ((one.total, one.to_dict()["metadata"]) for one in local.stripe.invoices.list().auto_paging_iter())
    return [total for total, named in metadata if named.get("workspace_id", "").startswith("smoke-")]


def test_automatic_tax_is_no_fault(local: Local, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stripe finalizes no such invoice of a customer without an address."""
    monkeypatch.setattr(smoke, "PROVISIONER_S", 30.0)  # a busy machine is no fault
    monkeypatch.setattr(smoke, "BUDGET_S", 110.0)
    plans = local.stores.plans.all()
    local.stripe.tax.settings.update({"defaults": {"tax_behavior": "exclusive"}})
    local.stores.plans.save([replace(plan, automatic_tax=True) for plan in plans])
    code, rows = _smoke(local)
    local.stores.plans.save(plans)
    local.stripe.tax.settings.update({"defaults": {"tax_behavior": "inferred_by_currency"}})
    assert [row for row in rows if row["result"] != "ok"] == []
    assert code == 0


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


def test_a_workspace_that_could_not_be_removed_is_named_with_the_command(
    local: Local, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unavailable(*_: object) -> None:
        raise BillingUnavailable("out of time")

    monkeypatch.setattr(Setup, "delete_customer", unavailable)
    with FAULTS["reconciler's schedule"](local):
        code, rows = _smoke(local)
    assert code == 1
    removed = rows[-1]
    assert (removed["step"], removed["result"]) == ("the workspace is removed", "failed")
    assert removed["detail"] == "Stripe: out of time"
    (left,) = (one for one in local.stores.workspaces.all() if one.id.startswith("smoke-"))
    command = f"line-requests workspace delete {left.id}"
    assert removed["look"] == f"{command}; then delete the customer {left.customer} at Stripe"
    assert local.run(*command.split()[1:], "--yes")[0] == 0
    assert local.stores.workspaces.get(left.id) is None
