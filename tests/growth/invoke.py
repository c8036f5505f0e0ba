"""Invokes functions of the release in the directory TREE, as Lambda would; prints each result on a line, as JSON.

Run by tests in a process of its own, which reads lines: the environment of the functions, and what to invoke, such as
`[{"TABLE_NAME": "t"}, [["get_line_request", {…}]]]`.
"""

import json
import os
import sys
from pathlib import Path

from tests.support.lambda_context import Context, load

RESULT, DONE = "result: ", "done"


def main() -> None:
    for line in sys.stdin:
        environment, calls = json.loads(line)
        os.environ.update(environment)
        for name, event in calls:
            function = load(Path(os.environ["TREE"]) / "functions" / name / "app.py")
            print(f"\n{RESULT}{json.dumps(function.handler(event, Context()))}")
        print(DONE, flush=True)


if __name__ == "__main__":
    main()
