"""What Lambda does for a function: loads it, and passes a context beside the event."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import ModuleType

FUNCTIONS = Path(__file__).parents[2] / "functions"


def load(path: Path) -> ModuleType:
    """A fresh instance of a function, as a new execution environment has it."""
    spec = importlib.util.spec_from_file_location(f"{path.parent.name}_{path.stem}", path)
    assert spec is not None, path
    assert spec.loader is not None, path
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@cache
def function(name: str) -> ModuleType:
    """This process's one instance of a function: each test sets its deployment, so nothing else has to be made anew."""
    return load(FUNCTIONS / name / "app.py")


@dataclass(frozen=True, slots=True)
class Context:
    """What functions and the Powertools read of Lambda's context."""

    remaining_s: int = 300  # as much as the reconciler has on AWS
    function_name: str = "function"
    function_version: str = "$LATEST"
    memory_limit_in_mb: int = 1024
    invoked_function_arn: str = "arn:aws:lambda:eu-central-1:000000000000:function:function"
    aws_request_id: str = "00000000-0000-0000-0000-000000000000"

    def get_remaining_time_in_millis(self) -> int:
        """What is left of the invocation's time-out."""
        return self.remaining_s * 1000
