"""What may find a mutant: the tests of its module, then the explorer, then the books of made-up years."""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType

from tests.local.ministack import MiniStack
from tests.mutation.mutants import LAYER, ROOT, TEMPLATE, Mutant

# The explorer finds the shortest failure first; most bugs of its own list are found within so many states.
STATES_MAX = 2_500
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
    *("aws_lambda_powertools", "boto3", "email_validator", "greenlet", "httpx", "hypothesis", "jwt", "pydantic"),
    *("pytest", "starlette", "stripe", "uvicorn", "yaml"),
)
PLUGINS_OFF = ("cacheprovider", "cov", "randomly", "schemathesis", "xdist")


class Found(Exception):
    """Something is wrong, so the mutant is killed."""


def _tests(folder: str, names: str) -> list[str]:
    return [f"tests/{folder}/test_{name}.py" for name in names.split()]


_STORE = (
    "costs disturbances invoice_steps new_lines pages publishing release_by_client transitions workspaces_and_plans"
)
# By the longest beginning of a path: the tests that are fast enough; what runs over HTTP has no place here.
TESTS: dict[str, list[str]] = {
    "template.yaml": _tests("shape", "alarms api event_sources least_privilege permissions recovery template"),
    f"{LAYER}/domain/": ["tests/decision"],
    f"{LAYER}/domain/bodies.py": _tests("decision", "bodies"),
    f"{LAYER}/domain/decision.py": _tests("decision", "judge next_move quantities_owed"),
    f"{LAYER}/domain/errors.py": _tests("edges", "http headers"),
    f"{LAYER}/domain/ids.py": _tests("edges", "any_body validation"),
    f"{LAYER}/domain/model.py": _tests("decision", "judge next_move records"),
    f"{LAYER}/domain/money.py": _tests("decision", "money quantities_owed"),
    f"{LAYER}/domain/over_plan.py": _tests("decision", "over_plan"),
    f"{LAYER}/domain/prices.py": _tests("decision", "money records"),
    f"{LAYER}/domain/rate_limit.py": _tests("decision", "rate_limit"),
    f"{LAYER}/domain/submission.py": _tests("edges", "any_body validation request_declaration"),
    f"{LAYER}/flows/": _tests("edges", "clocks_at_once refusals") + _tests("store", "publishing"),
    f"{LAYER}/flows/create.py": _tests("edges", "refusals headers"),
    f"{LAYER}/flows/provisioning.py": _tests("edges", "provisioning_results") + _tests("store", "release_by_client"),
    f"{LAYER}/flows/publishing.py": _tests("edges", "workspace_events newer_release"),
    f"{LAYER}/flows/subscriptions.py": _tests("edges", "base_prices") + _tests("decision", "subscription_choice"),
    f"{LAYER}/flows/reversals.py": _tests("edges", "refunds reversals"),
    f"{LAYER}/flows/refunds.py": _tests("operator", "refund") + _tests("edges", "sent_outside"),
    f"{LAYER}/flows/late.py": _tests("store", "operator_index") + _tests("edges", "reconciler_backlog"),
    f"{LAYER}/flows/reconciler.py": _tests("edges", "reconciler_backlog restored_table"),
    f"{LAYER}/flows/event_feed.py": _tests("edges", "reconciler_backlog restored_table"),
    f"{LAYER}/flows/webhook.py": _tests("edges", "webhook_signature secret"),
    f"{LAYER}/storage/": _tests("store", _STORE),
    f"{LAYER}/storage/records.py": _tests("decision", "records") + _tests("edges", "newer_release"),
    f"{LAYER}/billing/": _tests("edges", "billing_errors refusals webhook_signature"),
    f"{LAYER}/billing/reversals.py": _tests("edges", "refunds reversals"),
    f"{LAYER}/billing/credit_notes.py": _tests("operator", "refund"),
    f"{LAYER}/domain/reversals.py": _tests("edges", "refunds reversals sent_outside"),
    f"{LAYER}/storage/calls.py": _tests("edges", "aws_failures"),
    f"{LAYER}/storage/imports.py": _tests("operator", "import"),
    f"{LAYER}/storage/erasure.py": _tests("operator", "personal_data"),
    f"{LAYER}/storage/operator_index.py": _tests("store", "operator_index pages"),
    f"{LAYER}/billing/catalogue.py": _tests("operator", "plans"),
    f"{LAYER}/billing/setup.py": _tests("operator", "setup_stripe"),
    f"{LAYER}/bus/": _tests("edges", "bus provisioning_results workspace_events"),
    f"{LAYER}/api/": _tests("edges", "actions headers http refusals newer_release"),
    f"{LAYER}/api/auth.py": _tests("edges", "auth"),
    f"{LAYER}/api/pagination.py": _tests("decision", "pagination"),
    f"{LAYER}/api/requests.py": _tests("edges", "any_body validation actions"),
    "functions/": _tests("edges", "actions headers newer_release"),
    "functions/provisioning_result/": _tests("edges", "provisioning_results newer_release"),
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


def stages_for(path: Path) -> Iterator[tuple[str, Callable[[], None]]]:
    """What is tried on a mutant of this file, each in a process of its own; each raises if it finds something."""
    name = str(path.relative_to(ROOT))
    files = TESTS[max((key for key in TESTS if name.startswith(key)), key=len)]
    yield " ".join(files), lambda: _run_tests(files)
    if path != TEMPLATE:
        yield "explorer", _explore
    if any(name == f"{LAYER}/{module}.py" for module in LEDGER):
        yield "ledger", _live


def plant(mutant: Mutant) -> None:
    """Puts the mutant in the place of its file, for this process, which has not read it yet."""
    read_text, get_code = Path.read_text, SourceFileLoader.get_code

    def read_mutant(path: Path, encoding: str | None = None, errors: str | None = None) -> str:
        return mutant.text() if path == mutant.path else read_text(path, encoding, errors)

    def get_mutant(loader: SourceFileLoader, fullname: str) -> CodeType | None:
        if Path(loader.path) != mutant.path:
            return get_code(loader, fullname)
        return compile(mutant.text(), loader.path, "exec", dont_inherit=True)

    if mutant.path == TEMPLATE:
        Path.read_text = read_mutant  # type: ignore[method-assign, assignment] # only in this process
    else:
        SourceFileLoader.get_code = get_mutant  # type: ignore[method-assign, assignment] # only in this process


def _run_tests(files: Sequence[str]) -> None:
    import pytest

    plugins = [option for plugin in PLUGINS_OFF for option in ("-p", f"no:{plugin}")]
    if pytest.main(["-q", "-x", "--assert=plain", *plugins, *files]) != 0:
        raise Found


def _explore() -> None:
    from tests.proof.laboratory import Laboratory
    from tests.proof.scenarios import BOUNDED

    laboratory = Laboratory()
    if any(laboratory.explore(name, STATES_MAX).failure for name in (*BOUNDED, *SCENARIOS)):
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
