"""The doctor's checks of what is deployed on AWS."""

from collections.abc import Iterator
from typing import Any

from botocore.exceptions import ClientError

from line_requests.operator.doctor import Check, Fault, Patient, Skipped

# Far more than a run and its minute of distance from the newest events.
RECONCILER_SILENT_MS = 15 * 60_000
# CloudFormation does not see what was changed by hand, unless it is asked to revert that.
DEPLOY = (
    "deploy again: docs/deploy.md; if it was changed by hand: a change set with --deployment-mode REVERT_DRIFT, "
    "https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/drift-aware-change-sets.html"
)
# A deployment finds the template unchanged; reverting drift would make an empty table.
RESTORE = "do not deploy, which restores nothing: docs/recover.md"
STREAM_IMAGES = "NEW_AND_OLD_IMAGES"
STREAM = "deploy with TableStreamArn as the table's LatestStreamArn: docs/recover.md"


def _described(patient: Patient) -> dict[str, Any]:
    """The deployment's table as DynamoDB describes it; empty when there is none."""
    name = patient.target.environment["TABLE_NAME"]
    try:
        table: dict[str, Any] = patient.target.client("dynamodb").describe_table(TableName=name)["Table"]
    except ClientError as error:
        if error.response["Error"]["Code"] == "ResourceNotFoundException":
            return {}
        raise
    return table


def _table(patient: Patient) -> Iterator[str | Fault]:
    name, table = patient.target.environment["TABLE_NAME"], _described(patient)
    if not table:
        yield Fault(f"the table {name} does not exist", RESTORE)
        return
    if table["TableStatus"] != "ACTIVE":
        why = f"aws dynamodb describe-table --table-name {name} says why; wait until it is ACTIVE"
        yield Fault(f"the table {name} is {table['TableStatus']}", why)
    # Without both images no change of state is seen: nothing is published, and nothing fails.
    images = table.get("StreamSpecification", {}).get("StreamViewType", "off")
    if images != STREAM_IMAGES:
        fix = f"turn it on with {STREAM_IMAGES}, then {STREAM}"
        yield Fault(f"the stream of the table {name} is {images}, not {STREAM_IMAGES}", fix)
    there = {index["IndexName"] for index in table.get("GlobalSecondaryIndexes", [])}
    adopted = patient.target.stack is not None and not patient.target.resources("AWS::DynamoDB::Table")
    for index in sorted({"due", "operator"} - there):
        fix = "add it to the adopted table: docs/recover.md" if adopted else DEPLOY
        yield Fault(f"the table {name} has no index {index}", fix)


def _backups(patient: Patient) -> Iterator[Fault]:
    name = patient.target.environment["TABLE_NAME"]
    backups = patient.target.client("dynamodb").describe_continuous_backups(TableName=name)
    recovery = backups["ContinuousBackupsDescription"].get("PointInTimeRecoveryDescription", {})
    if recovery.get("PointInTimeRecoveryStatus") != "ENABLED":
        enabled = "--point-in-time-recovery-specification PointInTimeRecoveryEnabled=true"
        command = f"aws dynamodb update-continuous-backups --table-name {name} {enabled}"
        yield Fault(f"the table {name} has no point-in-time recovery", command)


def _schedule(patient: Patient) -> Iterator[str | Fault]:
    function = patient.output("ReconcilerFunction")
    events = patient.target.client("events")
    rules = [
        physical
        for logical, physical in patient.target.resources("AWS::Events::Rule").items()
        if logical.startswith("Reconciler")
    ]
    if not rules:
        yield f"no rule runs {function}"
    for rule in rules:
        state = events.describe_rule(Name=rule)["State"]
        if state != "ENABLED":
            yield Fault(f"the rule {rule} is {state}", f"aws events enable-rule --name {rule}")


