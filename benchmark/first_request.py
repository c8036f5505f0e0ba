"""Runs in a process of its own: imports a function, answers one request, prints the CPU of both.

Imports nothing before the function that the function itself would not have imported.
"""

import os
import sys
import time


def main() -> None:
    """The function's file and the file of its event; without them, the floor."""
    if len(sys.argv) == 1:
        import boto3

        boto3.client("dynamodb")
        result = {"init": time.process_time(), "request": 0.0, "status": 200, "imported": []}
    else:
        sys.path.insert(0, os.path.dirname(sys.argv[1]))  # noqa: PTH120 - pathlib is not on every function's bill
        module = __import__(os.path.basename(sys.argv[1]).removesuffix(".py"))  # noqa: PTH119
        init_s = time.process_time()
        import json

        with open(sys.argv[2]) as file:  # noqa: PTH123
            event = json.load(file)
        from types import SimpleNamespace

        context = SimpleNamespace(
            function_name="benchmark",
            memory_limit_in_mb=1024,
            invoked_function_arn="arn:aws:lambda:us-east-1:000000000000:function:benchmark",
            aws_request_id="00000000-0000-0000-0000-000000000000",
            get_remaining_time_in_millis=lambda: 300_000,
        )
        known, started_s = set(sys.modules), time.process_time()
        answer = module.handler(event, context)
        result = {
            "init": init_s,
            "request": time.process_time() - started_s,
            "status": answer.get("statusCode", 200),
            "imported": sorted(set(sys.modules) - known),
        }
    import json

    print(json.dumps(result))


if __name__ == "__main__":
    main()
