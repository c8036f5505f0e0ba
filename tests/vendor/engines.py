"""The vendors' own engines, each a process of ours on 127.0.0.1; `make vendor` puts them into build/vendor."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import boto3

from tests.local.ministack import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

VENDOR = ROOT / "build/vendor"
JARS = VENDOR / "dynamodb-local"
START_WITHIN_SECONDS = 60  # a Java process on busy cores


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def dynamodb_local() -> Iterator[str]:
    """The endpoint of an empty DynamoDB Local."""
    port = free_port()
    options = ["-inMemory", "-disableTelemetry", "-port", str(port)]
    command = ["java", f"-Djava.library.path={JARS}", "-cp", f"{JARS}/*:{JARS}", "DynamoDBOnLoopback", *options]
    with _running(command, port, VENDOR / "dynamodb-local.log"):
        endpoint = f"http://127.0.0.1:{port}"
        _warm_up(endpoint)
        yield endpoint


def _warm_up(endpoint: str) -> None:
    """Have Java load what a first table takes, which is longer than the product waits for an answer."""
    client = boto3.client(
        "dynamodb", endpoint_url=endpoint, region_name="local", aws_access_key_id="local", aws_secret_access_key="local"
    )
    client.create_table(
        TableName="warm-up",
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
    )
    client.delete_table(TableName="warm-up")
    client.close()


@contextmanager
def stripe_mock() -> Iterator[str]:
    """The base address of a stripe-mock: stateless, and strict about parameters."""
    port = free_port()
    # Its HTTPS side cannot be left out, and would listen on every interface.
    options = ["-http-addr", f"127.0.0.1:{port}", "-https-addr", f"127.0.0.1:{free_port()}"]
    with _running([VENDOR / "bin/stripe-mock", *options], port, VENDOR / "stripe-mock.log"):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def lambda_runtime(function: Path, environment: Mapping[str, str], log: Path) -> Iterator[str]:
    """Where to post events for one function, which the runtime interface emulator runs: one at a time, or it ends."""
    port = free_port()
    command: list[str | Path] = [
        VENDOR / "bin/aws-lambda-rie",
        *("--runtime-interface-emulator-address", f"127.0.0.1:{port}"),
        *("--runtime-api-address", f"127.0.0.1:{free_port()}"),
        ROOT / ".venv-runtime/bin/python",
        *("-m", "awslambdaric", "app.handler"),
    ]
    with _running(command, port, log, cwd=function, env=environment):
        yield f"http://127.0.0.1:{port}/2015-03-31/functions/function/invocations"


@contextmanager
def _running(
    command: Sequence[str | Path],
    port: int,
    log: Path,
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> Iterator[None]:
    with (
        log.open("wb") as output,
        subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=cwd,
            env={**os.environ, **(env or {})},
        ) as process,
    ):
        try:
            deadline = time.monotonic() + START_WITHIN_SECONDS
            while not _listens(port):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"{command[0]} did not start: {log.read_text(errors='replace')}")
                time.sleep(0.05)
            yield
        finally:
            process.kill()  # nothing in it is worth saving


def _listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0
