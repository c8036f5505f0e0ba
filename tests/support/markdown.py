"""The code blocks of the documentation: read, run, and compared with what really happens."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[2]


def all_blocks(page: str) -> list[tuple[str, str]]:
    """The kind and the text of each code block, in order; one that is indented or bare has the kind ""."""
    tokens = MarkdownIt().parse((ROOT / page).read_text())
    return [(token.info.strip(), token.content) for token in tokens if token.type in {"fence", "code_block"}]


def kinds(page: str) -> list[str]:
    """The kind of each code block, in order."""
    return [kind for kind, _ in all_blocks(page)]


def blocks(page: str, kind: str) -> list[str]:
    """The text of each code block of this kind."""
    return [text for found, text in all_blocks(page) if found == kind]


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
