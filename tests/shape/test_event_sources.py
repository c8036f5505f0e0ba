import json

from line_requests.storage.records import line_key, workspace_key
from tests.shape.cloudformation import Json, decided

QUEUE = {"Fn::GetAtt": ["ProvisioningResults", "Arn"]}
DEAD_LETTERS = {"Fn::GetAtt": ["ProvisioningResultDeadLetters", "Arn"]}


def test_stream_delivers_lines_and_workspaces_only(resources: Json) -> None:
    """[48][54] With the sort keys that the product writes."""
    mapping = resources["PublishChangesChanges"]["Properties"]
    [only] = mapping["FilterCriteria"]["Filters"]
    pattern = json.loads(only["Pattern"])
    assert pattern == {"dynamodb": {"Keys": {"sk": {"S": [{"prefix": "LINE#"}, "WORKSPACE"]}}}}
    assert workspace_key("acme")["sk"] == "WORKSPACE"
    assert line_key("acme", "1")["sk"] == "LINE#1"


def test_stream_keeps_what_it_cannot_publish(resources: Json) -> None:
    mapping = resources["PublishChangesChanges"]["Properties"]
    assert mapping["StartingPosition"] == "TRIM_HORIZON"
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert mapping["BisectBatchOnFunctionError"] is True
    assert mapping["MaximumRecordAgeInSeconds"] < 24 * 3600
    assert mapping["MetricsConfig"] == {"Metrics": ["EventCount"]}
    bucket = {"Fn::GetAtt": ["StateChangeDeadLetters", "Arn"]}
    assert mapping["DestinationConfig"]["OnFailure"]["Destination"] == bucket


def test_provisioning_results_go_from_the_bus_to_the_queue(resources: Json) -> None:
    """[48]"""
    rule = resources["ProvisioningResultRule"]["Properties"]
    assert rule["EventBusName"] == {"Ref": "Bus"}
    assert rule["EventPattern"] == {"detail-type": ["Line Provisioning Result"]}
    (target,) = rule["Targets"]
    assert (target["Arn"], target["DeadLetterConfig"]) == (QUEUE, {"Arn": DEAD_LETTERS})
    (statement,) = resources["ProvisioningResultsPolicy"]["Properties"]["PolicyDocument"]["Statement"]
    assert statement["Principal"] == {"Service": "events.amazonaws.com"}
    assert statement["Resource"] == [QUEUE, DEAD_LETTERS]
    arn = {"Fn::GetAtt": ["ProvisioningResultRule", "Arn"]}
    assert statement["Condition"] == {"ArnEquals": {"aws:SourceArn": arn}}


def test_failed_result_is_delivered_again_then_set_aside_and_delays_no_other(resources: Json) -> None:
    """[48]"""
    mapping = resources["ProvisioningResultResults"]["Properties"]
    assert mapping["EventSourceArn"] == QUEUE
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    queue = resources["ProvisioningResults"]["Properties"]
    assert queue["RedrivePolicy"] == {"deadLetterTargetArn": DEAD_LETTERS, "maxReceiveCount": 5}
    assert queue["VisibilityTimeout"] >= 6 * resources["ProvisioningResult"]["Properties"]["Timeout"]
    assert resources["ProvisioningResultDeadLetters"]["Properties"]["MessageRetentionPeriod"] == 14 * 86_400


def test_reconcilers_schedule_never_retries_a_stale_run(resources: Json) -> None:
    """[58]"""
    (target,) = resources["ReconcilerTick"]["Properties"]["Targets"]
    assert target["RetryPolicy"] == {"MaximumRetryAttempts": 0, "MaximumEventAgeInSeconds": 60}
    invocation = resources["ReconcilerEventInvokeConfig"]["Properties"]
    assert (invocation["MaximumRetryAttempts"], invocation["MaximumEventAgeInSeconds"]) == (0, 60)


def test_stream_is_that_of_the_table_in_use(resources: Json) -> None:
    stream = resources["PublishChangesChanges"]["Properties"]["EventSourceArn"]
    assert decided(stream, CreatesTable=True) == {"Fn::GetAtt": ["Table", "StreamArn"]}
    assert decided(stream, CreatesTable=False) == {"Ref": "TableStreamArn"}
