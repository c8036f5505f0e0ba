"""Runs under MiniStack's own interpreter and ends with the process that started it, however that one ends."""

import gc
import hashlib
import json
import os
import runpy
import select
import subprocess
import sys
import threading
import time
import zipfile
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.local import prefork
else:
    import prefork  # of this file's folder, under MiniStack's interpreter


def _end_with_the_parent() -> None:
    sys.stdin.buffer.read()  # returns when the parent is gone: it never writes
    # From outside of the group, so that nobody is left who writes there meanwhile.
    end = 'kill -s KILL -- "-$1"; rm -rf -- "$2"'
    subprocess.Popen(["/bin/sh", "-c", end, "sh", str(os.getpgid(0)), os.environ["TMPDIR"]], start_new_session=True)


def main() -> None:
    gc.set_threshold(50_000, 20, 20)  # as often as by default, collecting costs a twentieth of the start
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    sys.path.remove(str(Path(__file__).parent))  # nothing here is a module of MiniStack's
    from hypercorn.config import Config
    from ministack import app
    from ministack.core import lambda_runtime, responses
    from ministack.services import dynamodb

    # What MiniStack starts from now on, the Lambda workers, sees the layer's packages before MiniStack's own and
    # follows the stack's clock, but not the level of MiniStack's log.
    os.environ["PYTHONPATH"] = os.environ.pop("WORKER_PYTHONPATH")
    del os.environ["LOG_LEVEL"]
    if prefork.possible():
        lambda_runtime.subprocess = SimpleNamespace(**vars(subprocess) | {"Popen": _fork_workers(prefork.Parent())})
    lambda_runtime.zipfile = SimpleNamespace(**vars(zipfile) | {"ZipFile": _SharedArchive})
    # The socket that was bound for it, instead of one of its own.
    inherited, create = f"fd://{os.environ.pop('GATEWAY_SOCKET')}", Config._create_sockets  # noqa: SLF001 - it has no setting
    Config._create_sockets = lambda config, _, *kind: create(config, [inherited], *kind)  # noqa: SLF001 - likewise
    # After each invocation MiniStack waits up to 50 ms for a line of log that may never come.
    lambda_runtime.Worker._drain_stderr_bounded = _drain  # noqa: SLF001 - it has no setting
    # The grammar of an expression is checked again for each item of a scan.
    dynamodb._condition_syntax_error = cache(dynamodb._condition_syntax_error)  # noqa: SLF001 - it has no setting
    # It reads the descriptions of all services that it serves for a Content-Type that no client here reads.
    responses._service_model = lambda _: None  # noqa: SLF001 - likewise
    # The clock may be moved by more than a day before the stream's reader comes round.
    dynamodb._STREAM_RETENTION_SECONDS = float("inf")  # noqa: SLF001 - it has no setting
    if trace := os.environ.get("LOCAL_TRACE"):
        runpy.run_path(str(Path(__file__).parents[1] / "trace/recorder.py"))["record_commits"](Path(trace), dynamodb)
    if log := os.environ.pop("IAM_DECISIONS", None):
        _record_decisions(Path(log))
    app.main()


class _SharedArchive(zipfile.ZipFile):
    """An archive that is extracted once: each worker has links to what is in it."""

    _extracting = threading.Lock()

    def namelist(self) -> list[str]:
        """The names at its top, which MiniStack checks one by one."""
        return sorted({name.partition("/")[0] for name in super().namelist()})

    def extractall(self, path: Any = None, members: Any = None, pwd: bytes | None = None) -> None:  # noqa: ANN401 - ZipFile's own
        archive = Path(str(self.filename)).read_bytes()
        shared = Path(os.environ["TMPDIR"]) / "archives" / hashlib.sha256(archive).hexdigest()
        with self._extracting:
            if not shared.exists():
                super().extractall(shared, members or super().namelist(), pwd)
        for name in self.namelist():
            Path(path, name).symlink_to(shared / name)


def _fork_workers(parent: prefork.Parent) -> Any:  # noqa: ANN401 - in the place of a class
    def start(arguments: list[str], **options: Any) -> Any:  # noqa: ANN401 - subprocess's own
        if arguments[0] != sys.executable:
            return subprocess.Popen(arguments, **options)
        return parent.fork(arguments[1:], cwd=options["cwd"], env=options["env"])

    return start


def _record_decisions(log: Path) -> None:
    """Write who called what, and whether IAM allowed it: one JSON array a line."""
    from ministack.core import iam_evaluator

    enforce = iam_evaluator.enforce

    def enforce_and_record(access_key_id: str, action: str, *request: Any, **more: Any) -> Any:  # noqa: ANN401 - MiniStack has no types
        refusal = enforce(access_key_id, action, *request, **more)
        caller = iam_evaluator.resolve_caller_identity(access_key_id) or {}
        with log.open("a") as file:
            file.write(json.dumps([caller.get("userArn", ""), action, refusal is None]) + "\n")
        return refusal

    iam_evaluator.enforce = enforce_and_record


def _drain(worker: Any) -> str:  # noqa: ANN401 - MiniStack has no types
    """What an invocation logged: all of it is in the pipe, or read from it, once the response is there."""
    process, deadline = worker._proc, time.monotonic() + 0.25  # noqa: SLF001 - MiniStack's own names
    while process and select.select([process.stderr], [], [], 0)[0] and time.monotonic() < deadline:
        time.sleep(0.001)
    time.sleep(0.002 if process else 0.02)  # the reading thread puts the last line in the queue; a failed one is gone
    logged: str = worker._drain_stderr()  # noqa: SLF001 - likewise
    return logged


if __name__ == "__main__":
    main()
