from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING

import pytest

from tests.shape import audit

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TABLE = "Name Version ID Fix Versions\nurllib3 1.24.1 PYSEC-2019-133 1.24.3"


@pytest.fixture
def pip_audit(tmp_path: Path) -> Callable[[str], Path]:
    """A pip-audit of these words of a shell, which has what it is asked for in $asked."""

    def make(words: str) -> Path:
        path = tmp_path / "pip-audit"
        path.write_text(f'#!/bin/sh\nasked=$(cat $(echo "$@" | tr " " "\\n" | sed -n s/--requirement=//p))\n{words}\n')
        path.chmod(0o700)
        return path

    return make


def only_probed(words: str) -> str:
    return f'case "$asked" in urllib3==1.24.1) echo "{TABLE}"; exit 1;; esac\n{words}'


@pytest.mark.parametrize("words", ["exec sleep 30", "echo 'Connection refused' >&2; exit 1", "echo 'No known'; exit 0"])
def test_advisories_that_cannot_be_reached_are_said_in_one_line(
    pip_audit: Callable[[str], Path], capsys: pytest.CaptureFixture[str], words: str
) -> None:
    """It hangs, fails, or finds nothing where there is something."""
    assert audit.main(pip_audit(words), probe_s=1) == 0
    assert re.fullmatch(r"NOT RUN: pip-audit, because .*\n", capsys.readouterr().out)


def test_audit_that_takes_too_long_is_said(
    pip_audit: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert audit.main(pip_audit(only_probed("exec sleep 30")), audit_s=1) == 0
    assert re.fullmatch(r"NOT RUN: pip-audit, because .*\n", capsys.readouterr().out)


@pytest.mark.parametrize("code", [0, 1])
def test_what_is_found_decides(pip_audit: Callable[[str], Path], capsys: pytest.CaptureFixture[str], code: int) -> None:
    assert audit.main(pip_audit(only_probed(f"echo found; exit {code}"))) == code
    assert "found" in capsys.readouterr().out


def test_every_locked_package_is_asked_for(tmp_path: Path) -> None:
    found = audit.pins(audit.LOCKS)
    locks = "".join(lock.read_text() for lock in audit.LOCKS)
    assert len(found) == len(set(re.findall(r"^\S+==\S+(?= |$)", locks, re.MULTILINE)))
    asked = [line for path in audit.files(found, tmp_path) for line in path.read_text().splitlines()]
    assert sorted(asked) == sorted(f"{name}=={version}" for name, version in found)


def test_ruff_has_its_security_rules() -> None:
    """flake8-bandit's, of which only tests and measurements are excused."""
    settings = tomllib.loads((audit.ROOT / "pyproject.toml").read_text())["tool"]["ruff"]["lint"]
    assert settings["select"] == ["ALL"]
    assert not any(re.fullmatch(r"S\d*", rule) for rule in settings["ignore"])
    excused = {
        path for path, rules in settings["per-file-ignores"].items() if any(re.fullmatch(r"S\d*", r) for r in rules)
    }
    assert excused == {"tests/**", "benchmark/**", "examples/quickstart/*"}
