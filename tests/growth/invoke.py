"""Invokes a function of the release in the directory TREE, as Lambda would; prints its result as JSON.

Run by tests in a process of its own: python -m tests.growth.invoke '["get_line_request", {…}]'
"""

import json
import os
import sys
from pathlib import Path

from tests.support.lambda_context import Context, load


def main() -> None:
    name, event = json.loads(sys.argv[1])
    function = load(Path(os.environ["TREE"]) / "functions" / name / "app.py")
    print("\n" + json.dumps(function.handler(event, Context())))


if __name__ == "__main__":
    main()
