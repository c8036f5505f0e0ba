"""What a deployment costs at list prices: an idle month, and a million requests. Computed from template.yaml.

`python -m benchmark.bill` prints the idle month; `make bench` adds what it measured.
"""

import json
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from line_requests.secret import MAX_AGE_S
from line_requests.storage.records import DUE_SHARDS

ROOT = Path(__file__).parents[1]
Json = dict[str, Any]
Dollars = dict[str, float]
Measured = tuple[float, float, float]  # seconds of the function, read units, write units

# us-east-1, US dollars; the first price tier, without free tiers, taxes, data transfer and what Stripe takes. Of AWS's
# price lists, by their names below, as published copies of October 2025 to September 2026 quote them:
# https://pricing.us-east-1.amazonaws.com/offers/v1.0/aws/<name>/current/us-east-1/index.json
API_PER_MILLION = 1.00  # AmazonApiGateway: HTTP API
LAMBDA_PER_MILLION = 0.20  # AWSLambda: K7BX6567RJ67A2KE, arm64
LAMBDA_PER_GB_S = 0.0000133334  # AWSLambda: 72SBSFWPMDTH8S3J, arm64
SNAPSHOT_CACHE_PER_GB_S = 0.0000015046  # AWSLambda: WRKYMVM4XSRFFQ7B, of each published version's memory
SNAPSHOT_RESTORE_PER_GB = 0.0001397998  # AWSLambda: W3GTWG4PTZMXZ4F2
WRITES_PER_MILLION = 0.625  # AmazonDynamoDB; Lambda reads streams for nothing
READS_PER_MILLION = 0.125
QUEUE_PER_MILLION = 0.40  # AWSQueueService: standard queues
KEYS_PER_MILLION = 3.00  # awskms: 0.03 for 10,000; AWS's own key of the table
ALARM_METRIC_MONTH = 0.10  # AmazonCloudWatch; an alarm pays for each metric that it reads
COMPOSITE_ALARM_MONTH = 0.50
LOGS_PER_GB = 0.50
TRACES_PER_MILLION = 5.00  # AWSXRay
SECRET_MONTH = 0.40  # AWSSecretsManager
# From the pricing pages alone.
SECRET_READS_PER_MILLION = 5.00  # https://aws.amazon.com/secrets-manager/pricing/
EVENTS_PER_MILLION = 1.00  # https://aws.amazon.com/eventbridge/pricing/ ; schedules on the default bus are free
DASHBOARD_MONTH = 3.00  # https://aws.amazon.com/cloudwatch/pricing/ ; the first three of an account cost nothing

HOUR_S = 3600
MONTH_S = 730 * HOUR_S
SCHEDULE_UNIT_S = {"minute": 60, "hour": HOUR_S, "day": 24 * HOUR_S}

# One run with nothing to do: a call of Stripe's, a query for each shard and three for what is late, the feed's
# watermark read and moved.
IDLE_RUN_S = 0.25
IDLE_RUN_READS, IDLE_RUN_WRITES = (DUE_SHARDS + 3) * 0.5 + 1, 1
# Lambda's own lines for each invocation with the function's; the API's for each request.
INVOCATION_LOG_BYTES, ACCESS_LOG_BYTES = 1_000, 400
# Lambda polls a queue with five pollers, 20 s each: https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-scaling.html
QUEUE_POLLS_PER_S = 5 / 20
# DynamoDB asks for the table's key every five minutes and caller:
# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/encryption.howitworks.html
KEY_CACHED_S = 300
# Of a steady load, this share of requests starts a new environment.
RESTORED_SHARE = 0.01
# What follows each line: its events (provisioning, result, active), two batches of the stream, one result.
EVENTS, STREAM_BATCHES, STREAM_BATCH_S, RESULT_S = 3, 2, 0.02, 0.06
RESULT_QUEUE_CALLS = 3  # send, receive, delete
RESULT_READS, RESULT_WRITES = 1, 3  # the line; its update in a transaction, and its entry in the index


def translated() -> Json:
    """What CloudFormation is told: the template after its transforms."""
    command = [str(ROOT / ".venv-ministack/bin/python"), str(ROOT / "tests/shape/translate.py")]
    done = subprocess.run(command, input=(ROOT / "template.yaml").read_bytes(), capture_output=True, check=True)
    template: Json = json.loads(done.stdout)
    return template


def idle_month(template: Json) -> Dollars:
    """What each part costs in a month without a request; a table without items costs nothing."""
    runs = MONTH_S / _schedule_s(template)
    return {
        "alarms": _alarms(template),
        "dashboard": len(_of_type(template, "CloudWatch::Dashboard")) * DASHBOARD_MONTH,
        "snapshots": _snapshots_gb(template) * MONTH_S * SNAPSHOT_CACHE_PER_GB_S,
        "reconciler": _invocations(runs, IDLE_RUN_S, _memory_gb(template, "Reconciler")),
        "reconciler's table units": _units(runs, IDLE_RUN_READS, IDLE_RUN_WRITES),
        "table's key": MONTH_S / KEY_CACHED_S * KEYS_PER_MILLION / 1e6,
        "logs": runs * INVOCATION_LOG_BYTES * LOGS_PER_GB / 1e9,
        "queue": _polled_queues(template) * MONTH_S * QUEUE_POLLS_PER_S * QUEUE_PER_MILLION / 1e6,
        "secret": SECRET_MONTH + MONTH_S / MAX_AGE_S * SECRET_READS_PER_MILLION / 1e6,
    }


