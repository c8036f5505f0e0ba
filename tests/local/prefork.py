"""Lambda workers by fork: a process that has imported the layer's packages becomes each of them.

A worker that starts by itself takes most of a second of CPU for these imports. As with SnapStart, init is over when
it is needed: only the function and the product's own modules are still imported.
"""

from __future__ import annotations

import gc
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
from importlib import import_module
from pathlib import Path
from typing import IO, Any

PACKAGES = (
    "aws_lambda_powertools.logging",
    "aws_lambda_powertools.metrics",
    "aws_lambda_powertools.utilities.parameters",
    "boto3",
    "boto3.dynamodb.types",
    "email_validator",
    "jwt",
    "msgspec",
    "pydantic.main",
    "pydantic.types",
    "stripe",
    "stripe._object_classes",
    # What the product uses of them, which they import when it is first used.
    "idna.uts46data",
    "snapshot_restore_py",
    "stripe._invoice",
    "stripe._invoice_item_service",
    "stripe._invoice_service",
    "stripe._stripe_client",
    "stripe._subscription_service",
    "stripe._webhook_endpoint",
)
# Their descriptions stay in boto3's default session, whose clients the functions make.
AWS_SERVICES = ("dynamodb", "secretsmanager", "events")


def possible() -> bool:
    """Whether this system has what workers are waited for with: Linux since 5.3 has."""
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (AttributeError, OSError):
        return False
    return True


class Worker:
    """A forked process: as much of subprocess.Popen as MiniStack uses."""

    def __init__(self, pid: int, stdin: IO[str], stdout: IO[str], stderr: IO[str]) -> None:
        self.pid = pid
        self.stdin, self.stdout, self.stderr = stdin, stdout, stderr
        self._pidfd = os.pidfd_open(pid)

    def poll(self) -> int | None:
        """Its exit code, which nobody reads, once it has ended."""
        return 0 if select.select([self._pidfd], [], [], 0)[0] else None

    def wait(self, timeout: float | None = None) -> int:
        if not select.select([self._pidfd], [], [], timeout)[0]:
            raise subprocess.TimeoutExpired("worker", timeout or 0)
        return 0

    def terminate(self) -> None:
        self._send(signal.SIGTERM)

    def kill(self) -> None:
        self._send(signal.SIGKILL)

    def _send(self, number: signal.Signals) -> None:
        if self.poll() is None:
            signal.pidfd_send_signal(self._pidfd, number)

    def __del__(self) -> None:
        os.close(self._pidfd)


class Parent:
    """The process that the workers are forked from; of this process's group, so that it ends with it."""

    def __init__(self) -> None:
        self._connection, theirs = socket.socketpair()
        with theirs:
            subprocess.Popen(
                [sys.executable, __file__, str(theirs.fileno())], stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()]
            )
        self._stream = self._connection.makefile("rw")
        self._one_at_a_time = threading.Lock()

    def fork(self, arguments: list[str], *, cwd: str, env: dict[str, str]) -> Worker:
        """A worker that runs a Python file with these directory, environment and pipes of its own."""
        (stdin, to_it), (from_it, stdout), (errors, stderr) = (os.pipe() for _ in range(3))
        theirs = [stdin, stdout, stderr]
        with self._one_at_a_time:
            socket.send_fds(self._connection, [b"\0"], theirs)
            self._stream.write(json.dumps([arguments, cwd, env]) + "\n")
            self._stream.flush()
            pid = int(self._stream.readline())
        for fd in theirs:
            os.close(fd)
        return Worker(pid, os.fdopen(to_it, "w", 1), os.fdopen(from_it), os.fdopen(errors))


def serve(connection: socket.socket) -> str:
    """Forks a worker for each request; returns only in those, the file that each has to run."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them
    with connection, connection.makefile("rw") as stream:
        while True:
            byte, fds, _, _ = socket.recv_fds(connection, 1, 3)
            if not byte:
                sys.exit()  # MiniStack has ended
            request: list[Any] = json.loads(stream.readline())
            pid = os.fork()
            if not pid:
                break
            for fd in fds:
                os.close(fd)
            stream.write(f"{pid}\n")
            stream.flush()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    [file], directory, environment = request
    for number, fd in enumerate(fds):
        os.dup2(fd, number)
        os.close(fd)
    os.chdir(directory)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = [file]
    return str(file)


if __name__ == "__main__":
    sys.path.pop(0)  # nothing here is a module of the functions'
    gc.disable()  # everything that is imported here stays
    for package in PACKAGES:
        import_module(package)
    for service in AWS_SERVICES:
        # With these keys, which no call is made with, it looks for none.
        boto3 = import_module("boto3")
        boto3.client(service, region_name="us-east-1", aws_access_key_id="none", aws_secret_access_key="none")
    gc.freeze()
    gc.enable()
    script = serve(socket.socket(fileno=int(sys.argv[1])))
    if trace := os.environ.get("LOCAL_TRACE"):
        runpy.run_path(str(Path(__file__).parents[1] / "trace/recorder.py"))["record_worker"](Path(trace))
    runpy.run_path(script, run_name="__main__")
