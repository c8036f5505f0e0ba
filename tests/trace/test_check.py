"""A short real run has no violation; each bug that is planted in its record is found, though its end is right."""

from __future__ import annotations

import copy
import json
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx
import pytest

from tests.local.stack import LINES, LocalStack
from tests.stories.world import eventually
from tests.trace.check import check, checked_at_rest, differing
from tests.trace.reader import LEASE, Change, Invocation, Trace, read

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Json = dict[str, Any]
PHONE = {"firstName": "Ada", "lastName": "Lovelace", "channelType": "phone"}


class Run(NamedTuple):
    """What was recorded of one workspace's requests."""

    trace: Trace
    workspace: str
    printed: str

    def commit(self, holds: Callable[[Json], bool], sk: str = "LINE#") -> int:
        """The number of the first commit with such an item."""
        for number, commit in enumerate(self.trace.commits):
            for (pk, name), item in commit.objects.items():
                if pk == f"W#{self.workspace}" and name.startswith(sk) and item is not None and holds(item):
                    return number
        raise LookupError(sk)

    def invocation(self, function: str, status: int) -> Invocation:
        """The first of a function with such an answer."""
        return next(
            one
            for one in self.trace.invocations
            if one.function == function and (one.answer or {}).get("statusCode") == status and one.calls
        )

    def insert(self, number: int, *objects: Json) -> None:
        """Further commits before that one."""
        at_ns = self.trace.commits[number].began_ns - 2 * len(objects)
        for place, item in enumerate(objects):
            moment = at_ns + 2 * place
            change = Change(moment, moment + 1, {(item["pk"]["S"], item["sk"]["S"]): item})
            self.trace.commits.insert(number + place, change)

    def found(self) -> str:
        """The violations of the altered record, in one text."""
        return "\n".join(check(self.trace).violations)


@contextmanager
def polling(origin: str) -> Iterator[None]:
    """A client that no test waits for."""
    over = threading.Event()

    def poll() -> None:
        while not over.wait(0.2):
            httpx.get(f"{origin}{LINES}")

    thread = threading.Thread(target=poll)
    thread.start()
    yield
    over.set()
    thread.join()


@pytest.fixture(scope="module")
def recorded() -> Run:
    """An included line, one that is paid while another request is refused, one that is canceled."""
    with LocalStack(record=True) as stack:
        workspace = stack.demo.create_workspace("starter", "active")
        headers = {"authorization": f"Bearer {workspace.api_key}"}
        with httpx.Client(base_url=stack.origin, headers=headers, timeout=30) as http:

            def create(key: str, status: int) -> Json:
                answer = http.post(LINES, json=PHONE, headers={"Idempotency-Key": key})
                assert answer.status_code == status
                body: Json = answer.json()
                return body

            create("one", 201)
            waiting = create("two", 201)
            create("three", 409)
            create("two", 201)
            httpx.post(f"{waiting['paymentUrl']}/pay")
            path = f"{LINES}/{waiting['line']['_id']}"
            eventually(lambda: http.get(path).json()["status"] == "active")
            path = f"{LINES}/{create('three', 201)['line']['_id']}"
            assert http.post(path, json={"action": "cancel"}).status_code == 200
            stack.reconcile()
            with polling(stack.origin), pytest.raises(AssertionError, match="GET /api/line-requests"):
                checked_at_rest(stack, within_s=2)
        checked = checked_at_rest(stack)
        assert checked is not None
        assert checked.violations == []
        folder = stack.ministack.trace
        assert folder is not None
        assert folder.parent.stat().st_mode & 0o077 == 0
        trace = read(folder, stack.deployment.functions)
    assert not folder.exists(), "a record has secrets in it"
    return Run(trace, workspace.id, str(checked))


@pytest.fixture
def run(recorded: Run) -> Run:
    """A copy to alter."""
    return recorded._replace(trace=copy.deepcopy(recorded.trace))


def test_short_run_is_recorded_and_breaks_nothing(run: Run) -> None:
    assert run.printed.endswith(" 0 violations")
    functions = {one.function for one in run.trace.invocations if one.calls}
    assert len(functions) == 7
    assert run.found() == ""


# --- the table ------------------------------------------------------------------------------------


def is_in(status: str) -> Callable[[Json], bool]:
    return lambda line: bool(line["status"]["S"] == status)


def test_count_that_is_wrong_between_two_writes_is_found(run: Run) -> None:
    number = run.commit(lambda workspace: "lock" in workspace, "WORKSPACE")
    earlier = run.commit(lambda _: True, "WORKSPACE")
    right = run.trace.commits[earlier].objects[f"W#{run.workspace}", "WORKSPACE"]
    for commit in run.trace.commits[:number]:
        right = commit.objects.get((f"W#{run.workspace}", "WORKSPACE"), right)
    assert right is not None
    held = {kind: {"N": str(int(count["N"]) + 1)} for kind, count in right["held"]["M"].items()}
    run.insert(number, right | {"held": {"M": held}}, right)
    assert "held says 2 purchased_phone, lines say 1" in run.found()


