"""Plain `sam build && sam deploy` publishes what has changed: SAM decides it by the logical id of a version."""

import tomllib
from pathlib import Path

import pytest

from tests.shape.cloudformation import Json, Translate, of_type

ROOT = Path(__file__).parents[2]
SNAPSTARTED = {"CreateLineRequest", "GetLineRequest", "ManageLineRequest"}
CLIENT_FACING = {*SNAPSTARTED, "StripeWebhook"}


def versions(template: Json) -> set[str]:
    found = set(of_type(template["Resources"], "AWS::Lambda::Version"))
    assert len(found) == len(CLIENT_FACING)
    return found


def test_client_facing_functions_run_from_a_published_version(resources: Json) -> None:
    aliases = of_type(resources, "AWS::Lambda::Alias")
    assert {alias["FunctionName"]["Ref"] for alias in aliases.values()} == CLIENT_FACING
    assert {alias["Name"] for alias in aliases.values()} == {"live"}


def test_create_get_and_manage_start_from_a_snapshot(resources: Json) -> None:
    functions = of_type(resources, "AWS::Lambda::Function")
    started = {name for name, properties in functions.items() if "SnapStart" in properties}
    assert started == SNAPSTARTED
    assert all(functions[name]["SnapStart"] == {"ApplyOn": "PublishedVersions"} for name in started)


def test_unchanged_template_publishes_nothing(template_text: str, translate: Translate) -> None:
    assert versions(translate(template_text)) == versions(translate(template_text + "\n# the same\n"))


def test_changed_layer_publishes_every_version(template_text: str, translate: Translate) -> None:
    """`sam package` names an upload by its content: a changed layer is another ContentUri."""
    changed = template_text.replace("ContentUri: layers/", "ContentUri: changed-layers/")
    before, after = translate(template_text), translate(changed)
    assert not versions(before) & versions(after)
    for function in CLIENT_FACING:
        layers = [template["Resources"][function]["Properties"]["Layers"] for template in (before, after)]
        assert layers[0] != layers[1]  # else Lambda would refuse a second version of the same


@pytest.mark.parametrize("function", sorted(CLIENT_FACING))
def test_changed_code_publishes_its_version(template_text: str, translate: Translate, function: str) -> None:
    folder = "".join(f"_{c.lower()}" if c.isupper() else c for c in function).lstrip("_")
    changed = template_text.replace(f"functions/{folder}/", f"functions/{folder}-changed/")
    gone = versions(translate(template_text)) - versions(translate(changed))
    assert [name.startswith(f"{function}Version") for name in gone] == [True]


def read_by_functions(template: Json) -> set[str]:
    """The parameters whose values are in a function's environment or configuration."""
    variables = template["Resources"]["CreateLineRequest"]["Properties"]["Environment"]["Variables"]
    refs = {value["Ref"] for value in variables.values() if isinstance(value, dict) and "Ref" in value}
    return refs & set(template["Parameters"]) | {"TableName", "Tracing"}


def test_parameter_that_functions_read_publishes_every_version(template_text: str, translate: Translate) -> None:
    before = translate(template_text)
    assert len(read_by_functions(before)) >= 10
    for name in read_by_functions(before):
        value = "Active" if name == "Tracing" else "7"
        assert not versions(before) & versions(translate(template_text, **{name: value})), name


def test_other_parameters_publish_nothing(template_text: str, translate: Translate) -> None:
    before = versions(translate(template_text))
    assert before == versions(translate(template_text, LogRetentionDays="7", AlarmTopicArn="arn:aws:sns:a:1:b"))


def test_version_that_no_alias_points_to_is_deleted_with_its_snapshot(resources: Json) -> None:
    for version in (resource for resource in resources.values() if resource["Type"] == "AWS::Lambda::Version"):
        assert version["DeletionPolicy"] == "Delete"
    (layer,) = (resource for resource in resources.values() if resource["Type"] == "AWS::Lambda::LayerVersion")
    assert layer["DeletionPolicy"] == "Retain"


def test_all_at_once_needs_no_codedeploy(resources: Json) -> None:
    assert not of_type(resources, "AWS::CodeDeploy::DeploymentGroup")


@pytest.mark.parametrize("kind", ["Canary10Percent5Minutes", "Linear10PercentEvery1Minute"])
def test_gradual_deployment_rolls_every_client_facing_function_back_on_the_apis_alarms(
    template_text: str, translate: Translate, kind: str
) -> None:
    resources = translate(template_text, DeploymentType=kind)["Resources"]
    groups = of_type(resources, "AWS::CodeDeploy::DeploymentGroup")
    assert set(groups) == {f"{function}DeploymentGroup" for function in CLIENT_FACING}
    for function in CLIENT_FACING:
        group = groups[f"{function}DeploymentGroup"]
        assert group["DeploymentConfigName"]["Fn::Sub"][1] == {"ConfigName": kind}
        assert "DEPLOYMENT_STOP_ON_ALARM" in group["AutoRollbackConfiguration"]["Events"]
        watched = {alarm["Name"]["Ref"] for alarm in group["AlarmConfiguration"]["Alarms"]}
        assert "ApiErrorsAlarm" in watched
        assert ("CreateLatencyAlarm" in watched) == (function == "CreateLineRequest")
        alias = resources[f"{function}Aliaslive"]
        assert alias["UpdatePolicy"]["CodeDeployLambdaAliasUpdate"]["DeploymentGroupName"] == {
            "Ref": f"{function}DeploymentGroup"
        }


@pytest.mark.parametrize(("value", "policies"), [("Disabled", 0), ("Active", 1)])
def test_tracing_is_a_parameter_and_needs_no_sdk(
    template_text: str, translate: Translate, value: str, policies: int
) -> None:
    resources = translate(template_text, Tracing=value)["Resources"]
    for function in of_type(resources, "AWS::Lambda::Function"):
        assert ("TracingConfig" in resources[function]["Properties"]) == bool(policies)
        arns = str(resources[f"{function}Role"]["Properties"]["ManagedPolicyArns"])
        assert arns.count("XRay") + arns.count("Xray") == policies
    layer = (ROOT / "layers/requirements.txt").read_text()
    assert "aws-xray-sdk" not in layer


def test_layer_is_built_for_the_functions_architecture(template_text: str, resources: Json) -> None:
    assert "BuildArchitecture: arm64" in template_text  # else `sam build` warns on every other host
    (layer,) = of_type(resources, "AWS::Lambda::LayerVersion").values()
    assert layer["CompatibleArchitectures"] == ["arm64"]
    functions = of_type(resources, "AWS::Lambda::Function").values()
    assert all(function["Architectures"] == ["arm64"] for function in functions)


def test_sam_may_expand_the_loops() -> None:
    settings = tomllib.loads((ROOT / "samconfig.toml").read_text())["default"]
    assert settings["global"]["parameters"]["language_extensions"] is True
    assert settings["deploy"]["parameters"]["capabilities"].split() == ["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"]
