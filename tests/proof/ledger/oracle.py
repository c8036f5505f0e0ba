"""What a workspace has to be charged, from contract 50 to 52 alone.

It is told who asked, paid and gave back when, what Stripe's subscription was from when, and when a reconcile was
completed; never what was charged or set. It imports nothing of the product.
"""

import datetime
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from dateutil.relativedelta import relativedelta

from tests.proof.ledger.history import Charge, History, Line, Plan, Reconcile, State

# https://docs.stripe.com/currencies: Stripe accepts only multiples of these.
STEPS = {"isk": 100, "ugx": 100, "bhd": 10, "jod": 10, "kwd": 10, "omr": 10, "tnd": 10}
Covered = dict[str, Counter[int]]
"""Per kind, how many places are charged until when."""
CHARGED_STATUSES = {"active", "past_due", "unpaid"}


def charges(history: History) -> Iterator[Charge]:
    """Every charge, in the order of time."""
    covered: Covered = {line.kind: Counter() for line in history.lines.values()}
    quantities: dict[str, dict[str, int]] = {}
    uncounted: list[tuple[int, dict[str, int]]] = []
    now: State | None = None
    for event in _timeline(history):
        if isinstance(event, Line):
            charge = first_charge(event, _state_at(history, event.requested_s), history.unit_amounts)
            covered[event.kind][charge.period[1]] += 1
            yield charge
        elif isinstance(event, State):
            renewed = now and (now.subscription, now.period[1]) == (event.subscription, event.period[0])
            same = now and (now.subscription, now.period) == (event.subscription, event.period)
            if now and (not (renewed or same) or now.plan.interval != event.plan.interval):
                quantities = {}  # a new subscription, or another interval: Stripe charges what others put on it
            if renewed and event.status in CHARGED_STATUSES:
                for price, places in quantities.items():
                    uncounted.append((event.period[1], places))
                    unit, seconds = history.unit_amounts[price][event.currency], event.period[1] - event.period[0]
                    total = sum(places.values())
                    yield Charge(f"renewal {price}", event.period, event.currency, unit * total, seconds * total)
            now = event
        elif now and now.status != "canceled":
            for renewal in uncounted if event.counted else ():
                _count(history, now.plan, event.at_s, renewal, covered)
            uncounted = [] if event.counted else uncounted
            if now.status in CHARGED_STATUSES:
                yield from _shortages(history, now, event, covered)
            quantities = _quantities(history, now, event, covered, quantities)


def _count(history: History, plan: Plan, at_s: int, renewal: tuple[int, dict[str, int]], covered: Covered) -> None:
    """A renewal's places are, for each kind of its price, what it owes uncharged when counted; the rest the first's."""
    end_s, places = renewal
    left = sum(places.values())
    for kind in places:
        owed = _owed(history, plan, kind, at_s, soon=True) if kind in plan.grants else 0
        count = min(left, max(0, owed - sum(n for end, n in covered[kind].items() if end >= end_s)))
        covered[kind][end_s] += count
        left -= count
    covered[next(iter(places))][end_s] += left


def _quantities(
    history: History, now: State, event: Reconcile, covered: Covered, before: dict[str, dict[str, int]]
) -> dict[str, dict[str, int]]:
    """By price and kind, what the next renewal charges: what is owed then and not charged by a longer period (50)."""
    owed: dict[str, dict[str, int]] = {}
    for kind, (_, price) in now.plan.grants.items():
        ahead = sum(count for end, count in covered.get(kind, Counter()).items() if end > now.period[1])
        places = max(0, _owed(history, now.plan, kind, event.at_s) - ahead)
        owed.setdefault(price, {})[kind] = places
    if event.set is None:
        return owed
    kept = {price: places for price, places in before.items() if price not in event.set}
    return kept | {price: places for price, places in owed.items() if price in event.set}


def _timeline(history: History) -> Sequence[State | Line | Reconcile]:
    paid = [line for line in history.lines.values() if line.paid]
    events: list[tuple[float, int, State | Line | Reconcile]] = [
        *((state.at_s, 0, state) for state in history.states),
        *((line.settled_s, 1, line) for line in paid),
        *((reconcile.at_s, 2, reconcile) for reconcile in history.reconciles),
    ]
    return [event for _, _, event in sorted(events, key=lambda one: one[:2])]


def _state_at(history: History, at_s: int) -> State:
    heard_s = max(heard_s for heard_s in history.heard_s if heard_s <= at_s)
    return [state for state in history.states if state.at_s <= heard_s][-1]


def first_charge(line: Line, known: State, unit_amounts: Mapping[str, Mapping[str, int]]) -> Charge:
    """From the request to the next billing, by what was known of the subscription then (contract 51)."""
    start_s, end_s = known.period
    in_trial = known.status == "trialing" and line.requested_s < end_s
    while end_s <= line.requested_s:
        start_s, end_s = end_s, _next_end(known, end_s)
    length_s = _next_end(known, end_s) - end_s if in_trial else end_s - start_s
    price = known.plan.grants[line.kind][1]
    unit, seconds = unit_amounts[price][known.currency], end_s - line.requested_s
    amount = unit if known.plan.first_charge == "full" else _part(unit, seconds, length_s, known.currency)
    period = line.requested_s, end_s
    return Charge(f"line {price}", period, known.currency, min(unit, amount), seconds)


def _next_end(state: State, after_s: int) -> int:
    anchor, count, end_s = datetime.datetime.fromtimestamp(state.anchor_s, tz=datetime.UTC), 0, 0
    while end_s <= after_s:
        end_s = int((anchor + relativedelta(**{f"{state.plan.interval}s": count})).timestamp())  # type: ignore[arg-type] # Stripe's intervals are its names
        count += 1
    return end_s


def _part(unit: int, seconds: int, length_s: int, currency: str) -> int:
    step = STEPS.get(currency, 1)
    return (2 * unit * seconds + length_s * step) // (2 * length_s * step) * step


def _owed(history: History, plan: Plan, kind: str, at_s: int, *, soon: bool = False) -> int:
    """`soon`: a request that waits, and that the plan includes by now, has its place already."""
    there = [o for o in history.lines.values() if o.kind == kind and o.requested_s <= at_s < o.released_s]
    held, included = [line for line in there if line.settled_s <= at_s], plan.grants[kind][0]
    paid = sum(line.paid for line in held)
    beyond = max(0, len(there if soon and len(there) - paid <= included else held) - included)
    return beyond if plan.excess == "bill" else min(beyond, paid)


def _shortages(history: History, now: State, event: Reconcile, covered: Covered) -> Iterator[Charge]:
    """Owed places that are not charged to the period's end are, from now or from where their charge ends (52)."""
    start_s, end_s = now.period
    for kind, (_, price) in now.plan.grants.items():
        ends = sorted(covered.get(kind, Counter()).elements(), reverse=True)
        short = _owed(history, replace(now.plan, excess="keep"), kind, event.at_s) - sum(end >= end_s for end in ends)
        if short <= 0 or (event.charged is not None and kind not in event.charged):
            continue
        partly = [end for end in ends if event.at_s < end < end_s][:short]
        starts = partly + [event.at_s] * (short - len(partly))
        covered[kind].subtract(partly)
        covered[kind][end_s] += short
        seconds = sum(end_s - start for start in starts)
        amount = _part(history.unit_amounts[price][now.currency], seconds, end_s - start_s, now.currency)
        yield Charge(f"pending {price}", (min(starts), end_s), now.currency, amount, seconds, short)
