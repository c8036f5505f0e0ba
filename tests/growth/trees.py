"""Trees of the product: copies to edit, and earlier releases; and programs that run on one of them."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.local.ministack import ACCOUNT, REGION
from tests.support.pipes import pipes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parents[2]
PRODUCT = ("layers", "functions")
DOCUMENTED = ("openapi.yaml", "llms.txt", "docs")

# A file's edits: each text, and what replaces it wherever it stands.
Edits = dict[str, list[tuple[str, str]]]


@dataclass(frozen=True)
class Tree:
    """One release of the product in a directory."""

    path: Path

    def edit(self, edits: Edits) -> None:
        for name, replacements in edits.items():
            file = self.path / name
            text = file.read_text()
            for old, new in replacements:
                assert old in text, f"{name} has no {old!r}: adapt the page and its test"
                text = text.replace(old, new)
            file.write_text(text)

    def run(self, module: str, argument: object) -> Any:  # noqa: ANN401 - JSON
        """Runs a module of the present tests on this tree's product; returns the JSON that it prints last."""
        return json.loads(self.output(module, argument).splitlines()[-1])

    def output(self, module: str, argument: object, **environment: str) -> str:
        """All that such a run prints."""
        done = subprocess.run(
            [sys.executable, "-m", module, json.dumps(argument)],
            cwd=ROOT,
            env=self._variables() | environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=100,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    @contextmanager
    def serve(self, module: str, end: str) -> Iterator[Callable[[object], str]]:
        """One process for many runs, whose imports take longer; each run ends with the line `end`."""
        command = [sys.executable, "-m", module]
        with pipes(command, cwd=ROOT, env=self._variables(), stderr=subprocess.STDOUT) as (requests, printed):

            def run(argument: object) -> str:
                print(json.dumps(argument), file=requests, flush=True)
                lines = list[str]()
                while (line := printed.readline()) != f"{end}\n":
                    assert line, "".join(lines)  # it has ended: that is why
                    lines.append(line)
                return "".join(lines)

            yield run

    def _variables(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": f"{self.path / 'layers'}:{ROOT}",
            "TREE": str(self.path),
            "AWS_ACCESS_KEY_ID": ACCOUNT,
            "AWS_SECRET_ACCESS_KEY": "local",
            "AWS_DEFAULT_REGION": REGION,
        }


def copy(to: Path) -> Tree:
    """A copy of the present product and of what documents it."""
    for name in (*PRODUCT, *DOCUMENTED):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, to / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, to / name)
    return Tree(to)


def previous(to: Path, revision: str) -> Tree:
    """The product as it was committed; the present one in a tree without that history."""
    archived = subprocess.run(["git", "archive", revision, "--", *PRODUCT], cwd=ROOT, capture_output=True, check=False)
    if archived.returncode:
        return copy(to)
    with tarfile.open(fileobj=io.BytesIO(archived.stdout)) as archive:
        archive.extractall(to, filter="data")
    return Tree(to)
