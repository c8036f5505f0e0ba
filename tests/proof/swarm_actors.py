"""The actors of a random walk: those of the scenarios, for one of two workspaces, with clocks of their own."""

import datetime
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random
from typing import TypeVar

from tests.proof import people, restores, stage
from tests.proof.actors import Call, Json, Line, Lines, Script
from tests.proof.runs import ANY_ORDER
from tests.proof.scenarios import ACTORS, ANYTIME, PAIRS
from tests.proof.tenants import EVERYONE, FIRST, SECOND, Tenant, for_tenant
from tests.proof.world import Act, Pause, Result, World

T = TypeVar("T")

DAY_MS = 24 * 3_600_000
# Half of it either way, so that two clocks are a minute apart at most.
SKEW_MAX_MS = 60_000
# A webhook whose event looks older or newer than five minutes is refused; its signature is made by a right clock.
FUTURE_MAX_MS = 290_000
# Lambda drops what is older (MaximumEventAgeInSeconds in the template).
SCHEDULE_LATE_MAX_MS = 60_000
# These serve all workspaces in one run.
SHARED = {"reconcile", "reconcile-ahead", "stream", "stream-doubled", "stream-late"}
# What the neighbour begins with, and who acts there.
NEIGHBOURS = ("room", "full", "waiting", "provisioning")


def stream_late() -> Script:
    """The table's stream, whose first records arrive a day late."""

    def script() -> Lines:
        records = yield Act("the stream has records", stage.when(stage.records_of))
        yield Pause(DAY_MS)
        for _ in range(3):
            answer = yield Call("publish_changes", lambda _: records)
            if not answer.get("crashed") and not answer.get("batchItemFailures"):
                return

    return Script("stream, a day late", script)


CHANGES = (*ANYTIME, "end-unheard", "switch")
# Those of restores pay what the table does not have: here, that would be another workspace's.
SCRIPTS = {name: script for name, script in ACTORS.items() if name not in restores.ACTORS}
SCRIPTS["stream-late"] = stream_late()


@dataclass(frozen=True)
class Actor(Script):
    """A script for one workspace, or for all."""

    who: Tenant = FIRST
    plain: Script = SCRIPTS["poll"]
    """The script as it is staged."""


def cast_for(rng: Random, beginning: str, neighbours: str) -> tuple[Actor, ...]:
    """Two to five actors; some of them twice, and sometimes two or three reconcilers."""
    chosen = [_choice(rng, beginning, neighbours) for _ in range(rng.randint(2, 5))]
    if rng.random() < 0.2:
        chosen[:2] = [("reconcile", FIRST)] * rng.randint(2, 3)
    elif rng.random() < 0.3:
        chosen[-1] = chosen[0]
    return tuple(_actor(rng, number, name, who) for number, (name, who) in enumerate(chosen[:5], 1))


def _choice(rng: Random, beginning: str, neighbours: str) -> tuple[str, Tenant]:
    who, where = rng.choice(((FIRST, beginning), (FIRST, beginning), (SECOND, neighbours)))
    # Most often who meets there in pairs, too; or changes of the plan; or anyone.
    [names] = rng.choices((PAIRS[where], CHANGES, SCRIPTS), (6, 2, 2))
    return rng.choice(sorted(names)), who


def _actor(rng: Random, number: int, name: str, who: Tenant) -> Actor:
    script, who = SCRIPTS[name], EVERYONE if name in SHARED else who
    skew_ms = script.skew_ms or rng.choice((0, rng.randint(-SKEW_MAX_MS // 2, SKEW_MAX_MS // 2)))
    times = rng.choice(("", "", "", "events of the future", "a day late", "webhooks lost"))
    shift_ms = {"events of the future": rng.randint(1, FUTURE_MAX_MS), "a day late": -DAY_MS}.get(times, 0)
    of = "" if who is FIRST else " for all" if who is EVERYONE else f" of {who.workspace}"
    clock = f"clock {skew_ms / 1000:+g} s" if skew_ms else ""
    order = ANY_ORDER if rng.random() < 0.5 else ""
    label = ", ".join(filter(None, (f"{number}. {script.name}{of}", clock, times, order)))
    played = people.unheard(script) if times == "webhooks lost" else script
    return Actor(label, lambda: _lines(played, who, shift_ms), skew_ms, who, script)


def _lines(script: Script, who: Tenant, shift_ms: int) -> Lines:
    """The script's lines, for this workspace."""
    inner, result = script.lines(), None
    while True:
        try:
            with for_tenant(who):
                line = inner.send(result)
        except StopIteration:
            return
        if shift_ms < 0 and isinstance(line, Call) and line.function == "stripe_webhook":
            yield Pause(-shift_ms)
        result = yield _staged(line, who, shift_ms)


def _staged(line: Line, who: Tenant, shift_ms: int) -> Line:
    if isinstance(line, Call):
        event = line.event
        return replace(line, event=lambda now_ms: shifted(_within(who, event, now_ms), shift_ms))
    if isinstance(line, Act):
        effect: Callable[[World], tuple[World, Result] | None] = line.effect
        return replace(line, effect=lambda world: _within(who, effect, world))
    return line


def _within(who: Tenant, call: Callable[..., T], *args: object) -> T:
    with for_tenant(who):
        return call(*args)


def shifted(event: Json, ms: int) -> Json:
    """The event with another time; API Gateway's is its own and never late."""
    if not ms:
        return event
    if "requestContext" in event:
        context = event["requestContext"]
        return event | {"requestContext": context | {"timeEpoch": context["timeEpoch"] + max(0, ms)}}
    if "time" in event:
        ms = ms if "detail" in event else max(ms, -SCHEDULE_LATE_MAX_MS)
        moved = datetime.datetime.fromisoformat(event["time"]) + datetime.timedelta(milliseconds=ms)
        return event | {"time": moved.isoformat()}
    if "Records" in event and "body" in event["Records"][0]:
        bodies = [json.dumps(shifted(json.loads(record["body"]), ms)) for record in event["Records"]]
        records = [record | {"body": body} for record, body in zip(event["Records"], bodies, strict=True)]
        return event | {"Records": records}
    return event
