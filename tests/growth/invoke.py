"""Invokes functions of the release in the directory TREE, as Lambda would; prints each result on a line, as JSON.

Run by tests in a process of its own: python -m tests.growth.invoke '[["get_line_request", {…}]]'
"""

import json
import os
import sys
from pathlib import Path

from tests.support.lambda_context import Context, load

RESULT = "result: "


def main() -> None:
    for name, event in json.loads(sys.argv[1]):
        function = load(Path(os.environ["TREE"]) / "functions" / name / "app.py")
        print(f"\n{RESULT}{json.dumps(function.handler(event, Context()))}")


if __name__ == "__main__":
    main()
