import json
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LAYER = ROOT / "layers/requirements.txt"
NODE_LOCK = ROOT / "tests/vendor/clients/package-lock.json"
LOCKS = [LAYER, *sorted(ROOT.glob("requirements/*.txt"))]


def pinned(lock: Path) -> dict[str, str]:
    return dict(re.findall(r"^([\w.-]+)==(\S+)", lock.read_text(), re.MULTILINE))


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_a_lock_pins_by_hash_and_names_no_host(lock: Path) -> None:
    text = lock.read_text()
    assert "://" not in text
    requirements = re.split(r"\n(?=\w)", text.split("make lock\n", 1)[1])
    assert all("--hash=sha256:" in requirement for requirement in requirements)


def test_lock_of_the_node_packages_pins_by_hash_and_names_no_host() -> None:
    """`omit-lockfile-registry-resolved` in .npmrc keeps it so."""
    packages = json.loads(NODE_LOCK.read_text())["packages"]
    assert packages
    for name, package in packages.items():
        assert "resolved" not in package, name
        assert not name or package["integrity"].startswith("sha512-"), name


def test_what_is_tested_is_what_is_deployed() -> None:
    layer, dev = pinned(LAYER), pinned(ROOT / "requirements/dev.txt")
    assert {name: dev[name] for name in layer} == layer


def test_a_newer_python_installs_its_own_wheels() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "python-version" not in project["tool"]["uv"]["pip"], "uv takes it for the Python that it installs for, too"
