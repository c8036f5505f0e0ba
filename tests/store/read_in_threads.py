"""Reads every kind of record for the first time in eight threads at once; run by a test in a process of its own."""

import sys
from threading import Barrier, Thread

from line_requests.domain.model import ApiKey, IdempotencyRecord, Workspace
from line_requests.domain.prices import Plan
from line_requests.storage import records
from tests.decision.examples import line

THREADS = 8


def main() -> None:
    sys.setswitchinterval(1e-6)
    made = line()
    readers = (
        (records.line, records.line_item(made)),
        (records.workspace, records.new_workspace_item("acme", "cus_1", livemode=False)),
        (records.plan, records.plan_item(Plan("basic", ("price_1",), {}))),
        (records.api_key, records.api_key_key("acme", "0" * 64) | records.api_key_item(ApiKey("0" * 64, "", 0))),
        (records.idempotency_record, records.idempotency_item(IdempotencyRecord(made.id, "0" * 64))),
    )
    start = Barrier(THREADS)

    def read() -> None:
        start.wait()
        for reader, item in readers:
            reader(item)

    threads = [Thread(target=read) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert isinstance(records.workspace(readers[1][1]), Workspace)


if __name__ == "__main__":
    main()
