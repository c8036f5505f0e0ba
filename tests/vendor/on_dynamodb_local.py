"""Run a command with DYNAMODB_ENDPOINT set to an empty DynamoDB Local: python -m tests.vendor.on_dynamodb_local …"""

import os
import subprocess
import sys

from tests.vendor.engines import dynamodb_local


def main() -> int:
    with dynamodb_local() as endpoint:
        return subprocess.call(sys.argv[1:], env=os.environ | {"DYNAMODB_ENDPOINT": endpoint})


if __name__ == "__main__":
    sys.exit(main())
