"""The code blocks of the documentation: read, run, and compared with what really happens."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```(?P<kind>.*)\n(?P<text>(?:.*\n)*?)```$", re.MULTILINE)


def kinds(page: str) -> list[str]:
    """The kind of each fenced block, in order."""
    return [block["kind"] for block in BLOCK.finditer((ROOT / page).read_text())]


def blocks(page: str, kind: str) -> list[str]:
    """The text of each fenced block of this kind."""
    return [block["text"] for block in BLOCK.finditer((ROOT / page).read_text()) if block["kind"] == kind]


def missing_links(page: str) -> list[str]:
    """Links and images of the page that lead to no file."""
    text = (ROOT / page).read_text()
    links: list[str] = re.findall(r"\]\((?!https?:|#)([^)#]+)(?:#[^)]*)?\)", text)
    links += re.findall(r'src(?:set)?="([^"]+)"', text)
    assert links
    return [link for link in links if not (ROOT / page).parent.joinpath(link).exists()]


def assert_prints(shown: str, printed: str) -> None:
    """Fails unless this was printed; `…` stands for anything."""
    pattern = "(?s:.*)".join(re.escape(part) for part in shown.strip().split("…"))
    assert re.fullmatch(pattern, printed.strip()), printed


def assert_console(text: str, **environment: str) -> None:
    """Runs a block's commands, which start with `$ `, and compares what they print with its other lines."""
    lines = text.splitlines(keepends=True)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", "".join(line.removeprefix("$ ") for line in lines if line.startswith("$ "))],
        cwd=ROOT,
        env={"PATH": path} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=True,
        timeout=60,
    )
    assert_prints("".join(line for line in lines if not line.startswith("$ ")), done.stdout)
