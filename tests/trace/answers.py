"""Answers of a trace, judged as the explorer judges those of its runs, by what their calls had seen and done."""

from __future__ import annotations

import base64
import json
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from tests.proof import observations
from tests.proof.actors import Call, Ended
from tests.proof.answers import judge_answer
from tests.proof.facts import Seen
from tests.proof.invariants import expect, invoices_of, see
from tests.proof.memory_reversals import PAYMENT
from tests.proof.tenants import FIRST
from tests.proof.world import Publish, Stripe, Violation, World
from tests.trace.reader import NS_PER_MS
from tests.trace.timeline import payments

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.trace.reader import Invocation, Recorded, Trace
    from tests.trace.timeline import Timeline

Json = dict[str, Any]

# The routes that the explorer knows, with the answers that depend on what is stored. Without 403: the explorer's plans
# have two kinds of lines, the local stack's three.
ROUTES = {
    "POST /api/line-requests": {201, 409, 429, 500, 502, 503},
    "GET /api/line-requests/{id}": {200, 500, 503},
    "POST /api/line-requests/{id}": {200, 409},
    "DELETE /api/lines/{id}": {200, 409},
}
OF_CLIENTS = {"create_line_request", "get_line_request", "manage_line_request"}


class Answers:
    """Judges the invocations of a trace."""

    def __init__(self, trace: Trace, timelines: Mapping[str, Timeline]) -> None:
        self._timelines = timelines
        self._invoice_of = payments(trace.acts)
        self._workspace_of = {
            sk.removeprefix("LINE#"): pk.removeprefix("W#") for change in trace.commits for pk, sk in change.objects
        }
        self._published = dict[str, int]()
        """When each event was taken by the bus."""
        for invocation in trace.invocations:
            for call in invocation.calls:
                if call.name == "PutEvents" and 0 < call.status < 400:
                    for event_id in _taken(call.request, call.response):
                        self._published[event_id] = min(call.ended_ns, self._published.get(event_id, call.ended_ns))

    def judge_calls(self, invocation: Invocation) -> None:
        """What it asked of Stripe and what it published is what was stored by then. Raises Violation."""
        for call in invocation.calls:
            if call.name == "PutEvents":
                [(step, _)] = call.steps()
                assert isinstance(step, Publish)
                for detail, name in zip(step.details, step.names, strict=True):
                    if timeline := self._timelines.get(detail.get("workspaceId", "")):
                        told = {**detail, "workspaceId": FIRST.workspace}
                        observations.published(told, name, timeline.at(call.began_ns))
            elif call.name.startswith("POST "):
                self._judge_request(call)

    def _judge_request(self, call: Recorded) -> None:
        [(step, _)] = call.steps()
        assert isinstance(step, Stripe)
        params = dict(step.params)
        workspace_id = self._workspace_of.get(params.get("metadata[line_id]", ""), "")
        if params.get("metadata[workspace_id]") == workspace_id:
            params["metadata[workspace_id]"] = FIRST.workspace
        if "payment_intent" in params:
            params["payment_intent"] = PAYMENT + self._invoice_of.get(params["payment_intent"], "")
        timeline = self._timelines.get(workspace_id)
        if timeline or not workspace_id:
            world = timeline.at(call.began_ns) if timeline else World()
            observations.requested(Stripe(step.method, step.path, params, step.key), world)

    def judge(self, invocation: Invocation) -> bool:
        """Raises Violation; False: it has no answer, or the explorer has no rule for it."""
        ended_ns = invocation.ended_ns
        if ended_ns is None or "raised" in invocation.answer:
            return False
        judged = False
        for event, world in self._judged(invocation, ended_ns):
            judged = True
            call = Call(invocation.function, lambda _, event=event: event)  # type: ignore[misc] # mypy does not infer it
            began_ms = invocation.began_ns // NS_PER_MS
            judge_answer(Seen(Ended(call, began_ms, invocation.last, (), invocation.answer)), world)
        return judged

    def _judged(self, invocation: Invocation, ended_ns: int) -> Iterator[tuple[Json, World]]:
        """What is to be judged: an event, and the world in the moment of its answer."""
        event = invocation.event
        if invocation.function in OF_CLIENTS:
            yield from self._of_client(invocation, ended_ns)
        elif invocation.function == "publish_changes":
            records = [one for one in event["Records"] if _line_of(one)]
            published = {name for name in map(_line_of, records) if self._published.get(name, ended_ns) < ended_ns}
            yield {"Records": records}, World(published=frozenset(published))
        elif invocation.function == "provisioning_result":
            by_workspace = defaultdict[str, list[Json]](list)
            set_aside = {one["itemIdentifier"] for one in invocation.answer["batchItemFailures"]}
            for record in event["Records"]:
                # What may have been delivered is no rule of the explorer's.
                if record["messageId"] not in set_aside or "delivered" not in record["body"]:
                    by_workspace[_workspace_of(record["body"])].append(record)
            for workspace_id, records in by_workspace.items():
                if workspace_id in self._timelines:
                    yield {"Records": records}, self._timelines[workspace_id].at(ended_ns)
        else:
            yield event, World()

    def _of_client(self, invocation: Invocation, ended_ns: int) -> Iterator[tuple[Json, World]]:
        named = workspaces(invocation)
        if len(named) > 1:
            raise Violation(f"a client's request has named items of {len(named)} workspaces")
        event = invocation.event
        judged = invocation.answer.get("statusCode") in ROUTES.get(event.get("routeKey"), ())
        if not judged or not named <= self._timelines.keys() or not named:
            return
        workspace_id = named.pop()
        world = self._timelines[workspace_id].at(ended_ns)
        line_id = (event.get("pathParameters") or {}).get("id")
        if line_id is None:
            if invocation.answer["statusCode"] == 409:
                _still_unpaid(invocation, self._timelines[workspace_id].at(invocation.began_ns))
            yield event | {"headers": _headers(event)}, world
        elif line_id.lower() in see(world).lines:
            yield event | {"pathParameters": {"id": line_id.lower()}, "body": _body(event)}, world


