"""`make deploy` of docs/deploy.md, by the real SAM CLI on the local AWS: guided first, then by the saved answers."""

from __future__ import annotations

import os
import re
import subprocess
import tomllib
from typing import TYPE_CHECKING, Any

import pytest

from tests.local.ministack import ROOT, MiniStack
from tests.shape.test_docs import rows

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TEMPLATE = (ROOT / "template.yaml").read_text()
ROUTES = TEMPLATE.count("Type: HttpApi")
GIVEN = {
    "AWS Region": "us-east-1",
    "Parameter StripeSecretArn": "arn:aws:secretsmanager:us-east-1:000000000000:secret:stripe-AbCdEf",
}
PARAMETERS, AUTHENTICATION = "Parameter …", "… has no authentication. Is this okay?"


@pytest.fixture
def ministack(tmp_path: Path) -> Iterator[MiniStack]:
    started = MiniStack(tmp_path)  # no function is invoked, so none needs the layer's packages
    try:
        started.start()
        started.wait_until_ready()
        yield started
    finally:
        started.stop()


class Sam:
    """The command of `make deploy`, in a folder of its own for what it reads and saves."""

    def __init__(self, folder: Path, ministack: MiniStack) -> None:
        self.config = folder / "samconfig.toml"
        self.config.write_text((ROOT / "samconfig.toml").read_text())
        self._template = folder / "template.yaml"
        # MiniStack refuses a stack that has an alarm on metric math.
        self._template.write_text(re.sub(r"  NobodyAnswersAlarm:\n(?: {4}.*\n)+", "", TEMPLATE))
        for name in ("functions", "layers"):
            (folder / name).symlink_to(ROOT / name)
        plain = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        self._environment = plain | {k: v for k, v in ministack.aws_environment.items() if k.startswith("AWS_")}

    def deploy(self, arguments: str, answers: str = "") -> str:
        """What it printed; it has to succeed."""
        given = f"SAM_ARGS={arguments} --template-file {self._template} --config-file {self.config}"
        recipe = subprocess.run(["make", "-n", "deploy", given], cwd=ROOT, capture_output=True, text=True, check=True)
        [command] = [line for line in recipe.stdout.splitlines() if "/sam deploy" in line]
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=ROOT,
            env=self._environment,
            input=answers,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
        return done.stdout

    def saved(self, environment: str) -> dict[str, Any]:
        """What it saved for an environment."""
        found: dict[str, Any] = tomllib.loads(self.config.read_text())[environment]["deploy"]["parameters"]
        return found


def questions() -> list[tuple[str, str]]:
    """Every question of the page in its order, and the answer to give; empty: Enter."""
    asked = []
    for question, answer in rows("deploy", "question"):
        if question == PARAMETERS:
            asked += [(f"Parameter {name}", "") for name, *_ in rows("deploy", "parameter")]
        else:
            names = ["" if answer.startswith("Enter") else answer.lstrip("`").partition("`")[0]]
            asked += [(question, names[0])] * (ROUTES if question == AUTHENTICATION else 1)
    return [(question, GIVEN.get(question, answer)) for question, answer in asked]


@pytest.mark.timeout(900)
def test_guided_deploy_asks_what_the_page_says_and_saves_what_deploys_again(
    tmp_path: Path, ministack: MiniStack
) -> None:
    sam, expected = Sam(tmp_path, ministack), questions()
    printed = sam.deploy("--guided", "".join(f"{answer}\n" for _, answer in expected))
    asked = re.findall(r"(?:\t|^)([^\t\n\[\]]+?) \[([^\]\n]*)\]: ", printed, re.MULTILINE)
    known = [re.sub(r"^\w+ (?=has no authentication)", "… ", question) for question, _ in asked]
    assert known == [question for question, _ in expected]

    # what Enter means: a parameter's default, as the page shows it, and samconfig.toml's settings
    shown = dict(asked)
    defaults = {f"Parameter {name}": default.strip("`") for name, default, _ in rows("deploy", "parameter")}
    assert {question: shown[question] for question in defaults} == defaults
    assert (shown["Stack Name"], shown["Confirm changes before deploy"]) == ("line-requests", "Y/n")

    saved = sam.saved("staging")
    assert (saved["stack_name"], saved["confirm_changeset"]) == ("staging", True)
    assert GIVEN["Parameter StripeSecretArn"] in saved["parameter_overrides"]
    sam.deploy("--config-env staging --no-confirm-changeset --no-fail-on-empty-changeset")
