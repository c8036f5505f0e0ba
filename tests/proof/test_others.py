"""The part of `--others` that every test run has time for; in a process of its own, for it moves the ground."""

import ast
import dis
import gc
import inspect
import re
import subprocess
import sys
import weakref
from collections.abc import Callable, Iterator

import pytest

from line_requests.domain.model import Line
from line_requests.flows.lifecycle import Lifecycle
from tests.proof import mutants, others_handlers, others_mutants, others_run
from tests.proof.others_places import PYTHON, REREADS, TOLD_ALONE, Known, image, left, still_read
from tests.proof.others_stack import REST
from tests.proof.others_worlds import BILLED
from tests.proof.product import ROOT
from tests.proof.runs import Run, current
from tests.proof.world import NoReply, Pause

ANALYSED = sys.version_info[:2] == PYTHON
LAYER = ROOT / "layers" / "line_requests"


def functions_that_read(*names: str) -> set[str]:
    """The product's functions in which such an attribute stands."""
    return {
        function.name
        for path in LAYER.rglob("*.py")
        for function in ast.walk(ast.parse(path.read_text()))
        if isinstance(function, ast.FunctionDef)
        for node in ast.walk(function)
        if isinstance(node, ast.Attribute) and node.attr in names
    }


def test_steps_keep_the_invariants_whatever_others_did_before() -> None:
    proof = subprocess.run(
        [sys.executable, "-m", "tests.proof", "--others", "--bounded"], check=False, capture_output=True, text=True
    )
    assert proof.returncode == 0, proof.stdout[-8000:] + proof.stderr[-2000:]
    for handler in others_handlers.HANDLERS:
        assert f"\n{handler:24} " in proof.stdout
    assert {*others_handlers.NARROW, *others_run.BRIEF} == others_handlers.HANDLERS.keys()


@pytest.mark.parametrize("mutant", others_mutants.MUTANTS, ids=lambda mutant: mutant.name)
def test_planted_bugs_of_others_still_have_their_places(mutant: mutants.Mutant) -> None:
    for module, before, after in mutant.changes:
        assert mutants.path_of(module).read_text().count(before) == 1, before
        assert before != after
    assert set(mutant.scenarios) <= others_handlers.HANDLERS.keys()


def test_variables_count_only_as_far_as_they_are_still_read() -> None:
    def run(pause: Pause, reply: NoReply | None, other: Pause) -> Iterator[int]:
        yield other.ms
        yield pause.ms
        if reply:
            yield pause.ms

    suspended = run(Pause(1), NoReply(), Pause(2))
    next(suspended)
    code, lasti = suspended.gi_code, suspended.gi_frame.f_lasti  # type: ignore[attr-defined] # a generator's
    every = [("other", ()), ("pause", ()), ("reply", ())]
    assert still_read(code, lasti) == ([("pause", ("ms",)), ("reply", ())] if ANALYSED else every)


def test_value_on_the_stack_keeps_its_variable_alive() -> None:
    def run(pause: Pause, reply: NoReply, step: Callable[[NoReply], int]) -> tuple[Pause, int]:
        return pause, step(reply)

    calls = [one.offset for one in dis.get_instructions(run) if one.opname == "CALL"]
    every = [("pause", ()), ("reply", ()), ("step", ())]
    assert [still_read(run.__code__, offset) for offset in calls] == [[("pause", ())] if ANALYSED else every]


def test_of_a_sequence_only_what_a_loop_has_left_of_it_counts() -> None:
    def run(pauses: list[Pause]) -> Iterator[int]:
        for pause in pauses:
            yield pause.ms

    second = Pause(2)
    suspended = run([Pause(1), second])
    next(suspended)
    code, frame = suspended.gi_code, suspended.gi_frame  # type: ignore[attr-defined] # a generator's
    found = still_read(code, frame.f_lasti)
    assert found == ([("pauses", (REST,))] if ANALYSED else [("pause", ()), ("pauses", ())])
    lefts = []
    for _ in range(2):
        lefts.append(left(code, frame.f_locals, "pauses"))
        next(suspended, None)
    assert lefts == [[second], []]


