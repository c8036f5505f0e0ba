"""A process of its own for one side, ours or the peer's, driven line by line over its standard input.

So neither side sees the other's patches (the peer's Tracer changes botocore), threads or memory.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

Json = dict[str, Any]


@dataclass(frozen=True)
class Answer:
    """One invocation as the worker saw it."""

    status: int
    body: Json
    seconds: float
    operations: list[str]
    read_units: float
    write_units: float


class Worker:
    """A running side, as a context manager."""

    def __init__(self, path: list[Path], environment: Mapping[str, str]) -> None:
        self._path = path
        self._environment = dict(environment)

    def __enter__(self) -> Self:
        """Starts it; functions are loaded when they are first asked for."""
        root = Path(__file__).parents[1]
        search = [*self._path, root, root / "benchmark/peer"]
        self._process = subprocess.Popen(
            [sys.executable, "-S", "-m", "benchmark.worker"],
            cwd=root,
            env=self._environment | {"PYTHONPATH": ":".join(map(str, search)), "LAMBDA_TASK_ROOT": str(root)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        """The end of its input ends it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()

    def __call__(self, function: str, event: Json) -> Answer:
        """Invokes a function."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([function, event]) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        while not line.startswith('{"answer"'):  # logs and metrics go to the same place, as in Lambda
            if not line:
                raise RuntimeError(f"the worker of {function} ended")
            line = self._process.stdout.readline()
        return Answer(**json.loads(line)["answer"])


def main() -> None:
    """The worker's own side: 7.5 ms are added to each DynamoDB call, 25 ms to each transaction."""
    from benchmark.calls import Calls
    from benchmark.functions import Context, Handler, handler

    calls = Calls(
        plain_ms=float(os.environ["PLAIN_MS"]),
        transaction_ms=float(os.environ["TRANSACTION_MS"]),
        count_units="COUNT_UNITS" in os.environ,
    )
    calls.watch_every_session()
    handlers: dict[str, Handler] = {}
    for line in sys.stdin:
        function, event = json.loads(line)
        if function not in handlers:
            handlers[function] = handler(function)
        with calls.during() as made:
            started_s = time.perf_counter()
            answer = handlers[function](event, Context())
            seconds = time.perf_counter() - started_s
        written = sum(call.write_units for call in made)
        result = {
            "status": answer["statusCode"],
            "body": json.loads(answer["body"]),
            "seconds": seconds,
            "operations": [call.operation for call in made],
            "read_units": sum(call.units for call in made) - written,
            "write_units": written,
        }
        print(json.dumps({"answer": result}), flush=True)


if __name__ == "__main__":
    main()
