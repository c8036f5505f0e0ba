"""`python -m tests.local` as a process: what it prints, and that nothing outlives it."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

from tests.local.ministack import ROOT, MiniStack
from tests.local.story import INTERRUPTED
from tests.support.markdown import assert_prints, blocks

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

# What an operator's terminal may be set for; `make run` prints some of it to export.
ELSEWHERE = {
    "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
    "AWS_PROFILE": "nobody",
    "BUS_NAME": "elsewhere",
    "HTTP_PROXY": "http://127.0.0.1:9",
    "STRIPE_API_KEY": "sk_live_elsewhere",
    "TABLE_NAME": "elsewhere",
}


def start(tmp_path: Path, module: str = "tests.local", **environment: str) -> subprocess.Popen[str]:
    # Everything temporary is made under `tmp_path`, so that whatever is left behind is found there.
    return subprocess.Popen(
        [sys.executable, "-m", module],
        cwd=ROOT,
        env={**os.environ, **ELSEWHERE, "TMPDIR": str(tmp_path), "PORT": "0", "PYTHONPATH": "layers", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def assert_nothing_is_left(tmp_path: Path, but: Sequence[Path] = ()) -> None:
    deadline = time.monotonic() + 5
    while left := [*(line for line in processes() if str(tmp_path) in line), *map(str, {*tmp_path.iterdir()} - {*but})]:
        assert time.monotonic() < deadline, left
        time.sleep(0.1)


def processes() -> list[str]:
    """Every process with its environment."""
    listed = subprocess.run(["ps", "axeww", "-o", "pid,command"], capture_output=True, text=True, check=True)
    return listed.stdout.splitlines()


def test_it_says_how_to_use_it_and_leaves_nothing_behind_when_it_is_killed(tmp_path: Path) -> None:
    with start(tmp_path) as process:
        assert process.stdout is not None
        printed = ""
        while "Ctrl-C" not in printed:
            line = process.stdout.readline()
            assert line, process.communicate()
            printed += line
        [shown] = blocks("README.md", "console run")
        assert_prints(shown, "$ make run\n" + re.sub(r"(?<=127.0.0.1:)\d+", "3000", printed))
        export, first = re.findall(r"^ +((?:export API|curl) ?.*)$", printed, re.MULTILINE)[:2]
        answer = json.loads(subprocess.check_output(["bash", "-c", f"{export}\n{first}"]))
        assert answer["status"] == "provisioning"
        process.kill()
        process.communicate(timeout=15)
        assert process.returncode == -signal.SIGKILL
    assert_nothing_is_left(tmp_path)


def test_second_run_has_the_port_and_the_keys_that_were_kept(tmp_path: Path) -> None:
    keep = tmp_path / "keep"
    printed = [run_until_usable(tmp_path, KEEP=str(keep), PORT=port) for port in ("0", "")]
    first, second = (re.findall(r"^  export API=.*", text, re.MULTILINE) for text in printed)
    assert first == second
    assert all("keeps everything for the next run" in text for text in printed)
    assert_nothing_is_left(tmp_path, [keep])


def test_signal_that_meets_another_thread_ends_the_wait(tmp_path: Path) -> None:
    """As one does that comes right before the main thread waits: it interrupts no system call of that thread."""
    ministack = MiniStack(tmp_path)
    beside = threading.Timer(0.5, lambda: signal.pthread_kill(threading.get_ident(), signal.SIGUSR1))
    before = signal.signal(signal.SIGUSR1, signal.default_int_handler)
    try:
        ministack.start()
        beside.start()
        with pytest.raises(KeyboardInterrupt):
            ministack.last_words()
    finally:
        signal.signal(signal.SIGUSR1, before)
        ministack.stop()


def run_until_usable(tmp_path: Path, **environment: str) -> str:
    """What it prints until it is usable; then Ctrl-C stops it."""
    with start(tmp_path, **environment) as process:
        assert process.stdout is not None
        printed = ""
        while "Ctrl-C" not in printed:
            line = process.stdout.readline()
            assert line, process.communicate()
            printed += line
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
    assert process.returncode == 0
    return printed


@pytest.mark.parametrize(("module", "code"), [("tests.local", 0), ("tests.local.story", INTERRUPTED)])
def test_it_can_be_stopped_while_it_starts(tmp_path: Path, module: str, code: int) -> None:
    with start(tmp_path, module) as process:
        deadline = time.monotonic() + 20
        while not list(tmp_path.glob("*/ministack.log")):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=15)
        assert (process.returncode, errors) == (code, "")
    assert_nothing_is_left(tmp_path)


def refused(tmp_path: Path, *, but: Sequence[Path] = (), **environment: str) -> str:
    with start(tmp_path, **environment) as process:
        printed, errors = process.communicate(timeout=20)
    assert (process.returncode, printed) == (1, "")
    assert_nothing_is_left(tmp_path, but)
    assert errors.count("\n") == 1, errors
    return errors


def test_a_port_in_use_is_one_clear_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"Port {port}" in refused(tmp_path, PORT=str(port))


def test_no_port_is_one_clear_line(tmp_path: Path) -> None:
    assert "PORT" in refused(tmp_path, PORT="http")


def test_a_broken_keep_is_one_clear_line(tmp_path: Path) -> None:
    keep = tmp_path / "keep"
    keep.mkdir()
    (keep / "local-stack.pickle").write_bytes(b"broken")
    errors = refused(tmp_path, KEEP=str(keep), but=[keep])
    assert f"{keep}/local-stack.pickle cannot be read" in errors


def test_a_missing_tool_is_one_clear_line(tmp_path: Path) -> None:
    assert "make install" in refused(tmp_path, MINISTACK_PYTHON="/nowhere/python")


def test_a_port_is_the_stack_s_own_before_anybody_listens_there(tmp_path: Path) -> None:
    ministack = MiniStack(tmp_path)
    port = int(ministack.endpoint.rpartition(":")[2])
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with pytest.raises(OSError, match="in use"):
            other.bind(("127.0.0.1", port))
        ministack.stop()
        other.bind(("127.0.0.1", port))


def test_the_tests_are_the_same_whatever_the_terminal_is_set_for() -> None:
    tests = ["test_the_bus_has_to_be_named_to_answer", "test_without_settings_it_says_what_is_missing"]
    named = [f"tests/operator/test_console.py::{test}" for test in tests]
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *named]
    ran = subprocess.run(command, cwd=ROOT, env=os.environ | ELSEWHERE, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout
