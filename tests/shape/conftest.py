import json
import os
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.shape.cloudformation import Json, Translate
from tests.support.pipes import pipes

ROOT = Path(__file__).parents[2]
MINISTACK_PYTHON = os.environ.get("MINISTACK_PYTHON", str(ROOT / ".venv-ministack/bin/python"))


def _substituted(value: Json) -> Json:
    """A loop leaves Fn::Sub with nothing to substitute."""
    text = value.get("Fn::Sub")
    return text if isinstance(text, str) and "${" not in text else value


@pytest.fixture(scope="session")
def template_text() -> str:
    return (ROOT / "template.yaml").read_text()


@pytest.fixture(scope="session")
def translate() -> Iterator[Translate]:
    """The CloudFormation template that the transforms make of a template's text and its parameters' values."""
    command = [MINISTACK_PYTHON, str(ROOT / "tests/shape/translate.py"), "--lines"]
    environment = {"AWS_DEFAULT_REGION": "eu-central-1"}
    with pipes(command, env=environment, stderr=subprocess.DEVNULL) as (requests, answers):

        @cache
        def translate(template: str, **parameters: str) -> Json:
            print(json.dumps([template, parameters]), file=requests, flush=True)
            return json.loads(answers.readline(), object_hook=_substituted)

        yield translate


@pytest.fixture(scope="session")
def template(translate: Translate, template_text: str) -> Json:
    return translate(template_text, AllowedOrigins="https://one.example,https://two.example")


@pytest.fixture(scope="session")
def resources(template: Json) -> Json:
    """The resources that CloudFormation is told to make, by logical id."""
    return template["Resources"]
