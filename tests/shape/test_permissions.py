import pytest

from tests.shape.cloudformation import Json, decided, of_type, statements

READ = {"dynamodb:BatchGetItem", "dynamodb:GetItem", "dynamodb:Query"}
CHANGE = {"dynamodb:UpdateItem", "dynamodb:DeleteItem"}
SECRET = {"secretsmanager:GetSecretValue"}
PUBLISH = {"events:PutEvents"}
GRANTED = {
    "CreateLineRequest": READ | CHANGE | SECRET | {"dynamodb:PutItem"},
    "GetLineRequest": READ | CHANGE | SECRET,
    "ManageLineRequest": READ | CHANGE | SECRET,
    "StripeWebhook": READ - {"dynamodb:BatchGetItem"} | CHANGE | SECRET,
    "Reconciler": READ | CHANGE | SECRET | PUBLISH,
    "PublishChanges": PUBLISH | {"s3:PutObject", "s3:ListBucket"},
    "ProvisioningResult": {"dynamodb:GetItem", "dynamodb:UpdateItem"},
}
PARTITIONS = {
    "CreateLineRequest": {"W#*", "ORG#*", "PLAN"},
    "GetLineRequest": {"W#*", "ORG#*", "PLAN"},
    "ManageLineRequest": {"W#*", "ORG#*", "PLAN"},
    "StripeWebhook": {"W#*", "CUSTOMER#*", "PLAN"},
    "Reconciler": {"W#*", "CUSTOMER#*", "PLAN", "RECONCILER"},
    "PublishChanges": set[str](),
    "ProvisioningResult": {"W#*"},
}
# Lambda reads a stream or a queue with the function's role; SAM attaches AWS's own policy for that.
SOURCE_POLICY = {
    "PublishChanges": ["AWSLambdaDynamoDBExecutionRole"],
    "ProvisioningResult": ["AWSLambdaSQSQueueExecutionRole"],
}
FUNCTIONS = sorted(GRANTED)
TABLE = {"Fn::GetAtt": ["Table", "Arn"]}


def leading_keys(statement: Json) -> set[str]:
    return set(statement["Condition"]["ForAllValues:StringLike"]["dynamodb:LeadingKeys"])


@pytest.mark.parametrize("function", FUNCTIONS)
def test_function_may_do_only_what_it_does(resources: Json, function: str) -> None:
    assert set[str]().union(*(actions for actions, _ in statements(resources, function))) == GRANTED[function]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_function_reads_and_writes_only_its_partitions(resources: Json, function: str) -> None:
    readable, writable, on_table = set[str](), set[str](), set[str]()
    for actions, statement in statements(resources, function):
        if statement["Resource"] == TABLE:
            on_table |= actions
            readable |= leading_keys(statement) if actions & READ else set()
            writable |= leading_keys(statement) if actions - READ else set()
    assert on_table == {action for action in GRANTED[function] if action.startswith("dynamodb:")}
    assert readable == PARTITIONS[function]
    assert writable <= {"W#*", "RECONCILER"}
    assert ("RECONCILER" in writable) == (function == "Reconciler")


@pytest.mark.parametrize("function", FUNCTIONS)
def test_no_grant_is_a_wild_card(resources: Json, function: str) -> None:
    for actions, statement in statements(resources, function):
        assert not any("*" in action for action in actions)
        assert statement["Resource"] != "*"
    arns = resources[f"{function}Role"]["Properties"]["ManagedPolicyArns"]
    managed = [(arn["Fn::Sub"] if isinstance(arn, dict) else arn).rsplit("/", 1)[1] for arn in arns]
    assert managed == ["AWSLambdaBasicExecutionRole", *SOURCE_POLICY.get(function, [])]


def test_secret_and_bus_grants_name_this_stacks_own(resources: Json) -> None:
    for function in FUNCTIONS:
        for actions, statement in statements(resources, function):
            if actions == SECRET:
                assert statement["Resource"] == {"Fn::Sub": ["${secretArn}", {"secretArn": {"Ref": "StripeSecretArn"}}]}
            if actions == PUBLISH:
                arn, names = statement["Resource"]["Fn::Sub"]
                assert arn.endswith("${AWS::Region}:${AWS::AccountId}:event-bus/${eventBusName}")
                assert names == {"eventBusName": {"Ref": "Bus"}}


def test_only_the_reconciler_reads_the_indexes(resources: Json) -> None:
    indexes = [{"Fn::Sub": [f"${{Table}}/index/{name}", {"Table": TABLE}]} for name in ("due", "operator")]
    granted = [(f, actions, one["Resource"]) for f in FUNCTIONS for actions, one in statements(resources, f)]
    assert [grant for grant in granted if "/index/" in str(grant)] == [("Reconciler", {"dynamodb:Query"}, indexes)]


def test_no_secret_is_in_the_template(template_text: str, resources: Json) -> None:
    for properties in of_type(resources, "AWS::Lambda::Function").values():
        assert properties["Environment"]["Variables"]["STRIPE_SECRET_ARN"] == {"Ref": "StripeSecretArn"}
    assert "{{resolve:" not in template_text


def test_customer_managed_key_of_the_secret_is_usable_for_that_secret_only(resources: Json) -> None:
    assert resources["DecryptStripeSecret"]["Condition"] == "HasSecretKey"
    policy = resources["DecryptStripeSecret"]["Properties"]
    (statement,) = policy["PolicyDocument"]["Statement"]
    assert (statement["Action"], statement["Resource"]) == ("kms:Decrypt", {"Ref": "StripeSecretKmsKeyArn"})
    assert statement["Condition"] == {"StringEquals": {"kms:EncryptionContext:SecretARN": {"Ref": "StripeSecretArn"}}}
    reading = {f for f in FUNCTIONS for actions, _ in statements(resources, f) if actions == SECRET}
    assert {role["Ref"] for role in policy["Roles"]} == {f"{function}Role" for function in reading}


@pytest.mark.parametrize("function", FUNCTIONS)
def test_grants_follow_an_adopted_table(resources: Json, function: str) -> None:
    document = resources[f"{function}Role"]["Properties"].get("Policies", [])
    adopted = str(decided(document, CreatesTable=False))
    assert "'Table', 'Arn'" not in adopted
    assert ("table/${TableName}" in adopted) == (function != "PublishChanges")
