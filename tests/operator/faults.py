"""Faults of a deployment: each plants one, names what the doctor has to say, and takes it away again."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import boto3
import pytest

from line_requests.clock import wall_time_ms
from line_requests.domain.model import Change, Line, PaymentStatus, Status
from line_requests.storage import records
from line_requests.storage.table import Write
from tests.local.demo import PRODUCT_API_KEY
from tests.local.stripe_double import objects
from tests.operator.lines import ADA

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.operator.local import Local

DAY_MS = 86_400_000
FAULTS: dict[str, Any] = {}


def plants(check: str) -> Callable[[Callable[[Local], Iterator[str]]], Callable[[Local], Iterator[str]]]:
    def register(fault: Callable[[Local], Iterator[str]]) -> Callable[[Local], Iterator[str]]:
        FAULTS[check] = contextmanager(fault)
        return fault

    return register


@plants("table")
def _no_index(local: Local) -> Iterator[str]:
    dynamodb, table = boto3.client("dynamodb"), local.stack.deployment.table
    described = dynamodb.describe_table(TableName=table)["Table"]
    [index] = [one for one in described["GlobalSecondaryIndexes"] if one["IndexName"] == "operator"]
    dynamodb.update_table(TableName=table, GlobalSecondaryIndexUpdates=[{"Delete": {"IndexName": "operator"}}])
    yield f"the table {table} has no index operator"
    again: Any = {name: index[name] for name in ("IndexName", "KeySchema", "Projection")}
    dynamodb.update_table(
        TableName=table,
        AttributeDefinitions=described["AttributeDefinitions"],
        GlobalSecondaryIndexUpdates=[{"Create": again}],
    )


@plants("plans")
def _no_plan(local: Local) -> Iterator[str]:
    plans = local.stores.plans.all()
    local.stores.plans.save([], remove=[plan.name for plan in plans])
    yield "no plan is applied"
    local.stores.plans.save(plans)


@plants("point-in-time recovery")
def _no_backups(local: Local) -> Iterator[str]:
    def set_recovery(*, enabled: bool) -> None:
        boto3.client("dynamodb").update_continuous_backups(
            TableName=local.stack.deployment.table,
            PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": enabled},
        )

    set_recovery(enabled=False)
    yield "has no point-in-time recovery"
    set_recovery(enabled=True)


@plants("reconciler's schedule")
def _schedule_off(local: Local) -> Iterator[str]:
    rules = local.physical_ids("AWS::Events::Rule")
    rule = next(physical for logical, physical in rules.items() if logical.startswith("Reconciler"))
    boto3.client("events").disable_rule(Name=rule)
    yield f"the rule {rule} is DISABLED"
    boto3.client("events").enable_rule(Name=rule)


@plants("reconciler recent")
def _reconciler_silent(local: Local) -> Iterator[str]:
    before = local.stores.due.watermark_s()
    assert before is not None
    local.stores.due.move_watermark(seen_s=before, to_s=before - 3600)
    yield "the reconciler has not followed Stripe's events for 6"
    local.stores.due.move_watermark(seen_s=before - 3600, to_s=before)


@plants("event source mappings")
def _mapping_off(local: Local) -> Iterator[str]:
    uuid = next(iter(local.physical_ids("AWS::Lambda::EventSourceMapping").values()))
    boto3.client("lambda").update_event_source_mapping(UUID=uuid, Enabled=False)
    yield f"{uuid} is Disabl"
    boto3.client("lambda").update_event_source_mapping(UUID=uuid, Enabled=True)


def _rule_off(local: Local, *, ours: bool) -> Iterator[None]:
    events, bus = boto3.client("events"), local.stack.deployment.bus
    rules = [rule["Name"] for rule in events.list_rules(EventBusName=bus)["Rules"]]
    own = {name.split("|")[-1] for name in local.physical_ids("AWS::Events::Rule").values()}
    disabled = [name for name in rules if (name in own) is ours]
    assert disabled
    for name in disabled:
        events.disable_rule(Name=name, EventBusName=bus)
    yield
    for name in disabled:
        events.enable_rule(Name=name, EventBusName=bus)


@plants("provisioner on the bus")
def _no_provisioner(local: Local) -> Iterator[str]:
    for _ in _rule_off(local, ours=False):
        yield "no provisioner hears of lines"


@plants("provisioners' answers")
def _nobody_listens(local: Local) -> Iterator[str]:
    for _ in _rule_off(local, ours=True):
        yield " is DISABLED"


@plants("answers set aside")
def _dead_letter(local: Local) -> Iterator[str]:
    sqs, queue = boto3.client("sqs"), local.output("ProvisioningResultDeadLettersUrl")
    sqs.send_message(QueueUrl=queue, MessageBody="{}")
    yield "1 answers of provisioners could not be applied"
    sqs.purge_queue(QueueUrl=queue)


@plants("changes set aside")
def _lost_change(local: Local) -> Iterator[str]:
    s3, bucket = boto3.client("s3"), local.output("StateChangeDeadLettersBucket")
    s3.put_object(Bucket=bucket, Key="batch", Body=b"{}")
    yield f"are in the bucket {bucket}"
    s3.delete_object(Bucket=bucket, Key="batch")


@plants("alarms")
def _alarm(local: Local) -> Iterator[str]:
    alarm = next(iter(local.physical_ids("AWS::CloudWatch::Alarm").values()))
    boto3.client("cloudwatch").set_alarm_state(AlarmName=alarm, StateValue="ALARM", StateReason="a test")
    yield f"in alarm: {alarm}"
    boto3.client("cloudwatch").set_alarm_state(AlarmName=alarm, StateValue="OK", StateReason="a test")


@plants("Stripe secret")
def _no_signing_secret(_: Local) -> Iterator[str]:
    secrets = boto3.client("secretsmanager")
    before = secrets.get_secret_value(SecretId="stripe")["SecretString"]
    secrets.put_secret_value(SecretId="stripe", SecretString=json.dumps({"api_key": PRODUCT_API_KEY}))
    yield "the secret has no webhook_secrets"
    secrets.put_secret_value(SecretId="stripe", SecretString=before)


@plants("Stripe account")
def _account_may_not_charge(_: Local) -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(objects.ACCOUNT, "charges_enabled", 0)
        yield "may not charge yet"


@plants("mode of key and workspaces")
def _live_workspace(local: Local) -> Iterator[str]:
    name = f"live-{uuid4().hex[:8]}"
    assert local.stores.workspaces.insert(name, f"cus_{name}", livemode=True)
    yield f"the key is of test mode, 1 workspaces are not: {name}"
    local.stores.table.write(Write(records.workspace_key(name)))


@plants("key scopes")
def _restricted_key(local: Local) -> Iterator[str]:
    local.stack.double.forbidden_api_keys.add(PRODUCT_API_KEY)
    yield "the key may not read Subscriptions"
    local.stack.double.forbidden_api_keys.discard(PRODUCT_API_KEY)


@plants("webhook endpoint")
def _disabled_endpoint(local: Local) -> Iterator[str]:
    (endpoint,) = local.stripe.webhook_endpoints.list().data
    local.stripe.webhook_endpoints.update(endpoint.id, {"disabled": True})
    yield f"no enabled webhook endpoint of {local.webhook_url}"
    local.restored_stripe()


@plants("webhook events")
def _deaf_endpoint(local: Local) -> Iterator[str]:
    (endpoint,) = local.stripe.webhook_endpoints.list().data
    local.stripe.webhook_endpoints.update(endpoint.id, {"enabled_events": ["invoice.paid"]})
    yield f"the webhook endpoint {endpoint.id} does not send "
    local.restored_stripe()


@plants("webhook version")
def _old_endpoint(local: Local) -> Iterator[str]:
    endpoint = local.stripe.webhook_endpoints.create(
        {"url": local.webhook_url, "enabled_events": ["*"], "api_version": "2024-06-20"}
    )
    yield f"the webhook endpoint {endpoint.id} is of version 2024-06-20"
    local.stripe.webhook_endpoints.delete(endpoint.id)


@plants("customer portal")
def _quantities_in_portal(local: Local) -> Iterator[str]:
    (configuration,) = local.stripe.billing_portal.configurations.list().data
    tables = local.stack.double._account.tables  # noqa: SLF001 - the double has no route that changes it
    update = tables["billing_portal.configuration"][configuration.id]["features"]["subscription_update"]
    update |= {"enabled": True, "default_allowed_updates": ["price", "quantity"]}
    yield "customers may change quantities in the portal"
    update |= {"enabled": False, "default_allowed_updates": []}


@plants("plans' prices")
def _inactive_price(local: Local) -> Iterator[str]:
    plan = next(plan for plan in local.stores.plans.all() if plan.name == "starter")
    add_on = next(iter(plan.allowances.values())).add_on
    assert add_on is not None
    local.stripe.prices.update(add_on.price, {"active": False})
    yield f"{add_on.price} is not active"
    local.stripe.prices.update(add_on.price, {"active": True})


@plants("add-on quantities")
def _quantity_edited(local: Local) -> Iterator[str]:
    workspace = next(one for one in local.stores.workspaces.all() if one.id.startswith("starter"))
    assert workspace.subscription is not None
    price = local.stripe.prices.list({"type": "recurring"}).data[0].id
    item = local.stripe.subscription_items.create(
        {
            "subscription": workspace.subscription.id,
            "price": price,
            "quantity": 7,
            "metadata": {"line_requests": "add_on"},
        }
    )
    yield f"{workspace.id}: {workspace.subscription.id} carries {{'{price}': 7}}, owed is none"
    local.stripe.subscription_items.delete(item.id)


@plants("orphan invoices")
def _orphan(local: Local) -> Iterator[str]:
    workspace = next(iter(local.stores.workspaces.all()))
    metadata = {"line_id": "0" * 24, "workspace_id": workspace.id}
    invoice = local.stripe.invoices.create({"customer": workspace.customer, "metadata": metadata})
    yield f"the draft invoice {invoice.id} is for the line {'0' * 24}, which does not exist"
    local.stripe.invoices.delete(invoice.id)


@contextmanager
def _edited(local: Local, **changes: object) -> Iterator[str]:
    """A workspace's item with other attributes, behind the product's back."""
    workspace = next(one.id for one in local.stores.workspaces.all() if one.id.startswith("starter"))
    key = records.workspace_key(workspace)
    before = local.stores.table.get(key) or {}

    def write(values: dict[str, object]) -> None:
        gone = "".join(f" REMOVE #{name}" for name in changes if name not in values)
        update = "SET " + ", ".join(f"#{name} = :{name}" for name in values) if values else ""
        local.stores.table.write(Write(key, update=update + gone, values=values))

    write(changes)
    yield workspace
    write({name: before[name] for name in changes if name in before})


@plants("counters")
def _miscounted(local: Local) -> Iterator[str]:
    with _edited(local, held={"email": 3}) as name:
        yield f"{name} counts 3 email lines, 0 unpaid; there are 0, 0 unpaid"


@plants("locks")
def _locked(local: Local) -> Iterator[str]:
    with _edited(local, lock="1" * 24) as name:
        yield f"{name} is locked by {'1' * 24}, None awaits payment"


@plants("operator's index")
def _unlisted(local: Local) -> Iterator[str]:
    with _edited(local, op_status="older"):
        yield "lists show 1 lines or workspaces wrongly: starter"


@plants("over plan")
def _over_plan(local: Local) -> Iterator[str]:
    counts = {"byon_phone": 1}
    with _edited(local, held=counts, unpaid=counts) as name:
        yield f"{name} holds 1 byon phone lines, 0 are allowed"


@plants("known plans")
def _unknown_plan(local: Local) -> Iterator[str]:
    workspace = next(one for one in local.stores.workspaces.all() if one.id.startswith("starter"))
    assert workspace.subscription is not None
    key, item = records.workspace_key(workspace.id), records.subscription_item(workspace.subscription)
    unknown = {name: value for name, value in item.items() if name != "plan"}
    update = "SET #subscription = :subscription"
    local.stores.table.write(Write(key, update=update, values={"subscription": unknown}))
    yield f"no plan names the base price of {workspace.subscription.id} of {workspace.id}"
    local.stores.table.write(Write(key, update=update, values={"subscription": item}))


@contextmanager
def _line(local: Local, status: Status, payment: PaymentStatus, *, days: int, workspace: str = "") -> Iterator[Line]:
    """A line that no request made."""
    at_ms = wall_time_ms() - days * DAY_MS - 1000
    owner = workspace or next(one.id for one in local.stores.workspaces.all() if one.id.startswith("starter"))
    line = Line(
        id=f"{uuid4().hex[:24]}",
        workspace_id=owner,
        submission=ADA,
        status=status,
        payment_status=payment,
        created_at_ms=at_ms,
        history=(Change(at_ms, status, "a test"),),
        invoice_id="in_1",
        refund_due=status is Status.CANCELED,
    )
    key = records.line_key(owner, line.id)
    local.stores.table.write(Write(key, put=records.line_item(line)))
    yield line
    local.stores.table.write(Write(key))


@plants("workspaces of lines")
def _homeless(local: Local) -> Iterator[str]:
    with _line(local, Status.ACTIVE, PaymentStatus.PAID, days=0, workspace="nowhere") as line:
        yield f"the line {line.id} is active, its workspace nowhere does not exist"


@plants("refunds")
def _refund_due(local: Local) -> Iterator[str]:
    with _line(local, Status.CANCELED, PaymentStatus.CANCELED, days=0) as line:
        yield f"what was paid for the canceled line {line.id} by the invoice in_1 did not go back"


@plants("waiting for payment")
def _forgotten(local: Local) -> Iterator[str]:
    with _line(local, Status.AWAITING_PAYMENT, PaymentStatus.AWAITING_PAYMENT, days=4) as line:
        yield f"the line {line.id} of {line.workspace_id} has awaited its payment for 4 days"


@plants("waiting for the provisioner")
def _never_provisioned(local: Local) -> Iterator[str]:
    with _line(local, Status.PROVISIONING, PaymentStatus.PAID, days=1) as line:
        yield f"the line {line.id} of {line.workspace_id} has been in provisioning for 24 h"