def test_transaction_that_is_torn_apart_is_found(run: Run) -> None:
    number = run.commit(is_in("awaiting_payment"))
    whole = run.trace.commits[number]
    first, *rest = whole.objects.items()
    parts = [Change(whole.began_ns, whole.began_ns + 1, dict([first]))]
    parts += [Change(whole.began_ns + 2, whole.ended_ns, dict(rest))]
    run.trace.commits[number : number + 1] = parts
    assert run.found()


def test_history_that_is_rewritten_is_found(run: Run) -> None:
    number = run.commit(is_in("active"))
    for commit in run.trace.commits[number:]:
        for (pk, sk), item in commit.objects.items():
            if pk == f"W#{run.workspace}" and sk.startswith("LINE#") and item is not None:
                item["history"]["L"][0]["M"]["cause"] = {"S": "another"}
    assert "was rewritten" in run.found()


def test_transition_that_the_contract_does_not_have_is_found(run: Run) -> None:
    number = run.commit(is_in("provisioning"))
    [line] = [item for (_, sk), item in run.trace.commits[number].objects.items() if item and sk.startswith("LINE#")]
    back = copy.deepcopy(line)
    back["history"]["L"].append(copy.deepcopy(line["history"]["L"][-1]))
    run.insert(number + 1, back, line)
    assert "moved from provisioning to provisioning" in run.found()


def test_lock_that_is_free_for_a_moment_is_found(run: Run) -> None:
    number = run.commit(lambda workspace: "lock" in workspace, "WORKSPACE")
    locked = run.trace.commits[number].objects[f"W#{run.workspace}", "WORKSPACE"]
    assert locked is not None
    free = {name: value for name, value in locked.items() if name not in {"lock", "lock_kind"}}
    run.insert(number + 1, free, locked)
    assert "the lock names None" in run.found()


# --- table and Stripe -----------------------------------------------------------------------------


def act(run: Run, status: str) -> int:
    """The number of the first act that leaves a line's invoice so."""
    for number, one in enumerate(run.trace.acts):
        for (kind, _), found in one.objects.items():
            if kind == "invoice" and found and found["metadata"].get("line_id") and found["status"] == status:
                return number
    raise LookupError(status)


def invoice(run: Run, number: int) -> Json:
    return next(
        dict(found) for (kind, _), found in run.trace.acts[number].objects.items() if kind == "invoice" and found
    )


def test_second_open_invoice_that_is_voided_later_is_found(run: Run) -> None:
    number = act(run, "open")
    second = invoice(run, number) | {"id": "in_second"}
    moment = run.trace.acts[number].ended_ns
    found: dict[tuple[str, str], Json | None]
    for later, status in enumerate(["draft", "open", "void"], start=1):
        found = {("invoice", "in_second"): second | {"status": status}}
        run.trace.acts.insert(number + later, Change(moment + 2 * later, moment + 2 * later + 1, found))
    assert "2 live invoices" in run.found()


def test_line_that_counts_as_paid_before_it_is_paid_is_found(run: Run) -> None:
    payment = run.trace.acts[act(run, "paid")]
    promoted = run.trace.commits[run.commit(lambda line: line["payment_status"]["S"] == "paid")]
    late = payment._replace(began_ns=promoted.ended_ns + 1, ended_ns=promoted.ended_ns + 2)
    run.trace.acts[run.trace.acts.index(payment)] = late
    assert "counts as paid" in run.found()


def test_payment_and_write_at_one_moment_may_have_come_in_either_order(run: Run) -> None:
    payment = run.trace.acts[act(run, "paid")]
    promoted = run.trace.commits[run.commit(lambda line: line["payment_status"]["S"] == "paid")]
    beside = payment._replace(began_ns=promoted.began_ns + 1, ended_ns=promoted.ended_ns + 1)
    run.trace.acts[run.trace.acts.index(payment)] = beside
    assert "counts as paid" not in run.found()


def test_refund_of_more_than_was_paid_is_found(run: Run) -> None:
    payment = run.trace.acts[act(run, "paid")]
    paid = next(found for (kind, _), found in payment.objects.items() if kind == "invoice_payment" and found)
    refund = {"id": "re_1", "amount": 99_999, "status": "succeeded", "metadata": {}}
    refund |= {"payment_intent": paid["payment"]["payment_intent"]}
    found = Change(payment.ended_ns + 1, payment.ended_ns + 2, {("refund", "re_1"): refund})
    run.trace.acts.insert(run.trace.acts.index(payment) + 1, found)
    assert "99999 refunded" in run.found()


# --- answers --------------------------------------------------------------------------------------


def test_answer_before_the_write_that_it_tells_of_is_found(run: Run) -> None:
    canceled = run.invocation("manage_line_request", 200)
    canceled.ended_ns = run.trace.commits[run.commit(is_in("canceled"))].began_ns - 1
    assert "answered canceled" in run.found()


def test_refusal_without_a_look_at_the_holder_is_found(run: Run) -> None:
    refused = run.invocation("create_line_request", 409)
    refused.calls = [call for call in refused.calls if not call.of_stripe]
    assert "409 without a look at the holder" in run.found()


