import ast
import json
from pathlib import Path
from typing import Any

import pytest

from line_requests.telemetry import alarm

Json = Any
ROOT = Path(__file__).parents[2]
CODE = [*ROOT.glob("layers/line_requests/*.py"), *ROOT.glob("functions/*/app.py")]


def raised() -> set[str]:
    """The metrics that the code counts for an operator."""
    calls = [node for path in CODE for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    alarms = [call for call in calls if isinstance(call.func, ast.Name) and call.func.id == "alarm"]
    return {ast.literal_eval(call.args[0]) for call in alarms}


def custom_alarms(resources: Json) -> dict[str, Json]:
    alarms = [r["Properties"] for r in resources.values() if r["Type"] == "AWS::CloudWatch::Alarm"]
    return {a["MetricName"]: a for a in alarms if a["Namespace"] == "LineRequests"}


def test_every_metric_for_an_operator_has_an_alarm_and_every_alarm_a_metric(resources: Json) -> None:
    assert set(custom_alarms(resources)) == raised()


def test_the_dashboard_shows_every_metric_for_an_operator(resources: Json) -> None:
    body = json.loads(resources["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"])
    (widget,) = [w["properties"] for w in body["widgets"] if w["properties"]["title"] == "For an operator"]
    assert {metric[1] for metric in widget["metrics"]} == raised()


def test_a_metric_is_counted_where_its_alarm_looks(
    resources: Json, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    environment = resources["Reconciler"]["Properties"]["Environment"]["Variables"]
    for name in ("POWERTOOLS_SERVICE_NAME", "POWERTOOLS_METRICS_NAMESPACE"):
        monkeypatch.setenv(name, environment[name])
    alarm("RefundDue", "a test")
    emitted = json.loads(capsys.readouterr().out.splitlines()[-1])
    (metrics,) = emitted["_aws"]["CloudWatchMetrics"]
    looked_at = custom_alarms(resources)["RefundDue"]
    dimensions = {d["Name"]: d["Value"] for d in looked_at["Dimensions"]}
    assert metrics["Namespace"] == looked_at["Namespace"]
    assert {name: emitted[name] for (name,) in metrics["Dimensions"]} == dimensions


def test_every_alarm_tells_the_topic_and_says_what_happened(resources: Json) -> None:
    alarms = {name: r for name, r in resources.items() if r["Type"] == "AWS::CloudWatch::Alarm"}
    for name, resource in alarms.items():
        assert resource["Condition"] == "HasAlarmTopic", name
        assert resource["Properties"]["AlarmActions"] == [{"Ref": "AlarmTopicArn"}], name
        assert resource["Properties"]["AlarmDescription"], name
    assert {"ReconcilerSilentAlarm", "UnheardResultsAlarm", "ChangesLostAlarm", "PublishChangesLateAlarm"} <= set(
        alarms
    )
