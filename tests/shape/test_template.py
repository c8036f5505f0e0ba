import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

Json = Any
ROOT = Path(__file__).parents[2]

READ = {"dynamodb:BatchGetItem", "dynamodb:GetItem", "dynamodb:Query"}
MOVE = {"dynamodb:UpdateItem", "dynamodb:DeleteItem"}
SECRET = {"secretsmanager:GetSecretValue"}
TELL = {"events:PutEvents"}
GRANTED = {
    "CreateLineRequest": READ | MOVE | SECRET | {"dynamodb:PutItem"},
    "GetLineRequest": READ | MOVE | SECRET,
    "ManageLineRequest": READ | MOVE | SECRET,
    "StripeWebhook": READ - {"dynamodb:BatchGetItem"} | MOVE | SECRET,
    "Reconciler": READ | MOVE | SECRET | TELL,
    "PublishChanges": TELL | {"dynamodb:UpdateItem", "s3:PutObject", "s3:ListBucket"},
    "ProvisioningResult": {"dynamodb:GetItem", "dynamodb:UpdateItem", "sqs:SendMessage"},
}
READABLE = {
    "CreateLineRequest": {"W#*", "ORG#*", "PLAN"},
    "GetLineRequest": {"W#*", "ORG#*", "PLAN"},
    "ManageLineRequest": {"W#*", "ORG#*", "PLAN"},
    "StripeWebhook": {"W#*", "CUSTOMER#*", "PLAN"},
    "Reconciler": {"W#*", "CUSTOMER#*", "PLAN", "RECONCILER"},
    "PublishChanges": set[str](),
    "ProvisioningResult": {"W#*"},
}
FUNCTIONS = sorted(GRANTED)
SNAPSTARTED = {"CreateLineRequest", "GetLineRequest"}
BEHIND_API = {"CreateLineRequest", "GetLineRequest", "ManageLineRequest", "StripeWebhook"}


def of_type(resources: Json, kind: str) -> dict[str, Json]:
    return {name: resource["Properties"] for name, resource in resources.items() if resource["Type"] == kind}


def statements(resources: Json, function: str) -> Iterator[tuple[set[str], Json]]:
    for policy in resources[f"{function}Role"]["Properties"].get("Policies", []):
        document = policy["PolicyDocument"]["Statement"]
        for statement in document if isinstance(document, list) else [document]:
            actions = statement["Action"]
            yield {actions} if isinstance(actions, str) else set(actions), statement


def leading_keys(statement: Json) -> set[str]:
    return set(statement["Condition"]["ForAllValues:StringLike"]["dynamodb:LeadingKeys"])


def test_the_functions_are_those_in_the_folder_and_each_has_an_event(resources: Json) -> None:
    assert sorted(of_type(resources, "AWS::Lambda::Function")) == FUNCTIONS
    folders = {path.parent.name for path in ROOT.glob("functions/*/app.py")}
    names = {"".join(word.title() for word in folder.split("_")) for folder in folders}
    assert names == set(FUNCTIONS)
    assert {path.stem for path in ROOT.glob("events/*.json")} == folders


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_logs_json_to_a_group_of_its_own_that_forgets(resources: Json, function: str) -> None:
    logging = resources[function]["Properties"]["LoggingConfig"]
    assert logging == {"LogFormat": "JSON", "LogGroup": {"Ref": f"{function}Logs"}}
    assert resources[f"{function}Logs"]["Properties"] == {"RetentionInDays": {"Ref": "LogRetentionDays"}}


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_may_do_just_this(resources: Json, function: str) -> None:
    assert set[str]().union(*(actions for actions, _ in statements(resources, function))) == GRANTED[function]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_reads_and_writes_just_these_partitions(resources: Json, function: str) -> None:
    readable, writable = set[str](), set[str]()
    for actions, statement in statements(resources, function):
        if statement["Resource"] == {"Fn::GetAtt": ["Table", "Arn"]}:
            if actions <= READ:
                readable |= leading_keys(statement)
            else:
                writable |= leading_keys(statement)
    assert readable == READABLE[function]
    assert writable <= {"W#*", "RECONCILER"}
    assert ("RECONCILER" in writable) == (function == "Reconciler")


@pytest.mark.parametrize("function", FUNCTIONS)
def test_no_grant_is_a_wild_card(resources: Json, function: str) -> None:
    for actions, statement in statements(resources, function):
        assert not any("*" in action for action in actions)
        assert statement["Resource"] != "*"
    managed = [arn["Fn::Sub"] if isinstance(arn, dict) else arn for arn in managed_policies(resources, function)]
    stream = ["AWSLambdaDynamoDBExecutionRole"] if function == "PublishChanges" else []
    assert [arn.rsplit("/", 1)[1] for arn in managed] == ["AWSLambdaBasicExecutionRole", *stream]


def managed_policies(resources: Json, function: str) -> list[Json]:
    policies: list[Json] = resources[f"{function}Role"]["Properties"]["ManagedPolicyArns"]
    return policies


def test_only_the_reconciler_may_ask_the_index(resources: Json) -> None:
    index = {"Fn::Sub": "${Table.Arn}/index/due"}
    asking = {f for f in FUNCTIONS for _, statement in statements(resources, f) if statement["Resource"] == index}
    assert asking == {"Reconciler"}


