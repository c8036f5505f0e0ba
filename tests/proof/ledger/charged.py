"""What was charged, read off Stripe's invoices and pending items; and how that differs from what had to be."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from tests.proof.ledger import history, oracle, plans
from tests.proof.memory_objects import Json, invoice_item_of
from tests.proof.memory_stripe import MemoryStripe

Key = tuple[str, tuple[int, int], str]
"""What was charged for which time in which currency."""


class Pending(NamedTuple):
    """An invoice item of a charge in the middle of a period."""

    number: str
    kind: str


class Charged(NamedTuple):
    """A line of an invoice, or an item that awaits the next one."""

    what: str
    period: tuple[int, int]
    currency: str
    amount: int


class Wrong(NamedTuple):
    """Seconds of places that were charged twice, or for nothing; and where."""

    twice_s: int
    free_s: int
    where: tuple[str, ...]


def charges_at(account: MemoryStripe) -> Iterator[Pending]:
    """The charges in the middle of periods, by number."""
    for item in _pending(account):
        yield Pending(item["metadata"]["charge"], "email" if "email" in item["description"] else "purchased_phone")


def _pending(account: MemoryStripe) -> Iterator[Json]:
    for item in account.pending_items.values():
        if "charge" in item["metadata"]:
            yield item | {"product": item["pricing"]["product"]}
    for invoice in account.invoices.values():
        for line in invoice["lines"]["data"]:
            if "charge" in line["metadata"]:
                yield line | {"product": line["pricing"]["price_details"]["product"]}


def _price_of(product: str) -> str:
    return product.removeprefix("prod_")


def charged(account: MemoryStripe) -> Iterator[Charged]:
    """All that was charged for lines beyond the plan."""
    for item in _pending(account):
        yield _charged(f"pending {_price_of(item['product'])}", item)
    for invoice in account.invoices.values():
        for line in invoice["lines"]["data"]:
            details = line["pricing"]["price_details"]
            if invoice["metadata"].get("line_id") and invoice["status"] == "paid":
                yield _charged(f"line {_price_of(details['product'])}", line)
            elif invoice_item_of(line) is None and details["price"] in plans.UNIT_AMOUNTS:
                yield _charged(f"renewal {details['price']}", line)


def _charged(what: str, line: Json) -> Charged:
    return Charged(what, (line["period"]["start"], line["period"]["end"]), line["currency"], line["amount"])


def compare(expected: Iterable[history.Charge], actual: Iterable[Charged]) -> Wrong:
    """Charges for the same time are one; the amounts are equal, for contract 51 says how to round.

    Places that become owed in the same second, one after the other, may be an item each, which is rounded by itself,
    and begins where what was charged for its place ends; for one that is rounded to nothing, no item is made.
    """
    due: dict[Key, list[int]] = defaultdict(list)
    places = Counter[Key]()
    for charge in expected:
        key = charge.what, charge.period, charge.currency
        due[key].append(charge.amount)
        places[key] += charge.places
    made: dict[Key, list[int]] = defaultdict(list)
    for one in actual:
        made[one.what, one.period, one.currency].append(one.amount)
    unequal = [key for key in sorted(due.keys() | made.keys(), key=str) if not _equal(due, made, places, [key])]
    same_end: dict[tuple[str, int, str], list[Key]] = defaultdict(list)
    for key in unequal:
        same_end[key[0], key[1][1], key[2]].append(key)
    twice_s, free_s, where = 0, 0, []
    for key in (key for keys in same_end.values() if not _equal(due, made, places, keys) for key in keys):
        amount, wanted = sum(made[key]), sum(due[key])
        what, (start_s, end_s), currency = key
        unit = plans.UNIT_AMOUNTS[what.split()[1]][currency]
        seconds = round((amount - wanted) * plans.LENGTHS_S[what.split()[1]] / unit)
        twice_s, free_s = twice_s + max(0, seconds), free_s - min(0, seconds)
        where.append(f"{what} {start_s}-{end_s}: {amount} {currency} instead of {wanted}")
    return Wrong(twice_s, free_s, tuple(where))


def _equal(
    due: Mapping[Key, list[int]], made: Mapping[Key, list[int]], places: Counter[Key], keys: Sequence[Key]
) -> bool:
    """Whether all of it is what was due; more items than charges may be rounded a step further each.

    Of places without an item, each may lack what is rounded to nothing.
    """
    wanted, amounts = ([amount for key in keys for amount in of.get(key, ())] for of in (due, made))
    [step] = {oracle.STEPS.get(currency, 1) for _, _, currency in keys}
    more = max(0, len(amounts) - len(wanted)) if wanted else 0
    lacking, without_item = sum(wanted) - sum(amounts), max(0, sum(places[key] for key in keys) - len(amounts))
    return abs(lacking) <= more * step or 0 < lacking <= without_item * step // 2
