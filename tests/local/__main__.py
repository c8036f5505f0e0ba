"""The local stack until Ctrl-C: `make run`, or PORT=3000 python -m tests.local."""

import argparse
import os
import sys

from tests.local.deployment import STACK_NAME
from tests.local.ministack import StartError
from tests.local.stack import LocalStack
from tests.local.terminal import end_on_signals, forget_deployment


def main() -> int:
    argparse.ArgumentParser(prog="python -m tests.local", description=__doc__).parse_args()
    forget_deployment()
    end_on_signals()
    try:
        with LocalStack(_port()) as stack:
            print(_welcome(stack), flush=True)
            stack.wait()
    except KeyboardInterrupt:
        print("\nStopped; nothing is left running.", flush=True)
        return 0
    except StartError as error:
        print(f"line-requests: {error}", file=sys.stderr)
        return 1


def _port() -> int:
    given = os.environ.get("PORT") or "3000"
    if not given.isdecimal() or not 0 <= int(given) < 65536:
        raise StartError(f"PORT must be a port number, not {given!r}")
    return int(given)


def _welcome(stack: LocalStack) -> str:
    starter, *others = stack.demo.workspaces()
    call = 'curl -sS "$API/api/line-requests" -H "$AUTH"'
    phone = '{"firstName":"Sales","lastName":"Line 1","channelType":"phone"}'
    more = '{"firstName":"Sales","lastName":"Line 2","channelType":"phone"}'
    exports = " ".join(f"{name}={value}" for name, value in stack.ministack.aws_environment.items())
    keys = "\n".join(f"  {workspace.plan:<8} {workspace.api_key}" for workspace in (starter, *others))
    return f"""Line requests, all of it local: {stack.origin}

Console        {stack.origin}/
API reference  {stack.origin}/docs
Stripe         {stack.double.url}  (a double; any sk_test_ key)
API keys, by plan
{keys}

To call the API from another terminal:
  export API={stack.origin} AUTH='Authorization: Bearer {starter.api_key}'
An included line (201, provisioning, then active):
  {call} -d '{phone}'
One more than the plan includes (201, awaiting_payment, with a paymentUrl to pay at):
  {call} -d '{more}'
All lines of the workspace:
  {call}
Webhooks, provisioning and faults as they are set now (the console changes them):
  curl -sS "$API/_local/state"
The operators' console script:
  export {exports}
  .venv/bin/line-requests --stack {STACK_NAME} workspace show {starter.id}

Ctrl-C stops it and removes everything."""


if __name__ == "__main__":
    sys.exit(main())
