"""What may find a mutant: the tests of its module, then the explorer, then the books of made-up years."""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.local.ministack import MiniStack
from tests.mutation.mutants import LAYER, ROOT, TEMPLATE, Mutant
from tests.mutation.session import PLUGINS_OFF, Session, be_silent

# The explorer finds the shortest failure first: many bugs within a few states, most bugs of its own list within 2,500.
STATES_FIRST, STATES_MAX = 250, 2_500
# Beside those that `make test` has time for.
SCENARIOS = (
    "waiting/payment_link+pay",
    "waiting/payment_link+end",
    "waiting/pay+reconcile",
    "canceled/link-of-canceled+create-B",
    "room/create-A+stream",
    "room/create-A+end",
)
HISTORIES = 4
SDKS = (
    *(
        "aws_lambda_powertools",
        "boto3",
        "email_validator",
        "greenlet",
        "httpx",
        "hypothesis",
        "jwt",
        "msgspec",
        "pydantic",
    ),
    *("pytest", "starlette", "stripe", "uvicorn", "yaml"),
)


class Found(Exception):
    """Something is wrong, so the mutant is killed."""


def _tests(folder: str, names: str) -> list[str]:
    return [f"tests/{folder}/test_{name}.py" for name in names.split()]


# By the longest beginning of a path: the tests that are fast enough; what runs over HTTP has no place here.
TESTS: dict[str, list[str]] = {
    "template.yaml": _tests("shape", "alarms api event_sources permissions recovery template"),
    f"{LAYER}/domain/": ["tests/decision"],
    f"{LAYER}/domain/bodies.py": _tests("decision", "bodies money"),
    f"{LAYER}/domain/decision.py": _tests("decision", "judge money next_move quantities_owed touched_invoices"),
    f"{LAYER}/domain/errors.py": _tests("edges", "headers http progress"),
    f"{LAYER}/domain/form.py": _tests("edges", "any_body request_declaration validation"),
    f"{LAYER}/domain/ids.py": _tests("decision", "ids"),
    f"{LAYER}/domain/money.py": _tests("decision", "money"),
    f"{LAYER}/domain/over_plan.py": _tests("decision", "over_plan"),
    f"{LAYER}/domain/rate_limit.py": _tests("decision", "rate_limit"),
    f"{LAYER}/domain/reversals.py": _tests("decision", "money_back records"),
    f"{LAYER}/domain/submission.py": _tests("edges", "any_body request_declaration validation"),
    f"{LAYER}/flows/": _tests("edges", "lifecycle lifecycle_settled"),
    f"{LAYER}/flows/add_ons.py": _tests("edges", "add_ons pending_charges quantities_set"),
    f"{LAYER}/flows/create.py": _tests("edges", "creation"),
    f"{LAYER}/flows/event_feed.py": _tests("edges", "event_feed"),
    f"{LAYER}/flows/extra_invoices.py": _tests("edges", "lifecycle_settled touched_invoices"),
    f"{LAYER}/flows/late.py": _tests("store", "operator_index"),
    f"{LAYER}/flows/progress.py": _tests("edges", "progress"),
    f"{LAYER}/flows/provisioning.py": _tests("edges", "background_functions doors")
    + _tests("store", "provisioning_results release_by_client"),
    f"{LAYER}/flows/publishing.py": _tests("edges", "background_functions newer_release workspace_events"),
    f"{LAYER}/flows/reconciler.py": _tests("edges", "reconciler_run"),
    f"{LAYER}/flows/refunds.py": _tests("edges", "refund_steps"),
    f"{LAYER}/flows/reversals.py": _tests("edges", "reversal_sync"),
    f"{LAYER}/flows/subscriptions.py": _tests("decision", "subscription_choice") + _tests("edges", "subscription_sync"),
    f"{LAYER}/flows/webhook.py": _tests("edges", "webhook_events webhook_signature"),
    f"{LAYER}/storage/": [
        *_tests("decision", "rate_limit records"),
        *_tests("edges", "aws_failures newer_release"),
        "tests/store",
        *_tests("operator", "import personal_data"),
    ],
    f"{LAYER}/billing/": _tests("edges", "stripe_calls billing_errors stripe_reads webhook_signature"),
    f"{LAYER}/billing/catalogue.py": _tests("edges", "subscription_reads stripe_calls"),
    f"{LAYER}/billing/credit_notes.py": _tests("edges", "stripe_calls"),
    f"{LAYER}/billing/customers.py": _tests("edges", "subscription_reads billing_errors"),
    f"{LAYER}/billing/events.py": _tests("edges", "hints stripe_calls webhook_signature"),
    f"{LAYER}/billing/reversals.py": _tests("edges", "stripe_reads stripe_calls"),
    f"{LAYER}/billing/setup.py": _tests("edges", "account_setup stripe_calls"),
    f"{LAYER}/billing/subscriptions.py": _tests("edges", "stripe_calls subscription_reads billing_errors"),
    f"{LAYER}/bus/": _tests("edges", "bus provisioning_results workspace_events"),
    f"{LAYER}/api/": _tests("edges", "http headers doors refusals"),
    f"{LAYER}/api/auth.py": _tests("edges", "auth"),
    f"{LAYER}/api/http.py": _tests("edges", "http any_body"),
    f"{LAYER}/api/pagination.py": _tests("decision", "pagination") + _tests("edges", "headers"),
    f"{LAYER}/api/requests.py": _tests("edges", "headers actions any_body request_declaration validation"),
    f"{LAYER}/api/responses.py": [*_tests("decision", "bodies"), *_tests("edges", "http headers doors")],
    "functions/": _tests("edges", "background_functions doors newer_release"),
}
# What the made-up years have a say in: money.
LEDGER = (
    "flows/add_ons",
    "flows/subscriptions",
    "billing/subscriptions",
    "domain/money",
    "domain/prices",
    "domain/decision",
)