def test_a_loop_that_begins_again_tells_how_far_it_has_come() -> None:
    def run(pauses: list[Pause], rounds: list[int]) -> Iterator[int]:
        for _ in rounds:
            for pause in pauses:
                yield pause.ms

    suspended = run([Pause(1), Pause(2)], [1, 2])
    next(suspended)
    found = still_read(suspended.gi_code, suspended.gi_frame.f_lasti)  # type: ignore[attr-defined] # a generator's
    assert {("pause", ()), ("pauses", ())} <= set(found)


def test_what_a_comprehension_shares_counts_until_it_is_over() -> None:
    def run(stored: dict[str, int], names: list[str], step: Callable[[], NoReply]) -> tuple[dict[str, int], NoReply]:
        values = {name: stored[name] for name in names}
        reply = step()
        return values, reply

    call = [one.offset for one in dis.get_instructions(run) if one.opname == "CALL"][-1]
    if ANALYSED:
        assert still_read(run.__code__, call) == [("values", ())]


def test_a_line_that_is_read_again_is_there() -> None:
    """So nothing follows from the line that would be taken instead."""
    found = [
        ast.unparse(function.body[-1])
        for path in LAYER.rglob("*.py")
        for function in ast.walk(ast.parse(path.read_text()))
        if isinstance(function, ast.FunctionDef) and function.name == REREADS
    ]
    assert found == ["return self._lines.get(line.workspace_id, line.id) or line"] * 2


def test_what_a_run_has_counted_is_told_alone() -> None:
    assert functions_that_read(*TOLD_ALONE) == {"__init__", "count", "summary"}


def test_a_request_for_a_line_gets_no_workspace_from_what_moves_a_line() -> None:
    """So a workspace's counts say nothing to it there (`others_places.moves_a_line`)."""
    create = (LAYER / "flows" / "create.py").read_text()
    asked = set(re.findall(r"self\._lifecycle\.(\w+)", create))
    assert asked == {"advance", "check_holder", "finalize_new"}
    assert {inspect.signature(getattr(Lifecycle, name)).return_annotation for name in asked} == {Line}


def test_a_reconciler_begins_to_bill_with_one_step() -> None:
    """From there on it has done with the lines that it had found; the other one is an operator's."""
    found = {path.stem for path in LAYER.rglob("*.py") if '"SET #quantities_lease_until_ms' in path.read_text()}
    assert found == {"workspaces", "imports"}


def test_only_what_a_reader_reads_counts_of_a_variable_that_it_is_called_with() -> None:
    """When its pass fails, the line is read for its lease alone."""
    code = Lifecycle._pass.__code__  # noqa: SLF001 - as long as it takes steps
    at = next(one.offset for one in dis.get_instructions(code) if one.argval == "_take_steps")
    _invoicing, take_steps, *_ = (o.offset for o in dis.get_instructions(code) if o.opname == "CALL" and o.offset > at)
    live = dict(still_read(code, take_steps))
    assert live["line"] == (("half_made", "id", "lease_until_ms", "workspace_id") if ANALYSED else ())


def test_lease_is_asked_only_of_a_line_that_was_read_or_leased() -> None:
    """So others need not take it before a write that gives a line back (`others_sight.Sight`)."""
    assert functions_that_read("lease_until_ms") == {"advance", "_pass", "release_lease"}


def test_nobody_who_answers_a_request_reads_what_is_billed() -> None:
    """So what others make of it tells no worlds apart, but to the reconciler (`others_worlds.BILLED`)."""
    found = {
        path.stem
        for part in ("api", "flows")
        for path in (LAYER / part).glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr in {*BILLED, "is_due", "quantities_owed"}
    }
    assert found == {"add_ons"}


def test_an_exception_is_told_apart_by_what_it_holds() -> None:
    first, second = RuntimeError("the transaction failed"), RuntimeError("the transaction failed")
    first.add_note("of the line")
    second.add_note("of the workspace")
    assert image(first, Known()) != image(second, Known())


def test_a_run_that_is_given_up_is_collected() -> None:
    """An explored handler has a hundred thousand; their frames would take gigabytes."""
    run = Run("run", 0, {})
    run.start(lambda: current().ask(Pause(1)))
    kept = weakref.ref(run)
    run.give_up()
    del run
    gc.collect()
    assert kept() is None
