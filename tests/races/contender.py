"""One of several processes that request lines at once: `python -m tests.races.contender ENDPOINT TABLE REQUESTS`.

Says that it is ready, waits for a line on standard input, and prints what became of its requests.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from line_requests.domain.errors import LineRequestError
from tests.support.engine import dynamodb
from tests.support.product import NOWHERE, product
from tests.support.shop import Requests


def main(endpoint: str, table_name: str, at_once: int) -> None:
    requests = Requests(product(dynamodb(endpoint), table_name, NOWHERE))  # nothing is for sale

    def submit(_: int) -> str:
        try:
            requests.submit()
        except LineRequestError as refusal:
            return type(refusal).__name__
        return "created"

    print("ready", flush=True)
    sys.stdin.readline()
    with ThreadPoolExecutor(at_once) as pool:
        print(json.dumps(Counter(pool.map(submit, range(at_once)))), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
