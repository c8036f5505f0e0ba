"""`make bench`: measures everything in one run, side by side; prints, draws and writes it."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

from benchmark import (
    bill,
    budget,
    cold_start,
    demo,
    drawing,
    growth,
    handler_cpu,
    hot_workspace,
    one_round_trip,
    operators,
    reconcile,
    side_by_side,
)
from benchmark.goals import GOALS
from benchmark.world import World

ROOT = Path(__file__).parents[1]
BUILD = ROOT / "build"
ENGINES = 7

Figures = dict[str, Any]
T = TypeVar("T")


def main() -> None:
    """Measures, with as many rounds as ROUNDS says."""
    rounds = int(os.environ.get("ROUNDS", "15"))
    figures: Figures = {}
    _with_world("round trips", lambda world: _count(figures, world))
    _with_world("wall", lambda world: _compare(figures, world, rounds * 3))
    _with_world("cold start", lambda world: figures.update(cold_start.measure(world, rounds)))
    # Several engines, because how a process lies in the processor's caches moves the figure by a tenth.
    ratios = [_with_world("CPU", lambda world: handler_cpu.measure(world, rounds)) for _ in range(ENGINES)]
    figures["handler_cpu_to_getitem"] = median(ratios)
    _with_world("hot workspace", lambda world: figures.update(hot_workspace=hot_workspace.measure(world, 5)))
    _with_world("experiment", lambda world: _try_blind(world, rounds * 2))
    figures["demo"] = {"seconds": demo.seconds()}
    figures["package_mb"] = {"layers": _layer_mb()}
    _with_world("reconciler", lambda world: figures.update(reconcile=reconcile.measure(world, 1_000, 10_000)))
    _with_world("operator", lambda world: figures.update(operator=operators.measure(world)))
    _with_world("growth", lambda world: figures.update(growth=growth.measure(world)))
    BUILD.mkdir(exist_ok=True)
    (BUILD / "bench.json").write_text(json.dumps(figures, indent=2) + "\n")
    (BUILD / "bench.svg").write_text(drawing.svg(figures))
    _print_table(figures)


def _with_world(name: str, measure: Callable[[World], T]) -> T:
    """A fresh engine for each measurement, so that none inherits another's load."""
    started_s = time.monotonic()
    print(f"{name} …", end="", flush=True)
    with World() as world:
        world.session()
        found = measure(world)
    print(f" {time.monotonic() - started_s:.0f} s", flush=True)
    return found


def _count(figures: Figures, world: World) -> None:
    costs = budget.measure(world)
    counted = ("create_included", "replay", "conflict", "refused", "get")
    figures["round_trips"] = {name: costs[name].round_trips for name in counted}
    figures["stripe_calls"] = {name: costs[name].stripe_calls for name in ("create_paid", "poll_settled")}
    figures["wcu"] = {"create_included": costs["create_included"].write_units}


def _compare(figures: Figures, world: World, rounds: int) -> None:
    pairs = side_by_side.measure(world, rounds)
    figures["wall_to_peer"] = {name: pair.our_seconds / pair.peer_seconds for name, pair in pairs.items()}
    measured = {name: (of.our_seconds, of.ours.read_units, of.ours.write_units) for name, of in pairs.items()}
    template = bill.translated()
    figures["bill"] = {"idle_month": bill.idle(template), "per_million": bill.per_million(template, measured)}
    print()
    for name, pair in pairs.items():
        for side, seconds, answer in (
            ("ours", pair.our_seconds, pair.ours),
            ("peer", pair.peer_seconds, pair.peers),
        ):
            dollars = bill.dollars_per_million(seconds, answer.read_units, answer.write_units)
            print(
                f"  {name:16} {side}: {seconds * 1000:5.1f} ms, {answer.read_units:g} read and "
                f"{answer.write_units:g} write units, ${dollars:.2f} a million; {' '.join(answer.operations)}"
            )


def _try_blind(world: World, rounds: int) -> None:
    found = one_round_trip.measure(world, rounds)
    print(f" ms: {', '.join(f'{name} {value:.0f}' for name, value in found.items())}", end="")


def _layer_mb() -> float:
    """The size of the layer that `sam build` makes, with its own recipe."""
    with tempfile.TemporaryDirectory() as directory:
        # The interpreter behind the environment's: it has pip.
        python = Path(sys.executable).resolve()
        recipe = ["make", "-C", str(ROOT / "layers"), "build-LineRequestsLayer", f"PYTHON={python}"]
        subprocess.run([*recipe, f"ARTIFACTS_DIR={directory}"], check=True, stdout=subprocess.DEVNULL)
        return sum(path.stat().st_size for path in Path(directory).rglob("*") if path.is_file()) / 1_000_000


def _print_table(figures: Figures) -> None:
    """One line for each goal."""
    print(f"\n{'figure':45} {'measured':>10} {'goal':>8}")
    for goal in GOALS:
        value = goal.value(figures)
        reached = goal.used(value) <= 1
        print(f"{goal.path:45} {value:10.3g} {goal.sense + format(goal.limit, 'g'):>8} {'' if reached else ' missed'}")
    for name, parts in figures["bill"]["per_million"].items():
        each = ", ".join(f"{part} {dollars:.2f}" for part, dollars in parts.items())
        print(f"a million of {name}: ${sum(parts.values()):.2f} ({each})")
    for size, costs in figures["growth"].items():
        shown = (f"{name} {'/'.join(f'{value:g}' for value in cost.values())}" for name, cost in costs.items())
        print(f"growth at {size:>7} lines, calls/read/write units: {', '.join(shown)}")


if __name__ == "__main__":
    main()
