import re
from pathlib import Path

import pytest

from tests.shape.cloudformation import Json, of_type

ROOT = Path(__file__).parents[2]
FOLDERS = sorted(path.parent.name for path in ROOT.glob("functions/*/app.py"))


def logical_id(folder: str) -> str:
    return "".join(word.title() for word in folder.split("_"))


def test_functions_are_those_in_the_folder_and_each_has_an_event(resources: Json) -> None:
    assert sorted(of_type(resources, "AWS::Lambda::Function")) == sorted(map(logical_id, FOLDERS))
    assert sorted(path.stem for path in ROOT.glob("events/*.json")) == FOLDERS


@pytest.mark.parametrize("folder", FOLDERS)
def test_function_logs_json_to_a_group_of_its_own_that_forgets(resources: Json, folder: str) -> None:
    function = logical_id(folder)
    logging = resources[function]["Properties"]["LoggingConfig"]
    assert logging == {"LogFormat": "JSON", "LogGroup": {"Ref": f"{function}Logs"}}
    assert resources[f"{function}Logs"]["Properties"] == {"RetentionInDays": {"Ref": "LogRetentionDays"}}


def test_look_alike_resources_are_written_once(template_text: str) -> None:
    loops = re.findall(r"^  Fn::ForEach::(\w+):$", template_text, re.MULTILINE)
    assert {"Logs", "OperatorAlarms", "RouteAlarms", "ThrottleAlarms", "FunctionErrorAlarms"} <= set(loops)
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
