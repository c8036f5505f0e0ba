"""Invokes functions of the release in the directory TREE, as Lambda would; prints their results as JSON.

Run by tests in a process of its own: python -m tests.growth.invoke '[["get_line_request", {…}], …]'
"""

import json
import os
import sys
from pathlib import Path

from tests.support.lambda_context import Context, load


def main() -> None:
    functions = Path(os.environ["TREE"]) / "functions"
    results = [load(functions / name / "app.py").handler(event, Context()) for name, event in json.loads(sys.argv[1])]
    print(json.dumps(results))


if __name__ == "__main__":
    main()
