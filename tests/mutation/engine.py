"""One DynamoDB engine for all processes: a test's table has a name of its own."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

# In a process of its own, because what starts it imports the product.
_SERVE = "import sys\nfrom tests.support.engine import engine\nwith engine() as url:\n    print(url, flush=True)\n    sys.stdin.read()"


@contextmanager
def shared_engine() -> Iterator[None]:
    """Names the engine in DYNAMODB_ENDPOINT, which every test reads."""
    path = os.pathsep.join([".", "layers"])
    server = subprocess.Popen(
        [sys.executable, "-c", _SERVE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": path},
    )
    assert server.stdout is not None
    assert server.stdin is not None
    try:
        os.environ["DYNAMODB_ENDPOINT"] = server.stdout.readline().strip()
        yield
    finally:
        server.stdin.close()
        server.wait()
