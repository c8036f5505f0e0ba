import json
import re
import shlex
from pathlib import Path

from line_requests.clock import wall_time_ms
from line_requests.domain.ids import iso_utc
from line_requests.settings import HOUR_MS
from tests.shape.cloudformation import Json, decided, of_type

ROOT = Path(__file__).parents[2]


def test_table_outlives_the_stack_and_can_be_restored(resources: Json) -> None:
    table = resources["Table"]
    assert (table["DeletionPolicy"], table["UpdateReplacePolicy"]) == ("Retain", "Retain")
    properties = table["Properties"]
    assert properties["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    assert properties["SSESpecification"] == {"SSEEnabled": True}
    assert properties["StreamSpecification"] == {"StreamViewType": "NEW_AND_OLD_IMAGES"}


def test_table_is_protected_from_deletion_by_parameter(template: Json) -> None:
    protection = template["Resources"]["Table"]["Properties"]["DeletionProtectionEnabled"]
    assert protection == {"Ref": "DeletionProtection"}
    assert template["Parameters"]["DeletionProtection"]["Default"] == "true"


def test_named_table_is_adopted_instead_of_created(template: Json) -> None:
    resources = template["Resources"]
    assert template["Conditions"]["CreatesTable"] == {"Fn::Equals": [{"Ref": "TableName"}, ""]}
    assert resources["Table"]["Condition"] == "CreatesTable"
    adopted = decided({"resources": resources, "outputs": template["Outputs"]}, CreatesTable=False)
    del adopted["resources"]["Table"]
    text = str(adopted)
    assert "{'Ref': 'Table'}" not in text
    assert "['Table', " not in text
    for properties in of_type(adopted["resources"], "AWS::Lambda::Function").values():
        assert properties["Environment"]["Variables"]["TABLE_NAME"] == {"Ref": "TableName"}
    assert adopted["outputs"]["TableName"]["Value"] == {"Ref": "TableName"}


def test_adopted_table_needs_its_stream(template: Json) -> None:
    assertions = str(template["Rules"]["AdoptedTable"]["Assertions"])
    assert "TableName" in assertions
    assert "TableStreamArn" in assertions
    assert "LatestStreamArn" in template["Parameters"]["TableStreamArn"]["Description"]


def test_command_that_adds_the_operators_index_to_an_adopted_table_adds_the_template_s(resources: Json) -> None:
    (command,) = re.findall(r"aws dynamodb update-table .*IndexName.*", (ROOT / "docs/recover.md").read_text())
    words = shlex.split(command)
    (update,) = json.loads(words[words.index("--global-secondary-index-updates") + 1])
    properties = resources["Table"]["Properties"]
    assert update["Create"] in properties["GlobalSecondaryIndexes"]
    given = [dict(pair.split("=") for pair in word.split(",")) for word in words if word.startswith("AttributeName=")]
    keys = {key["AttributeName"] for key in update["Create"]["KeySchema"]}
    assert given == [one for one in properties["AttributeDefinitions"] if one["AttributeName"] in keys]


def test_commands_that_restore_a_table_wait_after_each_change_for_the_next() -> None:
    """DynamoDB refuses to update a table that is being updated: ResourceInUseException."""
    (block,) = re.findall(
        r"```sh\n(aws dynamodb restore-table.*?)```", (ROOT / "docs/recover.md").read_text(), re.DOTALL
    )
    changing = False
    for command in block.splitlines():
        operation = command.split()[2]
        assert not (changing and operation.startswith("update")), command
        changing = operation.startswith(("restore", "update-table")) or (changing and operation != "wait")
        if operation == "wait":
            assert command == "aws dynamodb wait table-exists --table-name NEW"


def test_dead_letters_outlive_the_stack_and_are_private(resources: Json) -> None:
    bucket = resources["StateChangeDeadLetters"]
    assert (bucket["DeletionPolicy"], bucket["UpdateReplacePolicy"]) == ("Retain", "Retain")
    assert set(bucket["Properties"]["PublicAccessBlockConfiguration"].values()) == {True}
    (rule,) = bucket["Properties"]["LifecycleConfiguration"]["Rules"]
    assert rule["ExpirationInDays"] == 90


def test_operator_is_told_what_no_payment_window_means(template: Json) -> None:
    window = template["Parameters"]["PaymentWindowHours"]
    assert window["Default"] == 0
    assert iso_utc(wall_time_ms() + int(window["MaxValue"]) * HOUR_MS), "expiresAt has to be a date"
    assert "72 is recommended" in window["Description"]
    assert "With 0 it is never canceled" in window["Description"]
    assert "blocks every new request" in window["Description"]
    page = " ".join((ROOT / "docs/deploy.md").read_text().split())
    note = page.partition("**`PaymentWindowHours`.**")[2].partition("```")[0]
    assert "until it is paid or canceled every new request of that workspace is answered 409" in note
    assert "With 0 an unpaid request waits without limit, so an abandoned payment locks its workspace" in note
    assert "Set 72 unless your clients rely on `expiresAt: null`" in note
