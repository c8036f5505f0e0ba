"""Clients that three generators make from openapi.yaml compile in strict mode and run the paid story (contract 65)."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.local.ministack import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.local.stack import LocalStack

OPENAPI, SOURCES = ROOT / "openapi.yaml", ROOT / "tests/vendor/clients"
PYTHON_GENERATOR = ROOT / ".venv-clients/bin/openapi-python-client"
ENVIRONMENT = os.environ | {"REDOCLY_TELEMETRY": "off", "REDOCLY_SUPPRESS_UPDATE_NOTICE": "true"}

# Packages are installed and a stack is started first.
pytestmark = pytest.mark.timeout(600)


def run(folder: Path, *command: str | Path) -> None:
    done = subprocess.run(command, cwd=folder, env=ENVIRONMENT, check=False, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"


@pytest.fixture(scope="session")
def node(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the stories and the locked packages."""
    folder = tmp_path_factory.mktemp("clients")
    shutil.copytree(SOURCES, folder, dirs_exist_ok=True)
    run(folder, "npm", "ci")
    return folder


@pytest.fixture
def arguments(stack: LocalStack) -> list[str]:
    """The origin, and the key of a workspace without included lines left."""
    made: Any = httpx.post(f"{stack.origin}/_local/workspaces", json={"plan": "starter"}).json()
    line = {"firstName": "Ada", "lastName": "Lovelace", "channelType": "phone"}
    headers = {"Authorization": f"Bearer {made['apiKey']}"}
    assert httpx.post(f"{stack.origin}/api/line-requests", json=line, headers=headers).status_code == 201
    return [stack.origin, made["apiKey"]]


def test_linters_find_nothing(node: Path) -> None:
    """[65] Redocly and Spectral, with the rules that each recommends."""
    run(node, "npx", "redocly", "lint", OPENAPI)
    run(node, "npx", "spectral", "lint", "--ruleset", "spectral.yaml", "--fail-severity", "hint", OPENAPI)


@pytest.mark.parametrize("story", ["typed.ts", "sdk.ts"])
def test_typescript_clients_run_the_paid_story(node: Path, arguments: list[str], story: str) -> None:
    """[65]"""
    run(node, "npx", "openapi-typescript", OPENAPI, "-o", "schema.ts")
    run(node, "npx", "openapi-ts", "-i", OPENAPI, "-o", "hey", "-c", "@hey-api/client-fetch")
    run(node, "npx", "tsc")
    run(node, "npx", "tsx", story, *arguments)


def test_python_client_runs_the_paid_story(tmp_path: Path, arguments: list[str]) -> None:
    """[65]"""
    run(
        tmp_path,
        PYTHON_GENERATOR,
        "generate",
        "--path",
        OPENAPI,
        "--meta",
        "none",
        "--output-path",
        "line_requests_client",
    )
    shutil.copy(SOURCES / "story.py", tmp_path)
    run(tmp_path, sys.executable, "-m", "mypy", "--strict", "--cache-dir", tmp_path / "cache", "story.py")
    run(tmp_path, sys.executable, "story.py", *arguments)
