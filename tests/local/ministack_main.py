"""Runs under MiniStack's own interpreter and ends with the process that started it, however that one ends."""

import os
import shutil
import signal
import sys
import threading
from pathlib import Path


def _end_with_the_parent() -> None:
    sys.stdin.buffer.read()  # returns when the parent is gone: it never writes
    shutil.rmtree(os.environ["TMPDIR"], ignore_errors=True)
    os.killpg(0, signal.SIGKILL)


def main() -> None:
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    sys.path.remove(str(Path(__file__).parent))  # nothing here is a module of MiniStack's
    from ministack import app
    from ministack.core.lambda_runtime import Worker

    # What MiniStack starts from now on, the Lambda workers, sees the layer's packages before MiniStack's own, and
    # not the level of MiniStack's log.
    os.environ["PYTHONPATH"] = os.environ.pop("WORKER_PYTHONPATH")
    del os.environ["LOG_LEVEL"]
    # After each invocation MiniStack waits 50 ms for a first line of log; nobody here reads those logs.
    Worker._drain_stderr_bounded.__defaults__ = (0.002, 0.002, 0.25)  # noqa: SLF001 - it has no setting
    app.main()


if __name__ == "__main__":
    main()