def _reconciled(patient: Patient) -> Iterator[str]:
    watermark_s = patient.stores.due.watermark_s()
    if watermark_s is None:
        yield "the reconciler has never followed Stripe's events"
    elif patient.now_ms - watermark_s * 1000 > RECONCILER_SILENT_MS:
        minutes = (patient.now_ms // 1000 - watermark_s) // 60
        yield f"the reconciler has not followed Stripe's events for {minutes} minutes"


def _mappings(patient: Patient) -> Iterator[str | Fault]:
    patient.output("PublishChangesFunction")
    mappings = patient.target.resources("AWS::Lambda::EventSourceMapping")
    if not mappings:
        yield "no event source mapping publishes state changes"
    table = _described(patient)
    name, stream = patient.target.environment["TABLE_NAME"], table.get("LatestStreamArn", "none")
    for logical, uuid in mappings.items():
        found = patient.target.client("lambda").get_event_source_mapping(UUID=uuid)
        if found["State"] not in {"Enabled", "Creating", "Enabling"}:
            command = f"aws lambda update-event-source-mapping --uuid {uuid} --enabled"
            yield Fault(f"the event source mapping {logical} {uuid} is {found['State']}", command)
        # Another table was adopted without its stream, or the stream was turned off and on.
        if table and ":dynamodb:" in (source := found.get("EventSourceArn", "")) and source != stream:
            yield Fault(f"the event source mapping {logical} reads {source}; the stream of {name} is {stream}", STREAM)


def _rules(patient: Patient, *, ours: bool) -> list[Fault | None]:
    """For each rule of the deployment's bus, why it passes nothing on, if so."""
    bus = patient.target.environment.get("BUS_NAME") or ""
    if not bus:
        raise Skipped("BUS_NAME is not set")
    if patient.target.stack is None:
        raise Skipped("needs --stack")
    events = patient.target.client("events")
    # The physical id of a rule on a bus of one's own is `bus|rule`.
    own = {name.split("|")[-1] for name in patient.target.resources("AWS::Events::Rule").values()}

    def fault(name: str, state: str) -> Fault | None:
        if state != "ENABLED":
            return Fault(f"the rule {name} is {state}", f"aws events enable-rule --name {name} --event-bus-name {bus}")
        targets = events.list_targets_by_rule(Rule=name, EventBusName=bus)["Targets"]
        return None if targets else Fault(f"the rule {name} has no target", DEPLOY)

    rules = events.list_rules(EventBusName=bus)["Rules"]
    return [fault(rule["Name"], rule["State"]) for rule in rules if (rule["Name"] in own) is ours]


def _provisioner(patient: Patient) -> Iterator[str]:
    if all(_rules(patient, ours=False)):
        yield "no enabled rule on the bus but our own has a target: no provisioner hears of lines"


def _results(patient: Patient) -> Iterator[str | Fault]:
    rules = _rules(patient, ours=True)
    if not rules:
        yield "no rule takes provisioners' answers from the bus"
    yield from filter(None, rules)


def _dead_letters(patient: Patient) -> Iterator[str]:
    url = patient.output("ProvisioningResultDeadLettersUrl")
    name = "ApproximateNumberOfMessages"
    got = patient.target.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=[name])
    waiting = int(got["Attributes"][name])
    if waiting:
        yield f"{waiting} answers of provisioners could not be applied"


def _lost_changes(patient: Patient) -> Iterator[str]:
    bucket = patient.output("StateChangeDeadLettersBucket")
    if patient.target.client("s3").list_objects_v2(Bucket=bucket, MaxKeys=1).get("KeyCount"):
        yield f"state changes that could not be published are in the bucket {bucket}"


def _alarms(patient: Patient) -> Iterator[str]:
    if patient.target.stack is None:
        raise Skipped("needs --stack")
    own = set(patient.target.resources("AWS::CloudWatch::Alarm").values())
    if not own:
        yield "the stack has no alarms"
        return
    pages = patient.target.client("cloudwatch").get_paginator("describe_alarms").paginate(StateValue="ALARM")
    ringing = sorted(
        alarm["AlarmName"] for page in pages for alarm in page["MetricAlarms"] if alarm["AlarmName"] in own
    )
    if ringing:
        yield f"in alarm: {', '.join(ringing)}"


CHECKS = [
    Check("table", _table, DEPLOY),
    Check("point-in-time recovery", _backups, "docs/recover.md"),
    Check("reconciler's schedule", _schedule, DEPLOY),
    Check("reconciler recent", _reconciled, "read the log of the function Reconciler: docs/operate.md"),
    Check("event source mappings", _mappings, DEPLOY),
    Check("provisioner on the bus", _provisioner, "add a rule for the provisioner, or enable it: docs/provisioner.md"),
    Check("provisioners' answers", _results, DEPLOY),
    Check("answers set aside", _dead_letters, "redrive the queue: docs/operate.md"),
    Check("changes set aside", _lost_changes, "docs/operate.md"),
    Check("alarms", _alarms, "docs/operate.md: each alarm with its command"),
]
