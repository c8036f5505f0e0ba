"""One of several processes that request lines at once: `python -m tests.races.contender ENDPOINT TABLE REQUESTS`.

Says that it is ready, waits for a line on standard input, and prints what became of its requests.
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from line_requests.clock import Clock
from line_requests.domain.errors import LineRequestError
from line_requests.domain.rate_limit import RateLimit
from line_requests.domain.submission import Submission
from line_requests.flows.lifecycle import Lifecycle
from line_requests.storage.table import Table
from tests.store.engine import dynamodb

if TYPE_CHECKING:
    from line_requests.billing.account import Billing

LIMIT = RateLimit(per_minute=6000, burst=1000)
SUBMISSION = Submission("Ada", "Lovelace", "phone", "purchased")


def main(endpoint: str, table_name: str, requests: int) -> None:
    table = Table(dynamodb(endpoint), table_name)
    store = Store(table)
    seen = Registry(table).workspace("acme")
    assert seen is not None

    def submit(_: int) -> str:
        clock = Clock(time.time_ns() // 1_000_000, 18.0)
        lifecycle = Lifecycle(store, Registry(table), no_stripe, clock, 0)
        try:
            Intake(store, lifecycle, clock, LIMIT, 0).submit(seen, None, SUBMISSION, None)
        except LineRequestError as refusal:
            return type(refusal).__name__
        return "created"

    print("ready", flush=True)
    sys.stdin.readline()
    with ThreadPoolExecutor(requests) as pool:
        print(json.dumps(Counter(pool.map(submit, range(requests)))), flush=True)


def no_stripe(_: object) -> Billing:
    raise AssertionError("nothing is for sale")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
