import os
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.proof.others_places import PYTHON

ROOT = Path(__file__).parents[2]
WORKFLOWS = {path.stem: path for path in (ROOT / ".github/workflows").glob("*.yml")}

Json = Any


def workflow(name: str) -> Json:
    loaded = yaml.safe_load(WORKFLOWS[name].read_text())
    loaded["on"] = loaded.pop(True)  # YAML 1.1 reads the key `on` as true
    return loaded


def commands(job: Json) -> list[str]:
    return [step["run"] for step in job["steps"] if "run" in step]


def test_there_is_one_workflow_that_checks_one_that_deploys_and_one_for_the_night() -> None:
    assert set(WORKFLOWS) == {"check", "deploy", "nightly"}


def test_night_proves_everything_and_tries_every_mutant() -> None:
    jobs = workflow("nightly")["jobs"].values()
    assert [commands(job) for job in jobs] == [["make prove FULL=1"], ["make mutants SECONDS=4800"]]
    versions = [
        step["with"]["python-version"] for job in jobs for step in job["steps"] if "python" in step.get("uses", "")
    ]
    assert versions == [".".join(map(str, PYTHON))] * 2


def test_check_runs_on_the_oldest_python_and_on_lambdas() -> None:
    check = workflow("check")
    assert {"push", "pull_request", "workflow_call"} <= set(check["on"])
    job = check["jobs"]["check"]
    assert commands(job) == ["make check test"]
    oldest = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"].removeprefix(">=")
    assert "Runtime: python3.14" in (ROOT / "template.yaml").read_text()
    assert job["strategy"]["matrix"]["python"] == [oldest, "3.14"]


@pytest.mark.parametrize("name", sorted(WORKFLOWS))
def test_workflow_may_read_only_and_its_jobs_end(name: str) -> None:
    assert workflow(name)["permissions"] == {"contents": "read"}
    for job in workflow(name)["jobs"].values():
        assert "uses" in job or job["timeout-minutes"] <= 90
        for step in job.get("steps", []):
            assert "${{" not in step.get("run", ""), "an expression in a script is a way to inject commands"


def test_deploy_runs_the_checks_first_and_has_short_lived_credentials() -> None:
    deploy = workflow("deploy")["jobs"]["deploy"]
    assert workflow("deploy")["jobs"]["check"]["uses"] == "./.github/workflows/check.yml"
    assert deploy["needs"] == "check"
    assert deploy["permissions"] == {"contents": "read", "id-token": "write"}
    (credentials,) = [
        s for s in deploy["steps"] if s.get("uses", "").startswith("aws-actions/configure-aws-credentials")
    ]
    assert set(credentials["with"]) == {"role-to-assume", "aws-region"}
    assert "secrets." not in WORKFLOWS["deploy"].read_text()


def test_deploy_is_of_a_named_environment_and_asks_nothing() -> None:
    deploy = workflow("deploy")
    assert deploy["on"]["workflow_dispatch"]["inputs"]["environment"]["type"] == "environment"
    assert deploy["jobs"]["deploy"]["environment"] == "${{ inputs.environment }}"
    (command,) = commands(deploy["jobs"]["deploy"])
    assert command.startswith("make deploy SAM_ARGS=")
    assert "--no-confirm-changeset" in command


def test_deploy_hands_parameters_to_sam_as_they_are_stored(tmp_path: Path) -> None:
    """SAM cuts a value at a space, and refuses an empty one, when a shell has taken their quotes."""
    sam = tmp_path / ".venv-sam/bin/sam"
    sam.parent.mkdir(parents=True)
    sam.write_text('#!/bin/sh\nprintf "%s\\n" "$@" > argv\n')
    sam.chmod(0o700)
    (tmp_path / "Makefile").write_text((ROOT / "Makefile").read_text().replace("deploy: build", "deploy:"))
    stored = r'TableName="" ReconcileSchedule="rate(5 minutes)" ClerkPublicKey="-----BEGIN PUBLIC KEY-----\nMII=\n"'
    (command,) = commands(workflow("deploy")["jobs"]["deploy"])
    environment = {"PATH": os.environ["PATH"], "STACK_NAME": "prod", "SAM_PARAMETERS": stored}
    subprocess.run(["bash", "-c", command], cwd=tmp_path, env=environment, check=True, capture_output=True, timeout=30)
    argv = (tmp_path / "argv").read_text().splitlines()
    assert argv[argv.index("--stack-name") + 1] == "prod"
    assert argv[argv.index("--parameter-overrides") + 1 :] == [stored]
