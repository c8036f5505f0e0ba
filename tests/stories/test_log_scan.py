"""The scan of all stories' logs finds what it looks for."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.stories.log_scan import LogScan

if TYPE_CHECKING:
    from tests.stories.world import World


@pytest.mark.parametrize(
    "sent",
    [
        {"headers": {"Authorization": "Bearer tuco_of_a_scan_0123456789abcdef0123456789"}},
        {"headers": {"Idempotency-Key": "key-of-a-scan"}},
        {"json": {"lastName": "Name of a scan"}},
        {"json": {"idempotencyKey": "body key of a scan"}},
    ],
    ids=["token", "key", "name", "body key"],
)
def test_log_scan_finds_what_a_client_sent_in_any_log_group(world: World, sent: dict[str, Any]) -> None:
    """[5]"""
    scan = LogScan(world.stack)
    scan.request(httpx.Request("POST", "http://127.0.0.1/", **sent))
    [[given]] = (part.values() for part in sent.values())
    value = given.removeprefix("Bearer ")
    group = world.cloudwatch.describe_log_groups()["logGroups"][-1]["logGroupName"]
    world.cloudwatch.create_log_stream(logGroupName=group, logStreamName=f"scan-{time.time_ns()}-{value[:3]}")
    [stream, *_] = world.cloudwatch.describe_log_streams(logGroupName=group, logStreamNamePrefix="scan-")["logStreams"]
    event = {"timestamp": int(time.time() * 1000), "message": f"received {value}"}
    world.cloudwatch.put_log_events(logGroupName=group, logStreamName=stream["logStreamName"], logEvents=[event])
    assert list(scan.leaks().values()) == [event["message"]]
