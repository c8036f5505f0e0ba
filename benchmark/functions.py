"""The deployed functions, loaded into this process as Lambda would."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).parents[1]
PEER = Path(__file__).parent / "peer"

Handler = Callable[[dict[str, Any], object], Any]


class Context:
    """The little of Lambda's context that functions read."""

    function_name = "benchmark"
    function_version = "$LATEST"
    memory_limit_in_mb = 1024
    invoked_function_arn = "arn:aws:lambda:us-east-1:000000000000:function:benchmark"
    aws_request_id = "00000000-0000-0000-0000-000000000000"

    def __init__(self, remaining_s: int = 300) -> None:
        """By itself as much time as the reconciler has on AWS."""
        self._remaining_ms = remaining_s * 1000

    def get_remaining_time_in_millis(self) -> int:
        """What is left of the invocation's time-out."""
        return self._remaining_ms


def source(name: str) -> Path:
    """Where a function's code is; `peer/create` is the peer's."""
    folder, _, file = name.rpartition("/")
    return PEER / f"{file}.py" if folder else ROOT / "functions" / name / "app.py"


def load(name: str) -> ModuleType:
    """A fresh instance of a function, as a new execution environment has it."""
    spec = importlib.util.spec_from_file_location(name.replace("/", "_"), source(name))
    assert spec is not None, name
    assert spec.loader is not None, name
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def handler(name: str) -> Handler:
    """A fresh instance's handler."""
    found: Handler = load(name).handler
    return found
