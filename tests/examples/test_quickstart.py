"""The quickstarts, run as a new integrator runs them: in every language, with the same words for the same response."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import httpx
import pytest
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

from tests.examples import node
from tests.examples.conftest import QUICKSTART, Json, Workspace, eventually, served
from tests.local.demo import OPERATOR_API_KEY

if TYPE_CHECKING:
    from starlette.requests import Request

    from tests.local.stack import LocalStack

COMMANDS = {
    "curl": ["bash", str(QUICKSTART / "curl.sh")],
    "python": [sys.executable, str(QUICKSTART / "quickstart.py")],
}
if typescript := node.command():
    COMMANDS["typescript"] = [*typescript, str(QUICKSTART / "quickstart.ts")]

LINE = {"firstName": "Ada", "lastName": "Lovelace", "channelType": "phone"}
BYON = LINE | {"lineType": "byon", "email": "ada@example.com", "phone": "+1 415 555 0100"}

CUT = '{"status": "active", "line": {"_id": "1"}'  # of an answer whose connection broke

MakeWorkspace = Callable[..., Workspace]
Process = subprocess.Popen[str]


@pytest.fixture(params=COMMANDS)
def command(request: pytest.FixtureRequest) -> list[str]:
    """The quickstart in one language."""
    return COMMANDS[request.param]


@contextmanager
def started(command: list[str], workspace: Workspace, line: Json = LINE, **environment: str) -> Iterator[Process]:
    """Runs a quickstart, which has the terminal's environment and what `make run` prints."""
    with subprocess.Popen(
        [*command, json.dumps(line)],
        env={"PATH": os.environ["PATH"], "API": workspace.origin, "AUTH": workspace.auth} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        yield process
        process.kill()
        process.communicate(timeout=10)  # until nothing that it started has its output open: it would go on polling


def run(command: list[str], workspace: Workspace, line: Json = LINE, **environment: str) -> tuple[int, str]:
    """Runs a quickstart to its end; returns its exit code and all that it printed after its key."""
    with started(command, workspace, line, **environment) as process:
        printed, errors = process.communicate(timeout=60)
    key, _, rest = errors.partition("\n")
    assert key.startswith(f"Idempotency key: {environment.get('KEY', '')}")
    return process.returncode, printed + rest


@contextmanager
def answering(*answers: tuple[int, Json]) -> Iterator[str]:
    """A server that gives these answers, one after the other."""
    left = iter(answers)

    def answer(_: Request) -> Response:
        status, body = next(left)
        return Response(json.dumps(body), status, {"Retry-After": "0"})

    with served(Starlette(routes=[Route("/{path:path}", answer, methods=["GET", "POST"])])) as origin:
        yield origin


def payment_url(process: Process) -> str:
    """Waits for the link."""
    assert process.stdout is not None
    printed = process.stdout.readline()
    assert printed.startswith("Pay here: http"), printed
    return printed.removeprefix("Pay here: ").strip()


def lines(workspace: Workspace) -> list[Json]:
    page = workspace.http.get("/api/line-requests").raise_for_status().json()
    found: list[Json] = page["lines"]
    return found


def test_quickstart_waits_until_an_included_line_is_active(command: list[str], workspace: MakeWorkspace) -> None:
    """[15] One run that gives up, one more with the same key: one line."""
    starter = workspace()
    starter.control("provisioning", mode="manual")
    code, printed = run(command, starter, KEY="once", GIVE_UP_AFTER_S="0")
    assert (code, "Still provisioning" in printed, "KEY=once" in printed) == (1, True, True)
    starter.control("provisioning", mode="auto")
    code, printed = run(command, starter, KEY="once")
    [line] = lines(starter)
    assert (code, printed) == (0, f"Line {line['_id']} is active.\n")


def test_quickstart_shows_the_payment_link_and_goes_on_when_it_is_paid(
    command: list[str], workspace: MakeWorkspace
) -> None:
    """[16] [39]"""
    starter = workspace()
    starter.create().raise_for_status()
    with started(command, starter) as process:
        starter.http.post(f"{payment_url(process)}/pay")
        printed, _ = process.communicate(timeout=60)
    assert (process.returncode, printed.endswith(" is active.\n")) == (0, True)
    assert lines(starter)[0]["paymentStatus"] == "paid"


def test_quickstart_says_that_a_line_failed(command: list[str], workspace: MakeWorkspace) -> None:
    """[36]"""
    starter = workspace()
    starter.control("provisioning", mode="manual")
    with started(command, starter) as process:
        [line] = eventually(lambda: lines(starter))
        starter.control(f"line-requests/{line['_id']}/provisioning", outcome="failed", reason="no number is left")
        _, printed = process.communicate(timeout=60)
    assert (process.returncode, "could not be provisioned" in printed) == (1, True)


def test_quickstart_says_that_a_request_was_canceled(command: list[str], workspace: MakeWorkspace) -> None:
    """[41]"""
    starter = workspace()
    starter.create().raise_for_status()
    with started(command, starter) as process:
        payment_url(process)
        line_id = lines(starter)[0]["_id"]
        starter.http.post(f"/api/line-requests/{line_id}", json={"action": "cancel"}).raise_for_status()
        _, printed = process.communicate(timeout=60)
    assert (process.returncode, "was canceled" in printed) == (1, True)


@pytest.mark.parametrize(
    ("wrong", "advice"),
    [
        ({"API": ""}, "Set API."),
        ({"AUTH": ""}, "Set AUTH."),
        ({"AUTH": "Bearer tuco_x"}, "AUTH must be a header: 'Authorization: Bearer' and an API key."),
    ],
)
def test_quickstart_asks_for_what_make_run_prints(command: list[str], wrong: dict[str, str], advice: str) -> None:
    """It stops before any call, instead of trying again for minutes."""
    printed = {"PATH": os.environ["PATH"], "API": "http://127.0.0.1:9", "AUTH": "Authorization: Bearer tuco_x"}
    ended = subprocess.run(command, env=printed | wrong, capture_output=True, text=True, timeout=20, check=False)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.splitlines()[-1].endswith(advice)


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"firstName": " "}, "firstName is required"),
        ({"lineType": "ported"}, 'lineType must be "purchased" or "byon"'),
    ],
)
def test_quickstart_stops_at_a_bad_request(
    command: list[str], workspace: MakeWorkspace, wrong: Json, error: str
) -> None:
    """[6, 8]"""
    code, printed = run(command, workspace(), LINE | wrong)
    assert (code, printed) == (1, f"Fix the request: {error}\n")


