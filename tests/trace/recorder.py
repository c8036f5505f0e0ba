"""Records a run inside the processes of the local stack: what functions did, and what table and Stripe became.

It runs in MiniStack and in its Lambda workers, so it imports nothing of the tests or of the product. Each process has a
file of its own. A line is a list of fields with tabs between them; times are nanoseconds of the machine's monotonic
clock, which all processes share. Bodies are kept as they were sent, with everything that is secret in them: the files
are in the stack's own directory, which only its user can read and which ends with the stack.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import TextIO

VARIABLE = "LOCAL_TRACE"
"""Names the directory of the files to what MiniStack starts."""


class Log:
    """The file of one process; one write for each line, so that threads do not mix theirs."""

    def __init__(self, folder: Path, name: str) -> None:
        self._fd = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND, mode=0o600)

    def write(self, *fields: str | bytes | int) -> None:
        encoded = [field if isinstance(field, bytes) else str(field).encode() for field in fields]
        # Strings in JSON have no line breaks and tabs, so those that are there are white space.
        os.write(self._fd, b"\t".join(field.replace(b"\n", b" ") for field in encoded) + b"\n")


# --- in a Lambda worker ---------------------------------------------------------------------------


def record_worker(folder: Path) -> None:
    """Record every invocation of this process, and below the SDKs every call that it makes."""
    log = Log(folder, f"worker-{os.getpid()}")
    _record_aws(log)
    _record_stripe(log)
    streams: Any = sys
    streams.stdin, streams.stdout = _Events(sys.stdin, log), _Answers(sys.stdout, log)


class _Events:
    """The pipe that MiniStack sends events through."""

    def __init__(self, stream: TextIO, log: Log) -> None:
        self._stream, self._log = stream, log

    def readline(self) -> str:
        line = self._stream.readline()
        self._log.write("event", time.monotonic_ns(), line)
        return line


class _Answers:
    """The pipe that MiniStack receives answers through: an answer is recorded before anybody can know it."""

    def __init__(self, stream: TextIO, log: Log) -> None:
        self._stream, self._log = stream, log

    def write(self, line: str) -> int:
        self._log.write("answer", time.monotonic_ns(), line)
        return self._stream.write(line)

    def flush(self) -> None:
        self._stream.flush()


def _record_aws(log: Log) -> None:
    """For every client that is made from now on."""
    import boto3
    import botocore.handlers

    def before(params: Any, context: Any, **_: object) -> None:  # noqa: ANN401 - botocore's
        context[VARIABLE] = time.monotonic_ns(), params["body"]

    def after(model: Any, http_response: Any, context: Any, **_: object) -> None:  # noqa: ANN401 - botocore's
        began, body = context.pop(VARIABLE)
        log.write("aws", began, time.monotonic_ns(), model.name, body, http_response.status_code, http_response.content)

    def failed(event_name: str, context: Any, **_: object) -> None:  # noqa: ANN401 - botocore's
        began, body = context.pop(VARIABLE)
        log.write("aws", began, time.monotonic_ns(), event_name.rpartition(".")[2], body, 0, "{}")

    names: Any = {"before-call": before, "after-call": after, "after-call-error": failed}
    wanted = [(f"{name}.{of}", handler) for of in ("dynamodb", "eventbridge") for name, handler in names.items()]
    # botocore gives these to each session that is made; the default one may be there already.
    botocore.handlers.BUILTIN_HANDLERS += wanted
    if boto3.DEFAULT_SESSION is not None:
        for name, handler in wanted:
            boto3.DEFAULT_SESSION.events.register(name, handler)


def _record_stripe(log: Log) -> None:
    """Each attempt of Stripe's SDK, the only one that uses requests."""
    from requests.adapters import HTTPAdapter

    send: Callable[..., Any] = HTTPAdapter.send

    def record(adapter: Any, request: Any, **options: Any) -> Any:  # noqa: ANN401 - requests' own
        began, status, content = time.monotonic_ns(), 0, b"{}"
        try:
            response = send(adapter, request, **options)
            content = response.content  # reads it; what breaks off is no answer
            status = response.status_code
        finally:
            key, replayed = request.headers.get("Idempotency-Key", ""), b""
            if status:
                replayed = response.headers.get("Idempotent-Replayed", "")
            path, body = request.path_url, request.body or ""
            log.write(
                "stripe", began, time.monotonic_ns(), request.method, path, body, key, status, replayed, content
            )  # fmt: skip
        return response

    adapter: Any = HTTPAdapter
    adapter.send = record


# --- in MiniStack ---------------------------------------------------------------------------------


def record_commits(folder: Path, dynamodb: Any) -> None:  # noqa: ANN401 - MiniStack has no types
    """Record what each request to DynamoDB has changed: one line for a request, so one for a transaction.

    MiniStack carries out one request after the other, so the order of the lines is the order of the changes.
    """
    log, changes = Log(folder, "commits"), list[Any]()
    emit, handle = dynamodb._emit_stream_event, dynamodb.handle_request  # noqa: SLF001 - it has no public hook

    def note(table: str, event: str, old: Any, new: Any, *more: Any, **options: Any) -> Any:  # noqa: ANN401 - likewise
        key = new or old
        if "pk" in key:  # the product's table; the reference provisioner has another
            changes.append([key["pk"]["S"], key["sk"]["S"], new])
        return emit(table, event, old, new, *more, **options)

    async def carry_out(*request: Any) -> Any:  # noqa: ANN401 - likewise
        began = time.monotonic_ns()
        try:
            return await handle(*request)
        finally:
            if changes:
                log.write("commit", began, time.monotonic_ns(), json.dumps(changes))
                changes.clear()

    dynamodb._emit_stream_event, dynamodb.handle_request = note, carry_out  # noqa: SLF001 - likewise


# --- in the process of the Stripe double ----------------------------------------------------------

KINDS = {"invoice", "refund", "credit_note", "invoice_payment"}


def record_acts(folder: Path) -> Callable[[int, list[tuple[str, str, object]]], None]:
    """What records the changes of one act at Stripe; the double calls it while nothing else can change there."""
    log = Log(folder, "acts")

    def record(began_ns: int, changed: list[tuple[str, str, object]]) -> None:
        if wanted := [change for change in changed if change[0] in KINDS]:
            log.write("act", began_ns, time.monotonic_ns(), json.dumps(wanted, default=str))

    return record
