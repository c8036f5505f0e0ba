"""A process that answers line by line, because to start it takes longer than to answer."""

from __future__ import annotations

import subprocess
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


@contextmanager
def pipes(command: Sequence[str], **options: Any) -> Iterator[tuple[IO[str], IO[str]]]:  # noqa: ANN401 - those of Popen
    """Where requests are written and answers read; the process ends when its requests do."""
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **options) as process:
        assert process.stdin
        assert process.stdout
        yield process.stdin, process.stdout