def test_quickstart_stops_at_an_unknown_key(command: list[str], workspace: MakeWorkspace) -> None:
    """[1]"""
    code, printed = run(command, workspace(), AUTH="Authorization: Bearer tuco_unknown")
    assert (code, "Check AUTH" in printed) == (1, True)


def test_quickstart_asks_for_a_subscription(command: list[str], workspace: MakeWorkspace) -> None:
    """[17]"""
    code, printed = run(command, workspace(subscriptionStatus="canceled"))
    assert (code, printed.endswith("Subscribe at /billing.\n")) == (1, True)


def test_quickstart_says_that_the_plan_has_no_such_line(command: list[str], workspace: MakeWorkspace) -> None:
    """[18]"""
    code, printed = run(command, workspace(), BYON)
    assert (code, printed.endswith("Choose another kind of line or another plan.\n")) == (1, True)


def test_quickstart_names_the_request_that_awaits_payment(command: list[str], workspace: MakeWorkspace) -> None:
    """[23]"""
    starter = workspace()
    starter.create().raise_for_status()
    holder = starter.create().raise_for_status().json()
    code, printed = run(command, starter)
    assert code == 1
    assert f"Pay at {holder['paymentUrl']} or cancel {holder['line']['_id']}" in printed


def test_quickstart_waits_when_the_rate_limit_is_reached(command: list[str], workspace: MakeWorkspace) -> None:
    """[35]"""
    starter = workspace()

    def refused() -> bool:
        return starter.http.post("/api/line-requests", json={}).status_code == 429

    while not refused():
        pass
    with started(command, starter) as process:
        for _ in range(50):  # or the budget would be back before the quickstart asks
            refused()
        process.communicate(timeout=60)
    assert (process.returncode, len(lines(starter))) == (0, 1)


