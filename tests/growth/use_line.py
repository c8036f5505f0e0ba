"""Takes one request through validation, table, bus and console views of the product on PYTHONPATH; prints each as JSON.

Run by tests in a process of its own: python -m tests.growth.use_line '{"firstName": …}'
"""

import json
import sys

import boto3
from moto import mock_aws

from line_requests.bus.events import state_changed
from line_requests.domain.bodies import allowance_body
from line_requests.domain.form import InvalidForm, read_submission
from line_requests.domain.prices import Allowance
from line_requests.operator import views
from tests.support.engine import table_definition
from tests.support.world import World


def main() -> None:
    try:
        submission = read_submission(json.loads(sys.argv[1]))
    except InvalidForm as invalid:
        print(json.dumps({"error": invalid.faults[0]}))
        return
    with mock_aws():
        client = boto3.client("dynamodb")
        client.create_table(TableName="lines", **table_definition())
        world = World(client, "lines")
        world.workspace("acme", "active", **{str(submission.kind): Allowance(2)})
        line = world.line(world.added(submission=submission))
        used = {
            "kind": str(submission.kind),
            "stored": world.raw(line)["submission"],
            "held": dict(world.raw(world.now())["held"]),
            "published": state_changed(line),
            "shown": views.line_view(line),
            "allowance": allowance_body(world.now(), 0),
            "capacity": views.workspace_view(world.now(), [])["capacity"],
        }
    print(json.dumps(used, default=str))


if __name__ == "__main__":
    main()
