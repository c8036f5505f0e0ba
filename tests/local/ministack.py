"""MiniStack, the local AWS: one process of ours, on a port and in a directory of its own."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import suppress
from functools import cache
from pathlib import Path

import boto3

from tests.local.time_ahead import sitecustomize as time_ahead

ROOT = Path(__file__).parents[2]
READY_WITHIN_SECONDS = 30
ACCOUNT = "000000000000"
REGION = "us-east-1"
SECRET_ACCESS_KEY = "local"
TIME_AHEAD = str(Path(time_ahead.__file__).parent)
YEARS_S = 100 * 365 * 86_400  # longer than any local stack's time


class StartError(Exception):
    """Why the local stack cannot start, in one line for the person who asked for it."""


def interpreter() -> Path:
    """The Python of MiniStack's environment; it also runs the Lambda functions."""
    path = Path(os.environ.get("MINISTACK_PYTHON", ROOT / ".venv-ministack/bin/python"))
    if not path.exists():
        raise StartError(f"MiniStack's Python is missing at {path}: run `make install`")
    return path


@cache
def session() -> boto3.Session:
    """One for all of a process's, because each reads the descriptions of its services."""
    return boto3.Session(aws_access_key_id=ACCOUNT, aws_secret_access_key=SECRET_ACCESS_KEY, region_name=REGION)


class MiniStack:
    """Start it with `start`, which returns at once; `wait_until_ready` before the first call; always `stop` it."""

    def __init__(
        self, layer_packages: Path, port: int = 0, *, iam_decisions: Path | None = None, record: bool = False
    ) -> None:
        """Bind the port; 0 takes any free one.

        With `iam_decisions` it refuses what a role does not allow, and writes each decision to that file. With `record`
        everything that functions do is written to files in `trace`.
        """
        self.directory = Path(tempfile.gettempdir()) / f"line-requests-local-{secrets.token_hex(6)}"
        self.log = self.directory / "ministack.log"
        self.trace = self.directory / "trace" if record else None
        self.seconds_ahead = self.directory / "seconds-ahead"
        self.session = session()
        # Bound here and handed over: of a port that is only looked up, another stack could be the first to listen.
        self._socket = socket.socket()
        if port:  # the connections of the run before may not have timed out
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind(("127.0.0.1", port))
        port = self._socket.getsockname()[1]
        self.endpoint = f"http://127.0.0.1:{port}"
        self._environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self.directory),
            "TMPDIR": str(self.directory),
            "no_proxy": "127.0.0.1",  # of the workers, too, which look for a proxy at each call to Stripe
            "BIND_HOST": "127.0.0.1",
            "GATEWAY_PORT": str(port),
            "GATEWAY_SOCKET": str(self._socket.fileno()),
            "IOT_MTLS_ENABLED": "0",  # it would listen on a port of its own
            "LOG_LEVEL": "WARNING",
            "LAMBDA_WARM_TTL_SECONDS": str(YEARS_S),  # a worker is not cold because the clock was moved
            time_ahead.VARIABLE: str(self.seconds_ahead),
            "PYTHONPATH": TIME_AHEAD,
            "WORKER_PYTHONPATH": f"{layer_packages}{os.pathsep}{TIME_AHEAD}",
        }
        if self.trace:
            self._environment["LOCAL_TRACE"] = str(self.trace)
        if iam_decisions:
            self._environment |= {"AUTH": "true", "IAM_DECISIONS": str(iam_decisions)}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def process_id(self) -> int:
        """Of the group's first process, from `start` on."""
        assert self._process
        return self._process.pid

    @property
    def aws_environment(self) -> dict[str, str]:
        """What any AWS tool, and the operators' console script, needs to work against it."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ACCESS_KEY_ID": ACCOUNT,
            "AWS_SECRET_ACCESS_KEY": SECRET_ACCESS_KEY,
            "PYTHONPATH": TIME_AHEAD,
            time_ahead.VARIABLE: str(self.seconds_ahead),
        }

    def start(self) -> None:
        self.directory.mkdir(mode=0o700)
        if self.trace:
            self.trace.mkdir()
        self.move_time(0)
        with self.log.open("wb") as log, self._socket:
            self._process = subprocess.Popen(
                [interpreter(), Path(__file__).with_name("ministack_main.py")],
                cwd=self.directory,
                env=self._environment,
                stdin=subprocess.PIPE,  # its end tells the child that we are gone
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=[self._socket.fileno()],
                start_new_session=True,  # Ctrl-C is ours to handle, and the group is ours to end
            )

    def move_time(self, seconds_ahead: int) -> None:
        """Lets MiniStack, its Lambda workers and every other process that follows the file run so far ahead."""
        time_ahead.write(self.seconds_ahead, seconds_ahead)

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + READY_WITHIN_SECONDS
        while time.monotonic() < deadline and self._process and self._process.poll() is None:
            try:
                urllib.request.urlopen(f"{self.endpoint}/_ministack/ready", timeout=1).close()
            except (urllib.error.URLError, OSError):
                time.sleep(0.02)
            else:
                return
        raise StartError(f"MiniStack did not start:\n{self.log_tail()}")

    def last_words(self) -> str:
        """Block until it ends, which it never should by itself."""
        # Not in one system call: a signal that comes right before it, or meets another thread, would not end it.
        while self._process and self._process.poll() is None:
            time.sleep(0.1)
        return f"MiniStack ended:\n{self.log_tail()}"

    def log_tail(self, lines: int = 20) -> str:
        if not self.log.exists():
            return "(no log)"
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def stop(self) -> None:
        """End the whole process group, the Lambda workers included, and remove what it wrote."""
        self._socket.close()
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)  # nothing in it is worth saving
            self._process.wait()
            if self._process.stdin:
                self._process.stdin.close()
        shutil.rmtree(self.directory, ignore_errors=True)