def test_quickstart_passes_on_what_stripe_refuses_for_good(
    command: list[str], workspace: MakeWorkspace, stack: LocalStack
) -> None:
    """[34]"""
    starter = workspace()
    starter.create().raise_for_status()
    starter.control("webhooks", mode="drop")
    httpx.delete(
        f"{stack.double.url}/v1/customers/{starter.customer}", headers={"Authorization": f"Bearer {OPERATOR_API_KEY}"}
    ).raise_for_status()
    code, printed = run(command, starter)
    assert (code, "An operator has to fix this in Stripe" in printed) == (1, True)


def test_quickstart_repeats_its_key_until_stripe_is_back(command: list[str], workspace: MakeWorkspace) -> None:
    """[34] 503 and no response at all are repeated with the same key: one line more, one link."""
    starter = workspace()
    starter.create().raise_for_status()
    starter.control("stripe/faults", kind="error_before", count=1000)
    with started(command, starter) as process:
        eventually(lambda: len(lines(starter)) == 2)
        starter.control("stripe/faults", kind="error_before", count=0)
        url = payment_url(process)
    half_made = lines(starter)[0]
    assert (len(lines(starter)), half_made["paymentLinkUrl"]) == (2, url)


def test_quickstart_repeats_its_key_after_an_error_of_a_server_in_between(
    command: list[str], workspace: MakeWorkspace
) -> None:
    """What a crash, a gateway or a proxy sends, or half of, decides nothing: the next try has the same key."""
    page = "<html>Bad Gateway</html>"
    active = json.dumps({"status": "active", "line": {"_id": "1"}})
    undecided = [(status, '{"message": "from a gateway"}') for status in (400, 403, 409, 500, 502)]
    undecided += [(status, page) for status in (201, 400, 403, 409, 500, 502)] + [(201, CUT), (500, CUT), (201, "[]")]
    answers = iter([*undecided, (201, active)])
    keys = []

    def answer(request: Request) -> Response:
        keys.append(request.headers["Idempotency-Key"])
        status, body = next(answers)
        more = {"Content-Length": "999"} if body == CUT else {}
        return Response(body, status, {"Retry-After": "0"} | more)

    with served(Starlette(routes=[Route("/api/line-requests", answer, methods=["POST"])])) as origin:
        code, printed = run(command, workspace(), API=origin)
    assert (code, printed.startswith("Line 1 is active.\n")) == (0, True), printed
    assert (len(keys), len(set(keys))) == (len(undecided) + 1, 1)


@pytest.mark.parametrize(("status", "advice"), [(404, "Check API"), (413, "64 KiB")])
def test_quickstart_stops_at_a_wrong_path_and_a_body_that_is_too_large(
    command: list[str], workspace: MakeWorkspace, status: int, advice: str
) -> None:
    """No retry would change that."""
    with answering((status, {"message": "from a gateway"})) as origin:
        code, printed = run(command, workspace(), API=origin, GIVE_UP_AFTER_S="0")
    assert (code, advice in printed) == (1, True), printed


def test_quickstart_has_the_holder_read_again_while_it_has_no_link(
    command: list[str], workspace: MakeWorkspace
) -> None:
    """[23]"""
    with answering((409, {"message": "Wait.", "existingLine": {"_id": "7", "paymentLinkUrl": None}})) as origin:
        code, printed = run(command, workspace(), API=origin)
    assert (code, "Read 7 again for its payment link or cancel 7" in printed) == (1, True), printed


@pytest.mark.parametrize("payment", ["canceled", "paid"])
def test_quickstart_promises_no_charge_only_if_the_payment_was_canceled(
    command: list[str], workspace: MakeWorkspace, payment: str
) -> None:
    """[36]"""
    line = {"line": {"_id": "7"}, "status": "provisioning"}
    with answering((201, line), (200, line | {"status": "canceled", "paymentStatus": payment})) as origin:
        code, printed = run(command, workspace(), API=origin)
    assert (code, "Nothing will be charged" in printed) == (1, payment == "canceled"), printed


def test_quickstart_gives_up_without_a_response(command: list[str], workspace: MakeWorkspace) -> None:
    """It prints the key, so that the next run continues with it."""
    code, printed = run(command, workspace(), API="http://127.0.0.1:9", KEY="mine", GIVE_UP_AFTER_S="0")
    assert (code, "Run this again with KEY=mine" in printed) == (1, True)