def tests_for(path: Path) -> tuple[str, ...]:
    """The files of tests that are quick enough to be tried on every mutant of this file."""
    name = str(path.relative_to(ROOT))
    return tuple(TESTS[max((key for key in TESTS if name.startswith(key)), key=len)])


def try_in_session(
    files: Sequence[str], mutants: Sequence[Mutant], processes: int, end_s: float
) -> Iterator[tuple[str, str]]:
    """What comes of each mutant (killed, survived or not tried), and which tests find something without any."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        be_silent()
        try:
            with os.fdopen(writer, "w", buffering=1) as results:
                session = Session(mutants, processes=processes, end_s=end_s, results=results)
                with suppress(Found):
                    _run_tests(files, session)
                if not session.has_begun:
                    print("unsound", *files, file=results)
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as results:
        for line in results:
            how, _, name = line.rstrip("\n").partition(" ")
            yield how, name
    os.waitpid(child, 0)


def slow_stages(path: Path, *, tested: bool, explore: bool) -> Iterator[tuple[str, Callable[[], None]]]:
    """What is tried on a mutant that was not found so far, in a process of its own; it raises if it finds something."""
    name = str(path.relative_to(ROOT))
    if not tested:
        yield " ".join(tests_for(path)), lambda: _run_tests(tests_for(path))
    if path != TEMPLATE and explore:
        yield "explorer", _explore
        if any(name == f"{LAYER}/{module}.py" for module in LEDGER):
            yield "ledger", _live


def _run_tests(files: Sequence[str], *plugins: object) -> None:
    import pytest

    off = [option for plugin in PLUGINS_OFF for option in ("-p", f"no:{plugin}")]
    if pytest.main(["-q", "-x", "--assert=plain", *off, *files], plugins=plugins) != 0:
        raise Found


def _explore() -> None:
    from tests.proof.laboratory import Laboratory
    from tests.proof.scenarios import BOUNDED

    laboratory = Laboratory()
    for states in (STATES_FIRST, STATES_MAX):
        if any(laboratory.explore(name, states).failure for name in (*BOUNDED, *SCENARIOS)):
            raise Found


def _live() -> None:
    from tests.proof.ledger.run import lived

    if any(lived(seed).wrong.where for seed in range(HISTORIES)):
        raise Found


@contextmanager
def warm() -> Iterator[None]:
    """Imports what every process needs but nothing of the product; one DynamoDB engine serves them all."""
    sys.path[:0] = [str(ROOT), str(ROOT / "layers")]
    os.chdir(ROOT)
    for module in SDKS:
        __import__(module)
    assert not any(name.startswith("line_requests") for name in sys.modules), "the product is there already"
    engine = MiniStack(Path(os.devnull))
    try:
        engine.start()
        engine.wait_until_ready()
        os.environ["DYNAMODB_ENDPOINT"] = engine.endpoint
        yield
    finally:
        engine.stop()