def idle(template: Json) -> Dollars:
    """The idle month as it is, and as it would be without SnapStart."""
    parts = idle_month(template)
    whole = sum(parts.values())
    return {"with_snapshots": whole, "without_snapshots": whole - parts["snapshots"]}


def dollars_per_million(seconds: float, read_units: float, write_units: float, memory_gb: float = 1.0) -> float:
    """Of requests alone: API Gateway, Lambda for as long as the answer took, and DynamoDB's units."""
    return API_PER_MILLION + _invocations(1e6, seconds, memory_gb) + _units(1e6, read_units, write_units)


def per_million(template: Json, measured: Mapping[str, Measured]) -> dict[str, Dollars]:
    """What each part of a million requests costs, by request: of the lines that are created, all that follows, too."""
    functions = {"create_included": "CreateLineRequest", "replay": "CreateLineRequest", "get": "GetLineRequest"}
    bills = {name: _requests(template, function, measured[name]) for name, function in functions.items()}
    # A replay counts against the rate limit: one write, which the stream shows to its function.
    bills["replay"]["stream"] = _stream(template)
    bills["create_included"] |= _afterwards(template)
    return bills


def _requests(template: Json, function: str, measured: Measured) -> Dollars:
    """A steady load: some requests start an environment; traces only if they are on."""
    memory_gb = _memory_gb(template, function)
    traced = template["Parameters"]["Tracing"]["Default"] == "Active"
    return {
        "requests": dollars_per_million(*measured, memory_gb),
        "logs": 1e6 * (INVOCATION_LOG_BYTES + ACCESS_LOG_BYTES) * LOGS_PER_GB / 1e9,
        "restores": 1e6 * RESTORED_SHARE * memory_gb * SNAPSHOT_RESTORE_PER_GB,
        "traces": TRACES_PER_MILLION * traced,
    }


def _stream(template: Json) -> float:
    """One batch of the stream for each request, which is less when many come at once."""
    logs = 1e6 * INVOCATION_LOG_BYTES * LOGS_PER_GB / 1e9
    return _invocations(1e6, STREAM_BATCH_S, _memory_gb(template, "PublishChanges")) + logs


def _afterwards(template: Json) -> Dollars:
    """What follows a line: stream, bus, queue and the provisioner's result; not the provisioner itself."""
    memory_gb = _memory_gb(template, "ProvisioningResult")
    logs = 1e6 * INVOCATION_LOG_BYTES * LOGS_PER_GB / 1e9
    return {
        "stream": STREAM_BATCHES * _stream(template),
        "bus": EVENTS * EVENTS_PER_MILLION,
        "queue": RESULT_QUEUE_CALLS * QUEUE_PER_MILLION,
        "results": _invocations(1e6, RESULT_S, memory_gb) + _units(1e6, RESULT_READS, RESULT_WRITES) + logs,
    }


def _memory_gb(template: Json, function: str) -> float:
    megabytes: int = template["Resources"][function]["Properties"]["MemorySize"]
    return megabytes / 1024


def _of_type(template: Json, kind: str) -> dict[str, Json]:
    resources = template["Resources"].items()
    return {name: resource["Properties"] for name, resource in resources if resource["Type"] == f"AWS::{kind}"}


def _alarms(template: Json) -> float:
    """By metric: one that computes reads several."""
    alarms = _of_type(template, "CloudWatch::Alarm").values()
    metrics = sum(sum("MetricStat" in metric for metric in alarm.get("Metrics", [])) or 1 for alarm in alarms)
    composites = len(_of_type(template, "CloudWatch::CompositeAlarm"))
    return metrics * ALARM_METRIC_MONTH + composites * COMPOSITE_ALARM_MONTH


def _snapshots_gb(template: Json) -> float:
    """Of one published version each."""
    functions = _of_type(template, "Lambda::Function").values()
    return float(sum(of["MemorySize"] for of in functions if "SnapStart" in of)) / 1024


def _schedule_s(template: Json) -> float:
    [rule] = [rule for rule in _of_type(template, "Events::Rule").values() if "ScheduleExpression" in rule]
    expression = template["Parameters"][rule["ScheduleExpression"]["Ref"]]["Default"]
    match = re.fullmatch(r"rate\((\d+) (minute|hour|day)s?\)", expression)
    assert match is not None, expression
    return int(match[1]) * SCHEDULE_UNIT_S[match[2]]


def _polled_queues(template: Json) -> int:
    queues = _of_type(template, "SQS::Queue")
    mappings = _of_type(template, "Lambda::EventSourceMapping").values()
    return sum(mapping["EventSourceArn"].get("Fn::GetAtt", [""])[0] in queues for mapping in mappings)


def _invocations(number: float, seconds: float, memory_gb: float) -> float:
    return number * (LAMBDA_PER_MILLION / 1e6 + seconds * memory_gb * LAMBDA_PER_GB_S)


def _units(number: float, reads: float, writes: float) -> float:
    return number * (reads * READS_PER_MILLION + writes * WRITES_PER_MILLION) / 1e6


def main() -> None:
    """Prints the idle month."""
    template = translated()
    for name, dollars in idle_month(template).items():
        print(f"{name:26} {dollars:6.2f}")
    for name, dollars in idle(template).items():
        print(f"{name.replace('_', ' '):26} {dollars:6.2f}")


if __name__ == "__main__":
    main()
