"""The bill is that of the template as it is, and its assumptions about the table are what DynamoDB counts."""

from __future__ import annotations

import copy
import re
from typing import TYPE_CHECKING, Any

import pytest

from benchmark import bill
from benchmark.goals import GOALS
from line_requests.clock import Clock, wall_time_ms
from tests.races.conftest import shop
from tests.store.conftest import endpoint, world
from tests.support.shop import clock

if TYPE_CHECKING:
    from tests.support.shop import Shop

__all__ = ["endpoint", "shop", "world"]

Json = dict[str, Any]
MEASURED = {"create_included": (0.045, 3.0, 7.0), "replay": (0.02, 3.0, 1.0), "get": (0.012, 2.0, 0.0)}


@pytest.fixture(scope="module")
def template() -> Json:
    return bill.translated()


def of_type(template: Json, kind: str) -> list[str]:
    return [name for name, resource in template["Resources"].items() if resource["Type"] == f"AWS::{kind}"]


def without(template: Json, name: str) -> Json:
    changed = copy.deepcopy(template)
    del changed["Resources"][name]
    return changed


def test_idle_month_is_within_its_goals(template: Json) -> None:
    goals = [goal for goal in GOALS if goal.path.startswith("bill.")]
    assert len(goals) == 2
    figures = {"bill": {"idle_month": bill.idle(template)}}
    assert [goal.path for goal in goals if goal.used(goal.value(figures)) > 1] == []


def test_whole_idle_month_has_a_price(template: Json) -> None:
    parts = bill.idle_month(template)
    assert min(parts.values()) > 0
    assert sum(parts.values()) == bill.idle(template)["with_snapshots"]


def test_deploy_page_shows_the_bill(template: Json) -> None:
    page = (bill.ROOT / "docs/deploy.md").read_text()
    shown = re.findall(r"^\| (.+) \| ([\d.]+) \|$", page.partition("| dollars a month |")[2], re.MULTILINE)
    parts = bill.idle_month(template)
    assert [(part.split(",")[0].split(";")[0], dollars) for part, dollars in shown] == [
        (name, f"{dollars:.2f}") for name, dollars in parts.items()
    ]
    idle = bill.idle(template)
    assert f"${idle['with_snapshots']:.2f} a month, and ${idle['without_snapshots']:.2f} without" in page


def test_readme_says_what_an_idle_month_costs_and_bill_prints_it(
    template: Json, capsys: pytest.CaptureFixture[str]
) -> None:
    bill.main()
    printed = dict(re.findall(r"^(with|without) snapshots +([\d.]+)$", capsys.readouterr().out, re.MULTILINE))
    idle = bill.idle(template)
    assert printed == {name.partition("_")[0]: f"{dollars:.2f}" for name, dollars in idle.items()}
    readme = " ".join((bill.ROOT / "README.md").read_text().split())
    assert (
        "an idle month costs about {with_snapshots:.0f} dollars, {without_snapshots:.0f} without".format(**idle)
        in readme
    )


def test_every_alarm_costs_by_the_metrics_that_it_reads(template: Json) -> None:
    before = bill.idle_month(template)["alarms"]
    dollars = {
        name: before - bill.idle_month(without(template, name))["alarms"]
        for name in of_type(template, "CloudWatch::Alarm")
    }
    assert {name for name, price in dollars.items() if round(price, 2) != 0.10} == {"NobodyAnswersAlarm"}
    assert round(dollars["NobodyAnswersAlarm"], 2) == 0.20


def test_dashboard_and_polled_queue_cost(template: Json) -> None:
    for kind, part in {"CloudWatch::Dashboard": "dashboard", "Lambda::EventSourceMapping": "queue"}.items():
        changed = template
        for name in of_type(template, kind):
            changed = without(changed, name)
        assert bill.idle_month(changed)[part] == 0


def test_snapshots_cost_by_the_memory_of_their_functions(template: Json) -> None:
    changed = copy.deepcopy(template)
    changed["Resources"]["CreateLineRequest"]["Properties"]["MemorySize"] *= 2
    cost = {name: bill.idle_month(one)["snapshots"] for name, one in (("before", template), ("after", changed))}
    assert cost["after"] / cost["before"] == pytest.approx(3.5 / 2.5)
    assert bill.idle(changed)["without_snapshots"] == pytest.approx(bill.idle(template)["without_snapshots"])


def test_schedule_costs_by_its_rate(template: Json) -> None:
    changed = copy.deepcopy(template)
    changed["Parameters"]["ReconcileSchedule"]["Default"] = "rate(5 minutes)"
    for part in ("reconciler", "reconciler's table units", "logs"):
        assert bill.idle_month(template)[part] == pytest.approx(5 * bill.idle_month(changed)[part])


def test_traces_cost_only_if_they_are_on(template: Json) -> None:
    changed = copy.deepcopy(template)
    changed["Parameters"]["Tracing"]["Default"] = "Active"
    for one, dollars in ((template, 0), (changed, 5)):
        assert {parts["traces"] for parts in bill.per_million(one, MEASURED).values()} == {dollars}


def test_a_created_line_pays_for_what_follows_it(template: Json) -> None:
    parts = bill.per_million(template, MEASURED)
    assert set(parts["create_included"]) - set(parts["get"]) == {"stream", "bus", "queue", "results"}
    assert set(parts["replay"]) - set(parts["get"]) == {"stream"}


def test_run_with_nothing_to_do_consumes_what_the_bill_says(shop: Shop) -> None:
    shop.product.reconciler(clock()).run()
    shop.world.wire.watch()
    shop.product.reconciler(Clock(wall_time_ms() + 60_000, 60)).run()
    assert shop.world.wire.units == bill.IDLE_RUN_READS + bill.IDLE_RUN_WRITES


def test_result_consumes_what_the_bill_says(shop: Shop) -> None:
    shop.workspace(1)
    shop.submit()
    [line] = shop.consistent()
    shop.world.wire.watch()
    shop.world.lines.get("acme", line.id)
    assert shop.world.wire.units == bill.RESULT_READS
    shop.world.wire.watch()
    shop.world.lines.mark_active(line, wall_time_ms())
    assert shop.world.wire.units == bill.RESULT_WRITES
