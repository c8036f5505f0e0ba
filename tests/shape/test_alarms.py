import ast
import json
import re
from pathlib import Path

import pytest

from line_requests.telemetry import alarm
from tests.shape.cloudformation import Json, decided, of_type

ROOT = Path(__file__).parents[2]
CODE = [*ROOT.glob("layers/line_requests/**/*.py"), *ROOT.glob("functions/*/app.py")]
SERVICE = [{"Name": "service", "Value": {"Ref": "AWS::StackName"}}]
DOCS = (ROOT / "docs/operate.md").read_text()


def raised() -> set[str]:
    """The metrics that the code counts for an operator."""
    calls = [node for path in CODE for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    names = [(getattr(call.func, "id", None) or getattr(call.func, "attr", None), call) for call in calls]
    return {ast.literal_eval(call.args[0]) for name, call in names if name == "alarm"}


@pytest.fixture(scope="session")
def alarms(resources: Json) -> dict[str, Json]:
    return of_type(resources, "AWS::CloudWatch::Alarm")


def of_metric(alarms: dict[str, Json], namespace: str, metric: str) -> list[Json]:
    return [a for a in alarms.values() if (a.get("Namespace"), a.get("MetricName")) == (namespace, metric)]


def dimensions(alarm: Json) -> dict[str, Json]:
    return {dimension["Name"]: dimension["Value"] for dimension in alarm["Dimensions"]}


def operator_metrics(alarms: dict[str, Json]) -> set[str]:
    return {a["MetricName"] for a in alarms.values() if a.get("Namespace") == "LineRequests"}


def rows(heading: str) -> set[str]:
    """The names in the first column of the operators' table with this heading."""
    [table] = re.findall(rf"^\| {heading} \|.*\n\|[-|]+\|\n((?:\|.*\n)+)", DOCS, re.MULTILINE)
    return {name for row in table.splitlines() for name in re.findall(r"`(\w+)`", row.split("|")[1])}


def test_metrics_that_are_counted_alarmed_and_explained_are_the_same(alarms: dict[str, Json]) -> None:
    assert raised() == operator_metrics(alarms) == rows("metric")


def test_every_other_alarm_is_explained(alarms: dict[str, Json]) -> None:
    assert rows("alarm") == {name.removesuffix("Alarm") for name in alarms} - operator_metrics(alarms)


def test_reconcilers_trouble_alarms_only_if_it_lasts(alarms: dict[str, Json]) -> None:
    """The next run is the retry."""
    periods = {
        a["MetricName"]: int(a["EvaluationPeriods"]) for a in alarms.values() if a.get("Namespace") == "LineRequests"
    }
    assert {name for name, number in periods.items() if number > 1} == {"ReconcileLineFailed", "ReconcilerBacklog"}


def test_reconcilers_trouble_alarms_with_any_schedule_that_is_not_silent(alarms: dict[str, Json]) -> None:
    """A run that fails is one datapoint, and without runs there is none: in a row there would never be several."""
    longest_s = int(alarms["ReconcilerSilentAlarm"]["Period"])
    lasting = {name: found for name, found in alarms.items() if int(found.get("DatapointsToAlarm", 1)) > 1}
    assert lasting.keys() == {f"Reconcile{name}Alarm" for name in ("LineFailed", "rBacklog", "rErrors")} | {
        "CreateLatencyAlarm"
    }
    for name in lasting.keys() - {"CreateLatencyAlarm"}:
        watched_s = int(lasting[name]["EvaluationPeriods"]) * int(lasting[name]["Period"])
        assert watched_s >= int(lasting[name]["DatapointsToAlarm"]) * longest_s, name


def test_dashboard_shows_every_metric_for_an_operator_of_its_own_stack(
    resources: Json, alarms: dict[str, Json]
) -> None:
    text = resources["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"][0]
    (widget,) = [w["properties"] for w in json.loads(text)["widgets"] if w["properties"]["title"] == "For an operator"]
    assert {metric[1] for metric in widget["metrics"]} == operator_metrics(alarms)
    assert widget["metrics"][0] == ["LineRequests", "RefundDue", "service", "${AWS::StackName}"]


def test_every_metric_of_the_dashboard_is_of_this_stack_alone(resources: Json) -> None:
    """A dot repeats what the metric before has in this place, three dots all but the last."""
    dashboard = resources["Dashboard"]["Properties"]
    assert "${AWS::StackName}" in dashboard["DashboardName"]["Fn::Sub"]
    shown = 0
    for widget in json.loads(dashboard["DashboardBody"]["Fn::Sub"][0])["widgets"]:
        before: list[str] = []
        for metric in widget["properties"]["metrics"]:
            names = [part for part in metric if isinstance(part, str)]
            names = [*before[:-1], names[-1]] if names[0] == "..." else names
            before = [before[at] if name == "." else name for at, name in enumerate(names)]
            assert before[-1].startswith("${"), metric
            shown += 1
    assert shown > 30


def test_metrics_and_their_alarms_are_of_one_stack(
    resources: Json, alarms: dict[str, Json], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    environment = resources["Reconciler"]["Properties"]["Environment"]["Variables"]
    assert environment["POWERTOOLS_SERVICE_NAME"] == {"Ref": "AWS::StackName"}
    monkeypatch.setenv("POWERTOOLS_SERVICE_NAME", "stack-one")
    monkeypatch.setenv("POWERTOOLS_METRICS_NAMESPACE", environment["POWERTOOLS_METRICS_NAMESPACE"])
    alarm("RefundDue", "a test")
    emitted = json.loads(capsys.readouterr().out.splitlines()[-1])
    (metrics,) = emitted["_aws"]["CloudWatchMetrics"]
    assert metrics["Namespace"] == "LineRequests"
    assert {name: emitted[name] for (name,) in metrics["Dimensions"]} == {"service": "stack-one"}
    assert all(a["Dimensions"] == SERVICE for a in alarms.values() if a.get("Namespace") == "LineRequests")


def test_alarms_always_exist_and_notify_only_where_there_is_a_topic(resources: Json, alarms: dict[str, Json]) -> None:
    for name, properties in alarms.items():
        assert "Condition" not in resources[name], name
        assert decided(properties["AlarmActions"], HasAlarmTopic=True) == [{"Ref": "AlarmTopicArn"}], name
        assert decided(properties["AlarmActions"], HasAlarmTopic=False) == {"Ref": "AWS::NoValue"}, name


def test_only_what_stops_alarms_by_its_silence(alarms: dict[str, Json]) -> None:
    """Everything else has no data points while all is well."""
    missing = {name: properties["TreatMissingData"] for name, properties in alarms.items()}
    stopped = {"ReconcilerSilentAlarm", "StreamStoppedAlarm"}
    assert missing == {name: "breaching" if name in stopped else "notBreaching" for name in alarms}


def test_every_alarm_says_what_to_do(alarms: dict[str, Json]) -> None:
    for name, properties in alarms.items():
        says = properties["AlarmDescription"]
        text, values = says["Fn::Sub"] if isinstance(says, dict) else (says, {})
        assert not set(re.findall(r"\$\{(\w+)\}", text)) - set(values), name
        sentences = re.split(r"[.,;] ", text)
        assert len(sentences) > 1, f"{name} says what happened, but not what to do"
        assert len(text) <= 1024


@pytest.mark.parametrize(
    ("metric", "threshold"),
    [("DroppedEventCount", 1), ("OnFailureDestinationDeliveredEventCount", 1)],
)
def test_stream_records_that_are_given_up_alarm(alarms: dict[str, Json], metric: str, threshold: int) -> None:
    (found,) = of_metric(alarms, "AWS/Lambda", metric)
    assert dimensions(found) == {"EventSourceMappingUUID": {"Ref": "PublishChangesChanges"}}
    assert found["Threshold"] == threshold


def test_stream_that_nobody_polls_alarms(alarms: dict[str, Json]) -> None:
    """An empty poll counts 0, so only a mapping that has stopped has no data points."""
    (found,) = of_metric(alarms, "AWS/Lambda", "PolledEventCount")
    assert dimensions(found) == {"EventSourceMappingUUID": {"Ref": "PublishChangesChanges"}}
    assert (found["Statistic"], found["ComparisonOperator"]) == ("SampleCount", "LessThanThreshold")
    assert found["Threshold"] == 1


def test_stream_that_is_late_alarms(alarms: dict[str, Json]) -> None:
    (found,) = of_metric(alarms, "AWS/Lambda", "IteratorAge")
    assert dimensions(found) == {"FunctionName": {"Ref": "PublishChanges"}}
    assert found["Threshold"] == 300_000


def test_provisioning_results_that_wait_or_are_set_aside_alarm(alarms: dict[str, Json]) -> None:
    (aside,) = of_metric(alarms, "AWS/SQS", "ApproximateNumberOfMessagesVisible")
    assert dimensions(aside) == {"QueueName": {"Fn::GetAtt": ["ProvisioningResultDeadLetters", "QueueName"]}}
    (waiting,) = of_metric(alarms, "AWS/SQS", "ApproximateAgeOfOldestMessage")
    assert dimensions(waiting) == {"QueueName": {"Fn::GetAtt": ["ProvisioningResults", "QueueName"]}}


def test_late_lines_without_any_answer_alarm(alarms: dict[str, Json]) -> None:
    metrics = {metric["Id"]: metric for metric in alarms["NobodyAnswersAlarm"]["Metrics"]}
    assert "late, 0) > 0 AND FILL(answers, 0) < 1" in metrics["nobody_answers"]["Expression"]
    late, answers = (metrics[name]["MetricStat"]["Metric"] for name in ("late", "answers"))
    assert (late["MetricName"], late["Dimensions"]) == ("ProvisioningLate", SERVICE)
    assert answers["MetricName"] == "NumberOfMessagesSent"
    assert dimensions(answers) == {"QueueName": {"Fn::GetAtt": ["ProvisioningResults", "QueueName"]}}
    assert [name for name, metric in metrics.items() if metric.get("ReturnData", True)] == ["nobody_answers"]


def test_throttles_alarm_by_the_function_that_is_called_most(alarms: dict[str, Json]) -> None:
    """The account's concurrency runs out for all; an alarm without a function would ring for another stack's calls."""
    (found,) = of_metric(alarms, "AWS/Lambda", "Throttles")
    assert dimensions(found) == {"FunctionName": {"Ref": "GetLineRequest"}}


def test_every_alarm_is_of_this_stack_alone(alarms: dict[str, Json]) -> None:
    for name, alarm_ in alarms.items():
        read = [m["MetricStat"]["Metric"] for m in alarm_.get("Metrics", []) if "MetricStat" in m] or [alarm_]
        assert all(
            "Ref" in str(metric["Dimensions"]) or "Fn::GetAtt" in str(metric["Dimensions"]) for metric in read
        ), name


def test_reconciler_that_does_not_run_alarms(alarms: dict[str, Json]) -> None:
    (found,) = of_metric(alarms, "AWS/Lambda", "Invocations")
    assert dimensions(found) == {"FunctionName": {"Ref": "Reconciler"}}


def test_errors_of_the_reconciler_alarm(alarms: dict[str, Json]) -> None:
    """Those of the other functions that no client waits for show as late or set aside records."""
    (failing,) = of_metric(alarms, "AWS/Lambda", "Errors")
    assert dimensions(failing) == {"FunctionName": {"Ref": "Reconciler"}}


def test_errors_of_any_route_alarm_without_detailed_metrics(resources: Json, alarms: dict[str, Json]) -> None:
    """Detailed metrics cost six metrics per route."""
    (found,) = of_metric(alarms, "AWS/ApiGateway", "5xx")
    assert dimensions(found) == {"ApiId": {"Ref": "Api"}, "Stage": "$default"}
    (stage,) = of_type(resources, "AWS::ApiGatewayV2::Stage").values()
    assert "DetailedMetricsEnabled" not in stage["DefaultRouteSettings"]


def test_latency_of_creating_alarms(alarms: dict[str, Json]) -> None:
    (slow,) = of_metric(alarms, "AWS/Lambda", "Duration")
    assert dimensions(slow) == {"FunctionName": {"Ref": "CreateLineRequest"}}
    assert slow["ExtendedStatistic"] == "p99"
