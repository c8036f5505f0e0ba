import json
import os
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
MINISTACK_PYTHON = os.environ.get("MINISTACK_PYTHON", str(ROOT / ".venv-ministack/bin/python"))

Json = Any


@cache
def _translate(template: str) -> Json:
    done = subprocess.run(
        [MINISTACK_PYTHON, str(ROOT / "tests/shape/translate.py")],
        input=template,
        env={"AWS_DEFAULT_REGION": "eu-central-1"},
        capture_output=True,
        check=True,
        text=True,
    )
    return json.loads(done.stdout)


@pytest.fixture(scope="session")
def template_text() -> str:
    return (ROOT / "template.yaml").read_text()


@pytest.fixture(scope="session")
def translate() -> Callable[[str], Json]:
    """The CloudFormation template that SAM makes of a SAM template's text."""
    return _translate


@pytest.fixture(scope="session")
def resources(template_text: str) -> Json:
    """What CloudFormation is told to make, by logical id."""
    return _translate(template_text)["Resources"]