def test_no_secret_is_in_the_template(template_text: str, resources: Json) -> None:
    for properties in of_type(resources, "AWS::Lambda::Function").values():
        assert properties["Environment"]["Variables"]["STRIPE_SECRET_ARN"] == {"Ref": "StripeSecretArn"}
    assert "{{resolve:" not in template_text
    for function in FUNCTIONS:
        for actions, statement in statements(resources, function):
            assert not actions & SECRET or statement["Resource"] == {"Ref": "StripeSecretArn"}


def test_create_and_get_start_from_a_snapshot_of_a_published_version(resources: Json) -> None:
    functions = of_type(resources, "AWS::Lambda::Function")
    assert {name for name, properties in functions.items() if "SnapStart" in properties} == SNAPSTARTED
    for name in SNAPSTARTED:
        assert functions[name]["SnapStart"] == {"ApplyOn": "PublishedVersions"}
        assert resources[f"{name}Aliaslive"]["Properties"]["FunctionName"] == {"Ref": name}


def test_every_build_publishes_versions_whatever_has_changed(
    template_text: str, translate: Callable[[str], Json]
) -> None:
    before, after = (built(template_text, translate) for _ in range(2))
    versions = [set(of_type(resources, "AWS::Lambda::Version")) for resources in (before, after)]
    assert [len(ids) for ids in versions] == [len(SNAPSTARTED)] * 2
    assert not versions[0] & versions[1]
    for function in SNAPSTARTED:
        # Lambda publishes nothing for a function that is as it was.
        assert before[function]["Properties"]["Description"] != after[function]["Properties"]["Description"]


def built(template_text: str, translate: Callable[[str], Json]) -> Json:
    """The resources that `make build` leads to."""
    command = ["make", "-s", "--no-print-directory", "-C", str(ROOT), "version-sha256"]
    sha256 = subprocess.run(command, capture_output=True, check=True, text=True).stdout.strip()
    assert len(sha256) == 64
    return translate(template_text.replace("setByMakeBuild", sha256))["Resources"]


def test_a_snapshot_that_nobody_starts_from_is_not_kept(resources: Json) -> None:
    for version in (resource for resource in resources.values() if resource["Type"] == "AWS::Lambda::Version"):
        assert version["DeletionPolicy"] == "Delete"


def test_the_stream_loses_nothing(resources: Json) -> None:
    mapping = resources["PublishChangesChanges"]["Properties"]
    pattern = json.loads(mapping["FilterCriteria"]["Filters"][0]["Pattern"])
    assert pattern == {"dynamodb": {"Keys": {"sk": {"S": [{"prefix": "LINE#"}]}}}}
    assert mapping["EventSourceArn"] == {"Fn::GetAtt": ["Table", "StreamArn"]}
    assert mapping["StartingPosition"] == "TRIM_HORIZON"
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert mapping["BisectBatchOnFunctionError"] is True
    assert mapping["MaximumRecordAgeInSeconds"] < 24 * 3600
    assert mapping["DestinationConfig"]["OnFailure"]["Destination"] == {"Fn::GetAtt": ["UnpublishedChanges", "Arn"]}


def test_the_table_outlives_the_stack_and_can_be_restored(resources: Json) -> None:
    table = resources["Table"]
    assert (table["DeletionPolicy"], table["UpdateReplacePolicy"]) == ("Retain", "Retain")
    assert table["Properties"]["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    assert table["Properties"]["SSESpecification"] == {"SSEEnabled": True}
    assert table["Properties"]["StreamSpecification"] == {"StreamViewType": "NEW_AND_OLD_IMAGES"}


def test_a_provisioners_answer_that_cannot_be_applied_is_kept(resources: Json) -> None:
    queue = {"Fn::GetAtt": ["UnheardResults", "Arn"]}
    (target,) = resources["ProvisioningResultAnswered"]["Properties"]["Targets"]
    assert target["DeadLetterConfig"] == {"Arn": queue}
    invocation = resources["ProvisioningResultEventInvokeConfig"]["Properties"]
    assert invocation["DestinationConfig"]["OnFailure"]["Destination"] == queue


def test_the_api_has_these_routes_and_answers_before_the_gateway_gives_up(resources: Json) -> None:
    paths = resources["Api"]["Properties"]["Body"]["paths"]
    assert {path: set(methods) for path, methods in paths.items()} == {
        "/api/line-requests": {"post", "get"},
        "/api/line-requests/{id}": {"get", "post"},
        "/stripe/webhook": {"post"},
    }
    for function in BEHIND_API:
        assert resources[function]["Properties"]["Timeout"] < 30


def test_browsers_see_the_headers_of_the_contract_where_they_are_allowed(resources: Json) -> None:
    condition, cors, otherwise = resources["Api"]["Properties"]["Body"]["x-amazon-apigateway-cors"]["Fn::If"]
    assert condition == "AllowsBrowsers"
    assert cors["exposeHeaders"] == ["Retry-After", "Idempotency-Replayed", "Idempotency-Mismatch"]
    assert cors["allowOrigins"] == {"Fn::Split": [",", "https://one.example,https://two.example"]}
    assert otherwise == {"Ref": "AWS::NoValue"}


def test_the_access_log_names_nobody(resources: Json) -> None:
    (stage,) = of_type(resources, "AWS::ApiGatewayV2::Stage").values()
    logged = set(json.loads(stage["AccessLogSettings"]["Format"]).values())
    assert logged <= {
        "$context.requestId",
        "$context.requestTimeEpoch",
        "$context.routeKey",
        "$context.status",
        "$context.responseLatency",
        "$context.integrationLatency",
        "$context.integrationErrorMessage",
    }
