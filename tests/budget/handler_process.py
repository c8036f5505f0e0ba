"""One function in a process of its own: its init, then one event for each line of standard input.

Answers each with a line of JSON: the response, the modules that it imported, and the AWS clients that it made.
"""

from __future__ import annotations

import json
import sys

from botocore.handlers import BUILTIN_HANDLERS

from benchmark.functions import Context, handler


def main(folder: str) -> None:
    # Logs and metrics go to standard error.
    answers, sys.stdout = sys.stdout, sys.stderr
    clients: list[str] = []

    def record(event_name: str, **_: object) -> None:
        clients.append(event_name)

    # Sees the clients of every session.
    BUILTIN_HANDLERS.append(("creating-client-class", record))
    handle = handler(folder)
    for line in sys.stdin:
        modules = set(sys.modules)
        clients.clear()
        response = handle(json.loads(line), Context())
        found = {"response": response, "imported": sorted(set(sys.modules) - modules), "clients": clients}
        print(json.dumps(found), file=answers, flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
