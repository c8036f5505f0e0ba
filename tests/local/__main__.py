"""The local stack until Ctrl-C: `make run`, or PORT=3000 KEEP=dir python -m tests.local.

KEEP names a folder: keys, workspaces, lines, invoices, ports and time are kept there when it stops, for the next run.
"""

import argparse
import os
import sys
from pathlib import Path

from rich.console import Console

from tests.local.deployment import STACK_NAME
from tests.local.keep import Keep
from tests.local.ministack import StartError
from tests.local.stack import LocalStack
from tests.local.terminal import end_on_signals, forget_deployment

USUAL_PORT = 3000
LINE = '{"firstName":"Sales","lastName":"Line","channelType":"phone"}'


def main() -> int:
    argparse.ArgumentParser(prog="python -m tests.local", description=__doc__).parse_args()
    forget_deployment()
    end_on_signals()
    try:
        keep = Keep(Path(folder)) if (folder := os.environ.get("KEEP")) else None
        port, status = _port(keep), Console(stderr=True).status("Starting…")
        with status, LocalStack(port, keep=keep, progress=status.update) as stack:
            status.stop()
            print(_welcome(stack, keep), flush=True)
            stack.wait()
    except KeyboardInterrupt:
        print("\nStopped; nothing is left running.", flush=True)
        return 0
    except StartError as error:
        print(f"line-requests: {error}", file=sys.stderr)
        return 1


def _port(keep: Keep | None) -> int:
    given = os.environ.get("PORT") or str(keep.kept.origin_port if keep and keep.kept else USUAL_PORT)
    if not given.isdecimal() or not 0 <= int(given) < 65536:
        raise StartError(f"PORT must be a port number, not {given!r}")
    return int(given)


def _welcome(stack: LocalStack, keep: Keep | None) -> str:
    starter, *others = stack.demo.workspaces()
    call = 'curl -sS "$API/api/line-requests" -H "$AUTH"'
    exports = " ".join(f"{name}={value}" for name, value in stack.ministack.aws_environment.items())
    keys = "\n".join(f"  {workspace.plan:<8} {workspace.api_key}" for workspace in (starter, *others))
    return f"""Line requests, all of it local: {stack.origin}

Console        {stack.origin}/
API reference  {stack.origin}/docs
Stripe         {stack.double.url}  (a double; any sk_test_ key)
API keys, by plan
{keys}

To call the API from another terminal:
  export API={stack.origin} AUTH='Authorization: Bearer {starter.api_key}' LINE='{LINE}'
An included line (201, provisioning, then active):
  {call} -d "$LINE"
One more than the plan includes (201, awaiting_payment, with a paymentUrl to pay at):
  {call} -d "$LINE"
All lines of the workspace:
  {call}
Webhooks, provisioning and faults as they are set now (the console changes them):
  curl -sS "$API/_local/state"
The operators' console script:
  export {exports}
  .venv/bin/line-requests --stack {STACK_NAME} workspace show {starter.id}

Ctrl-C stops it and {"keeps everything for the next run" if keep else "removes everything"}."""


if __name__ == "__main__":
    sys.exit(main())
