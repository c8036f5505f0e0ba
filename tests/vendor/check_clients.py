"""Clients that three generators make from openapi.yaml compile in strict mode and run the paid story (contract 65)."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.examples import node
from tests.local.ministack import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.local.stack import LocalStack

OPENAPI, SOURCES = ROOT / "openapi.yaml", ROOT / "tests/vendor/clients"
PYTHON_GENERATOR = ROOT / ".venv-clients/bin/openapi-python-client"
ENVIRONMENT = os.environ | {"REDOCLY_TELEMETRY": "off", "REDOCLY_SUPPRESS_UPDATE_NOTICE": "true"}

# Packages are installed and a stack is started first.
pytestmark = pytest.mark.timeout(600)


def run(folder: Path, *command: str | Path) -> str:
    """What the command printed."""
    done = subprocess.run(command, cwd=folder, env=ENVIRONMENT, check=False, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stories, with the locked packages and with what the two generators make."""
    folder = tmp_path_factory.mktemp("clients")
    shutil.copytree(SOURCES, folder, dirs_exist_ok=True)
    (folder / "node_modules").symlink_to(node.PACKAGES)
    run(folder, "npx", "openapi-typescript", OPENAPI, "-o", "schema.ts")
    run(folder, "npx", "openapi-ts", "-i", OPENAPI, "-o", "hey", "-c", "@hey-api/client-fetch")
    return folder


@pytest.fixture
def arguments(stack: LocalStack) -> list[str]:
    """The origin, and the key of a workspace without included lines left."""
    made: Any = httpx.post(f"{stack.origin}/_local/workspaces", json={"plan": "starter"}).json()
    line = {"firstName": "Ada", "lastName": "Lovelace", "channelType": "phone"}
    headers = {"Authorization": f"Bearer {made['apiKey']}"}
    assert httpx.post(f"{stack.origin}/api/line-requests", json=line, headers=headers).status_code == 201
    return [stack.origin, made["apiKey"]]


def test_redocly_finds_nothing(folder: Path) -> None:
    """[65] By the rules that it recommends, of which a warning fails, too."""
    told = run(folder, "npx", "redocly", "lint", OPENAPI)
    assert "Your API description is valid" in told
    assert "warning" not in told.replace("Deprecation warning: Node.js", "")


def test_spectral_finds_nothing(folder: Path) -> None:
    """[65] By the rules that it recommends, hints included."""
    run(folder, "npx", "spectral", "lint", "--ruleset", "spectral.yaml", "--fail-severity", "hint", OPENAPI)


def test_typescript_clients_compile_in_strict_mode(folder: Path) -> None:
    """[65]"""
    run(folder, "npx", "tsc")


@pytest.mark.parametrize("story", ["typed.ts", "sdk.ts"])
def test_typescript_clients_run_the_paid_story(folder: Path, arguments: list[str], story: str) -> None:
    """[65]"""
    run(folder, "npx", "tsx", story, *arguments)


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
