"""One of several processes that request lines at once: `python -m tests.races.contender ENDPOINT TABLE REQUESTS`.

Says that it is ready, waits for a line on standard input, and prints what became of its requests.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from line_requests.domain.errors import LineRequestError
from line_requests.storage.stores import Stores
from line_requests.storage.table import Table
from tests.support.engine import dynamodb
from tests.support.shop import Flows

NO_STRIPE = "http://127.0.0.1:9"  # nothing is for sale


def main(endpoint: str, table_name: str, requests: int) -> None:
    flows = Flows(Stores(Table(dynamodb(endpoint), table_name)), NO_STRIPE)

    def submit(_: int) -> str:
        try:
            flows.submit()
        except LineRequestError as refusal:
            return type(refusal).__name__
        return "created"

    print("ready", flush=True)
    sys.stdin.readline()
    with ThreadPoolExecutor(requests) as pool:
        print(json.dumps(Counter(pool.map(submit, range(requests)))), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
