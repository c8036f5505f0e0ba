import json
import os
import subprocess
from functools import cache
from pathlib import Path

import pytest

from tests.shape.cloudformation import Json, Translate

ROOT = Path(__file__).parents[2]
MINISTACK_PYTHON = os.environ.get("MINISTACK_PYTHON", str(ROOT / ".venv-ministack/bin/python"))


@cache
def _translate(template: str, **parameters: str) -> Json:
    values = [f"{name}={value}" for name, value in parameters.items()]
    done = subprocess.run(
        [MINISTACK_PYTHON, str(ROOT / "tests/shape/translate.py"), *values],
        input=template,
        env={"AWS_DEFAULT_REGION": "eu-central-1"},
        capture_output=True,
        check=True,
        text=True,
    )
    return json.loads(done.stdout, object_hook=_substituted)


def _substituted(value: Json) -> Json:
    """A loop leaves Fn::Sub with nothing to substitute."""
    text = value.get("Fn::Sub")
    return text if isinstance(text, str) and "${" not in text else value


@pytest.fixture(scope="session")
def template_text() -> str:
    return (ROOT / "template.yaml").read_text()


@pytest.fixture(scope="session")
def translate() -> Translate:
    """The CloudFormation template that the transforms make of a template's text and its parameters' values."""
    return _translate


@pytest.fixture(scope="session")
def template(template_text: str) -> Json:
    return _translate(template_text, AllowedOrigins="https://one.example,https://two.example")


@pytest.fixture(scope="session")
def resources(template: Json) -> Json:
    """The resources that CloudFormation is told to make, by logical id."""
    return template["Resources"]