def _still_unpaid(invocation: Invocation, began: World) -> None:
    """A request is not refused for a holder that was paid or void before it, unless Stripe was in trouble."""
    if any(call.of_stripe and not 0 < call.status < 400 for call in invocation.calls):
        return
    holder = json.loads(invocation.answer["body"])["existingLine"]["_id"]
    own, _ = invoices_of(holder, see(began))
    settled = "paid" in own.values() or (own and set(own.values()) == {"void"})
    expect(not settled, f"409 because of line {holder}, whose invoice was {own} before")


def workspaces(invocation: Invocation) -> set[str]:
    """Whose items it has named in its calls to the table."""
    requests = [call.request for call in invocation.calls if not call.of_stripe]
    return {part.partition(b'"')[0].decode() for request in requests for part in request.split(b'"W#')[1:]}


def _headers(event: Json) -> Json:
    """The key as the product takes it; which of several is taken is no rule of the explorer's."""
    key = (event.get("headers") or {}).get("idempotency-key", "").strip()
    return {"idempotency-key": key} if key and "," not in key else {}


def _body(event: Json) -> str:
    body = event.get("body") or ""
    return base64.b64decode(body).decode(errors="replace") if event.get("isBase64Encoded") else body


def _line_of(record: Json) -> str:
    """The id of the event that a stream record of a line is published as; other records have none."""
    new = record["dynamodb"].get("NewImage", {})
    sk = new.get("sk", {}).get("S", "")
    return f"{sk.removeprefix('LINE#')}:{len(new['history']['L'])}" if sk.startswith("LINE#") else ""


def _workspace_of(body: str) -> str:
    """The workspace that a provisioner's result names; the malformed are left out."""
    try:
        detail = json.loads(body)["detail"]
        return str(detail["workspaceId"]) if isinstance(detail["eventId"], str) else ""
    except (ValueError, LookupError, TypeError):
        return ""


def _taken(request: bytes, response: bytes) -> Iterator[str]:
    entries = json.loads(response)["Entries"]
    for asked, answered in zip(json.loads(request)["Entries"], entries, strict=True):
        if "ErrorCode" not in answered:
            yield str(json.loads(asked["Detail"]).get("eventId"))
