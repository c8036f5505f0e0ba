"""What a line counts for, which lines can stand together, and which of a line's facets are enough to look at."""

from collections.abc import Sequence
from typing import NamedTuple

from tests.proof.others_line import Facet, item_digest

INCLUDED = 1


class Weight(NamedTuple):
    """What a line counts for."""

    waiting: bool
    held: bool
    unpaid: bool
    included: bool
    waived: bool
    """It is to be included, once its invoice is void."""


_weights: dict[int, Weight] = {}


def weight(facet: Facet) -> Weight:
    """What the line counts for."""
    digest = item_digest(facet)
    if digest not in _weights:
        line = facet.line
        held = line.get("status") in {"awaiting_payment", "provisioning", "active"}
        payment = line.get("payment_status")
        waiting = line.get("status") == "awaiting_payment"
        waived = waiting and line.get("void_reason") == "included"
        free = held and payment == "not_required"
        _weights[digest] = Weight(waiting, held, held and payment != "paid", free, waived)
    return _weights[digest]


def permitted(lines: Sequence[Facet], cap: int) -> bool:
    """Whether these lines can stand together."""
    weights = [weight(facet) for facet in lines]
    records = [facet.record.item["sk"]["S"] for facet in lines if facet.record]
    # The line itself is one of the unpaid, so its place cannot be taken by another.
    waived = any(one.waived for one in weights) and sum(one.unpaid for one in weights) > INCLUDED
    return (
        not waived
        and sum(one.waiting for one in weights) <= 1
        and sum(one.held for one in weights) <= cap
        and sum(one.included for one in weights) <= INCLUDED
        and len(set(records)) == len(records)
    )


_known_leased: dict[int, list[Facet]] = {}


def with_lease(found: list[Facet], now: Facet) -> list[Facet]:
    """Those of a line's facets in which its lease is as it is; none is held on a new line."""
    if id(found) not in _known_leased:
        lease = now.line.get("lease_until_ms", 0)
        _known_leased[id(found)] = [one for one in found if one.line.get("lease_until_ms", lease) == lease]
    return _known_leased[id(found)]


_known_not_waiting: dict[int, list[Facet]] = {}


def not_waiting(found: list[Facet]) -> list[Facet]:
    """Those of a line's facets in which it does not await payment."""
    if id(found) not in _known_not_waiting:
        _known_not_waiting[id(found)] = [facet for facet in found if not weight(facet).waiting]
    return _known_not_waiting[id(found)]


_known_sorts: dict[int, list[list[Facet]]] = {}


def sorts_of(found: list[Facet]) -> list[list[Facet]]:
    """By what decides whether they can stand beside other lines: what they count for, and their record."""
    if id(found) not in _known_sorts:
        sorts: dict[object, list[Facet]] = {}
        for facet in found:
            sorts.setdefault((weight(facet), facet.record and facet.record.item["sk"]["S"]), []).append(facet)
        _known_sorts[id(found)] = [*sorts.values()]
    return _known_sorts[id(found)]


_known_coarse: dict[int, list[Facet]] = {}


def coarse(found: list[Facet]) -> list[Facet]:
    """The line as it is, and the nearest facet of each sort that counts for something else."""
    if id(found) not in _known_coarse:
        nearest: dict[object, Facet] = {}
        for facet in found:
            nearest.setdefault((weight(facet), bool(facet.record), bool(facet.item)), facet)
        _known_coarse[id(found)] = [*nearest.values()]
    return _known_coarse[id(found)]
