import re
from pathlib import Path

import pytest

from line_requests.clock import CALLS_GRACE_S
from line_requests.settings import Settings
from line_requests.storage.calls import CLIENT_CONFIG
from tests.shape.cloudformation import Json, of_type

ROOT = Path(__file__).parents[2]
FOLDERS = sorted(path.parent.name for path in ROOT.glob("functions/*/app.py"))


def logical_id(folder: str) -> str:
    return "".join(word.title() for word in folder.split("_"))


def budget_s(folder: str) -> float:
    """What the handler gives itself; 0: it has what Lambda gives it."""
    code = (ROOT / "functions" / folder / "app.py").read_text()
    if module := re.search(r"^@limit_calls\((\w+)\.BUDGET_S\)$", code, re.MULTILINE):
        code = (ROOT / f"layers/line_requests/api/{module[1]}.py").read_text()
    return float(match[1]) if (match := re.search(r"^BUDGET_S = ([\d.]+)$", code, re.MULTILINE)) else 0


def test_functions_are_those_in_the_folder_and_each_has_an_event(resources: Json) -> None:
    assert sorted(of_type(resources, "AWS::Lambda::Function")) == sorted(map(logical_id, FOLDERS))
    assert sorted(path.stem for path in ROOT.glob("events/*.json")) == FOLDERS


@pytest.mark.parametrize("folder", FOLDERS)
def test_function_logs_json_to_a_group_of_its_own_that_forgets(resources: Json, folder: str) -> None:
    function = logical_id(folder)
    logging = resources[function]["Properties"]["LoggingConfig"]
    assert logging == {"LogFormat": "JSON", "LogGroup": {"Ref": f"{function}Logs"}}
    assert resources[f"{function}Logs"]["Properties"] == {"RetentionInDays": {"Ref": "LogRetentionDays"}}


@pytest.mark.parametrize("folder", [folder for folder in FOLDERS if budget_s(folder)])
def test_function_lives_until_the_last_call_of_its_budget_has_ended(resources: Json, folder: str) -> None:
    """[34] A pause of botocore's before a second retry takes at most two seconds."""
    slowest_call_s = int(CLIENT_CONFIG.connect_timeout) + int(CLIENT_CONFIG.read_timeout) + 2  # type: ignore[attr-defined] # not in the stubs
    lives_s = resources[logical_id(folder)]["Properties"]["Timeout"]
    assert lives_s >= budget_s(folder) + CALLS_GRACE_S + slowest_call_s


def test_look_alike_resources_are_written_once(template_text: str) -> None:
    loops = re.findall(r"^  Fn::ForEach::(\w+):$", template_text, re.MULTILINE)
    assert loops == ["Logs", "OperatorAlarms"]
    assert template_text.count("Type: AWS::Logs::LogGroup") == 2  # the API's, which is named, and the functions'


def test_checks_that_are_not_met_say_why(resources: Json) -> None:
    skipped = [
        skip
        for resource in resources.values()
        for skip in resource.get("Metadata", {}).get("checkov", {}).get("skip", [])
    ]
    assert skipped
    assert all(len(skip["comment"].split()) > 5 for skip in skipped)


@pytest.mark.parametrize("folder", FOLDERS)
def test_function_prepares_for_a_snapshot_exactly_when_it_starts_from_one(resources: Json, folder: str) -> None:
    snapshot = "SnapStart" in resources[logical_id(folder)]["Properties"]
    source = (ROOT / "functions" / folder / "app.py").read_text()
    assert source.count("Deployment.for_snapshot()") == snapshot
    assert source.count("Deployment.from_environment()") == (not snapshot)


SECRET = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:line-requests/prod"


@pytest.mark.parametrize(
    ("parameter", "taken", "refused"),
    [
        ("StripeSecretArn", [f"{SECRET}-a1B2c3"], [SECRET, "line-requests/prod"]),
        (
            "AllowedOrigins",
            ["", "*", "https://a.example", "https://a.example,http://localhost:5173"],
            ["https://a.example, https://b.example", "https://a.example/", "a.example"],
        ),
    ],
)
def test_parameter_that_would_be_deployed_in_vain_is_refused(
    template: Json, parameter: str, taken: list[str], refused: list[str]
) -> None:
    """The policy for a secret's ARN without its last six characters allows nothing; browsers send bare origins."""
    pattern = template["Parameters"][parameter]["AllowedPattern"]
    assert [value for value in taken + refused if re.fullmatch(pattern, value)] == taken


def test_logs_are_kept_for_days_that_cloudwatch_knows(template: Json) -> None:
    """Another number would fail each log group in the middle of a deployment, and roll the stack back."""
    retention = template["Parameters"]["LogRetentionDays"]
    assert {1, 7, 30, 90, 365, 3653} <= set(retention["AllowedValues"])
    assert not {0, 2, 45, 100} & set(retention["AllowedValues"])
    assert retention["Default"] in retention["AllowedValues"]


@pytest.mark.parametrize("folder", FOLDERS)
def test_number_with_a_fraction_stops_no_function(template: Json, folder: str) -> None:
    """CloudFormation takes 1.5 for a Number, and checks no pattern of one."""
    variables = template["Resources"][logical_id(folder)]["Properties"]["Environment"]["Variables"]
    numbers = [{"Ref": name} for name, one in template["Parameters"].items() if one["Type"] == "Number"]
    settings = Settings.from_environment({name: "1.5" if value in numbers else "" for name, value in variables.items()})
    assert (settings.limit.per_minute, settings.limit.burst, settings.window_ms) == (1, 1, 5_400_000)