def test_refusal_after_a_wait_for_the_holders_lease_needs_no_look(run: Run) -> None:
    """Who has the lease looks; in the explorer, too, such a call counts as slow."""
    refused = run.invocation("create_line_request", 409)
    call = next(call for call in refused.calls if not call.of_stripe)
    request = b'{"Key": {"pk": {"S": "W#%s"}}, "ConditionExpression": "%s"}' % (run.workspace.encode(), LEASE)
    lost = call._replace(
        name="UpdateItem", request=request, status=400, response=b'{"__type": "#ConditionalCheckFailedException"}'
    )
    refused.calls = [lost, lost._replace(name="GetItem", status=200, response=b"{}", ended_ns=refused.began_ns + 9)]
    refused.calls[0] = lost._replace(ended_ns=refused.began_ns + 5)
    assert "409" not in run.found()


def test_refusal_because_of_a_holder_that_had_paid_is_found(run: Run) -> None:
    payment = run.trace.acts[act(run, "paid")]
    before_ns = run.invocation("create_line_request", 409).began_ns
    run.trace.acts[run.trace.acts.index(payment)] = payment._replace(began_ns=before_ns - 2, ended_ns=before_ns - 1)
    assert "whose invoice was {'in_" in run.found()


def test_replay_that_does_not_say_so_is_found(run: Run) -> None:
    replays = [one for one in run.trace.invocations if "Idempotency-Replayed" in (one.answer or {}).get("headers", {})]
    assert len(replays) == 1
    del replays[0].answer["headers"]["Idempotency-Replayed"]
    assert "is not told that its answer is a replay" in run.found()


def test_request_for_items_of_two_workspaces_is_found(run: Run) -> None:
    created = run.invocation("create_line_request", 201)
    call = next(call for call in created.calls if call.name == "TransactWriteItems")
    request = call.request.replace(run.workspace.encode(), b"another")
    created.calls.append(call._replace(name="GetItem", request=request, response=b"{}"))
    assert "items of 2 workspaces" in run.found()


def test_state_that_counts_as_published_and_is_not_is_found(run: Run) -> None:
    published = [one for one in run.trace.invocations if any(b"Line State" in call.request for call in one.calls)]
    published[0].calls = []
    assert "counts as published, and is not" in run.found()


def alter_request(run: Run, name: str, old: bytes, new: bytes) -> None:
    """In the first call of that name that has it."""
    for one in run.trace.invocations:
        for number, call in enumerate(one.calls):
            if call.name.startswith(name) and old in call.request:
                one.calls[number] = call._replace(request=call.request.replace(old, new))
                return
    raise LookupError(name)


def test_charge_of_another_amount_is_found(run: Run) -> None:
    alter_request(run, "POST /v1/invoiceitems", b"unit_amount]=1", b"unit_amount]=2")
    assert "charges ('2500', 'usd'" in run.found()


def test_quantity_that_is_prorated_is_found(run: Run) -> None:
    alter_request(run, "POST /v1/subscription_items", b"proration_behavior=none", b"proration_behavior=always_invoice")
    assert "has proration_behavior always_invoice" in run.found()


def test_state_that_is_published_otherwise_than_stored_is_found(run: Run) -> None:
    alter_request(run, "PutEvents", b"provisioning", b"failed")
    assert "is published with {'status': 'failed'" in run.found()


# --- a record that is not whole --------------------------------------------------------------------


def test_write_without_an_effect_is_found(run: Run) -> None:
    del run.trace.commits[run.commit(is_in("active"))]
    assert "TransactWriteItems was answered, and has changed nothing" in run.found()


def test_change_that_is_missing_in_the_record_is_found(run: Run) -> None:
    """Of an object that is there, of one that is there no more, and of one that was only recorded."""
    one, two = ("invoice", "in_1"), ("invoice", "in_2")
    changes = [Change(1, 2, {one: {"status": "draft"}}), Change(3, 4, {one: {"status": "open"}, two: None})]
    assert list(differing("Stripe", changes, {one: {"status": "open"}})) == []
    assert len(list(differing("Stripe", changes[:1], {one: {"status": "open"}}))) == 1
    assert len(list(differing("Stripe", changes, {one: {"status": "open"}, two: {}}))) == 1
    assert len(list(differing("Stripe", changes, {}))) == 1
    assert list(differing("table", run.trace.commits[:1], {})) != []


def test_report_has_the_calls_and_nothing_personal(run: Run) -> None:
    number = run.commit(is_in("active"))
    [item] = [item for (_, sk), item in run.trace.commits[number].objects.items() if item and sk.startswith("LINE#")]
    item["status"] = {"S": "failed"}
    report = run.found()
    assert "provisioning_result" in report
    assert "TransactWriteItems LINE#" in report
    assert not any(word in report for word in ("Ada", "Lovelace", "tuco_", "sk_test", "Bearer"))
    assert json.dumps(PHONE)[:30] not in report
