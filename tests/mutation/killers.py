"""What may kill a mutant: the tests of its module, then the explorer, then the books of made-up years."""

import os
import sys
from collections.abc import Callable, Sequence
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType

from tests.mutation.mutants import ROOT, TEMPLATE, Mutant

SHAPE = ("alarms", "api", "event_sources", "least_privilege", "permissions", "recovery", "template")
STORE = (
    "costs",
    "disturbances",
    "invoice_steps",
    "new_lines",
    "pages",
    "publishing",
    "transitions",
    "workspaces_and_plans",
)
# By the longest beginning of the path that fits: test files, whether the explorer may find it, and histories.
MAP: dict[str, tuple[Sequence[str], bool, int]] = {
    "template.yaml": ([f"tests/shape/test_{name}.py" for name in SHAPE], False, 0),
    "layers/line_requests/domain/": (["tests/decision"], True, 2),
    "layers/line_requests/domain/submission.py": (
        ["tests/decision", "tests/edges/test_validation.py", "tests/edges/test_request_declaration.py"],
        True,
        0,
    ),
    "layers/line_requests/domain/ids.py": (["tests/decision", "tests/edges/test_validation.py"], True, 0),
    "layers/line_requests/flows/": (["tests/edges/test_refusals.py", "tests/store/test_publishing.py"], True, 0),
    "layers/line_requests/flows/add_ons.py": ([], True, 6),
    "layers/line_requests/flows/create.py": (["tests/edges/test_refusals.py", "tests/edges/test_headers.py"], True, 0),
    "layers/line_requests/flows/provisioning.py": (["tests/edges/test_provisioning_results.py"], True, 0),
    "layers/line_requests/flows/publishing.py": (["tests/edges/test_workspace_events.py"], True, 0),
    "layers/line_requests/flows/subscriptions.py": (
        ["tests/decision/test_subscription_choice.py", "tests/edges/test_base_prices.py"],
        True,
        2,
    ),
    "layers/line_requests/flows/webhook.py": (["tests/edges/test_webhook_signature.py"], True, 0),
    "layers/line_requests/storage/": ([f"tests/store/test_{name}.py" for name in STORE], True, 2),
    "layers/line_requests/storage/records.py": (
        ["tests/decision/test_records.py", "tests/edges/test_newer_release.py", "tests/store/test_transitions.py"],
        True,
        2,
    ),
    "layers/line_requests/billing/": (["tests/edges/test_billing_errors.py", "tests/edges/test_refusals.py"], True, 4),
    "layers/line_requests/billing/catalogue.py": (["tests/operator/test_plans.py"], False, 0),
    "layers/line_requests/billing/setup.py": (["tests/operator/test_setup_stripe.py"], False, 0),
    "layers/line_requests/bus/": (
        [f"tests/edges/test_{name}.py" for name in ("bus", "provisioning_results", "workspace_events")],
        True,
        0,
    ),
    "layers/line_requests/api/": (
        [f"tests/edges/test_{name}.py" for name in ("actions", "headers", "http", "refusals", "validation")]
        + ["tests/decision/test_pagination.py"],
        True,
        0,
    ),
    "layers/line_requests/api/auth.py": (["tests/edges/test_auth.py"], True, 0),
    "functions/": ([f"tests/edges/test_{name}.py" for name in ("actions", "headers", "refusals")], True, 0),
    "functions/provisioning_result/": (["tests/edges/test_provisioning_results.py"], True, 0),
}


class Killed(Exception):
    """The mutant was found out."""


def stages_for(path: Path) -> list[tuple[str, Callable[[], None]]]:
    """What is tried on a mutant of this file, each in a process of its own; each raises if it finds something."""
    name = str(path.relative_to(ROOT))
    tests, explored, histories = MAP[max((key for key in MAP if name.startswith(key)), key=len)]
    stages: list[tuple[str, Callable[[], None]]] = []
    if tests:
        stages.append((" ".join(tests), lambda: _run_tests(tests)))
    if explored:
        stages.append(("explorer", _explore))
    if histories:
        stages.append((f"{histories} histories", lambda: _live(histories)))
    return stages


def plant(mutant: Mutant) -> None:
    """Puts the mutant in the place of its file, for this process, which has not read it yet."""
    if mutant.path == TEMPLATE:
        read_text = Path.read_text

        def mutated(path: Path, *arguments: str, **options: str) -> str:
            return mutant.text() if path == TEMPLATE else read_text(path, *arguments, **options)  # type: ignore[arg-type] # passed on

        Path.read_text = mutated  # type: ignore[method-assign, assignment] # only in this process
        return
    get_code = SourceFileLoader.get_code

    def planted(loader: SourceFileLoader, fullname: str) -> CodeType | None:
        if Path(loader.path) != mutant.path:
            return get_code(loader, fullname)
        return compile(mutant.text(), loader.path, "exec", dont_inherit=True)

    SourceFileLoader.get_code = planted  # type: ignore[method-assign] # only in this process


def _run_tests(files: Sequence[str]) -> None:
    import pytest

    # Without plugins that only cost time here; what a mutant prints or leaves open is no matter.
    options = ["-q", "-x", "-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:cov", "-p", "no:randomly"]
    if pytest.main([*options, *files]) != 0:
        raise Killed


def _explore() -> None:
    from tests.proof.laboratory import Laboratory
    from tests.proof.scenarios import BOUNDED

    laboratory = Laboratory()
    for name in BOUNDED:
        if laboratory.explore(name, 20_000).failure:
            raise Killed


def _live(histories: int) -> None:
    from tests.proof.ledger.run import lived

    for seed in range(histories):
        if lived(seed).wrong.where:
            raise Killed


def warm_up() -> None:
    """Imports what every process needs, but nothing of the product."""
    sys.path[:0] = [str(ROOT), str(ROOT / "layers")]
    os.chdir(ROOT)
    os.environ.setdefault("AWS_DEFAULT_REGION", "eu-central-1")
    for module in (
        "aws_lambda_powertools",
        "boto3",
        "greenlet",
        "httpx",
        "hypothesis",
        "jwt",
        "pydantic",
        "pytest",
        "stripe",
    ):
        __import__(module)
    assert not any(name.startswith("line_requests") for name in sys.modules), "the product is there already"
