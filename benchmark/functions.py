"""The deployed functions, loaded into this process as Lambda would."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from tests.support import lambda_context
from tests.support.lambda_context import Context

__all__ = ["Context", "Handler", "handler", "load", "source"]

ROOT = Path(__file__).parents[1]
PEER = Path(__file__).parent / "peer"

Handler = Callable[[dict[str, Any], object], Any]


def source(name: str) -> Path:
    """Where a function's code is; `peer/create` is the peer's."""
    folder, _, file = name.rpartition("/")
    return PEER / f"{file}.py" if folder else ROOT / "functions" / name / "app.py"


def load(name: str) -> ModuleType:
    """A fresh instance of a function or of the peer's."""
    return lambda_context.load(source(name))


def handler(name: str) -> Handler:
    """A fresh instance's handler."""
    found: Handler = load(name).handler
    return found
