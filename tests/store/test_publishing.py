"""The stream's function when the bus refuses events."""

from __future__ import annotations

from typing import TYPE_CHECKING

import boto3
import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber

from line_requests.bus.events import Bus
from line_requests.storage.attributes import marshal
from line_requests.storage.lines import REPUBLISH_AFTER_MS
from tests.decision.examples import NOW_MS
from tests.support.lambda_context import Context

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from tests.support.world import World


@pytest.mark.parametrize("raises", [True, False])
def test_included_line_stays_due_when_the_bus_refuses_it(
    world: World, function: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch, *, raises: bool
) -> None:
    """[48] The stream drops a record some day; then only the reconciler publishes it."""
    world.workspace()
    line = world.added(due_at_ms=NOW_MS + REPUBLISH_AFTER_MS)
    record = {"SequenceNumber": "1", "NewImage": marshal(world.raw(line))}
    events = boto3.client("events", region_name="eu-central-1", aws_access_key_id="a", aws_secret_access_key="b")
    publish_changes = function("publish_changes")
    monkeypatch.setattr(publish_changes.DEPLOYMENT, "bus", Bus(events, "lines"))
    with Stubber(events) as eventbridge:
        if raises:
            eventbridge.add_client_error("put_events", "AccessDeniedException")
            with pytest.raises(ClientError):
                publish_changes.handler({"Records": [{"dynamodb": record}]}, Context())
        else:
            refused = {"FailedEntryCount": 1, "Entries": [{"ErrorCode": "ThrottlingException", "ErrorMessage": ""}]}
            eventbridge.add_response("put_events", refused)
            answer = publish_changes.handler({"Records": [{"dynamodb": record}]}, Context())
            assert answer == {"batchItemFailures": [{"itemIdentifier": "1"}]}
    assert world.line(line) == line
