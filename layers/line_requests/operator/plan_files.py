"""Plan files: TOML that says what the base prices of subscriptions grant."""

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, Self

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, Strict, StringConstraints, ValidationError, model_validator

from line_requests.domain.errors import InvalidPlan
from line_requests.domain.prices import Excess, FirstCharge, Plan
from line_requests.domain.submission import Kind

# A copy of the plan lies in each of its workspaces, which have to stay small.
_NAME = re.compile(r"[a-z0-9_-]{1,40}")
_PriceId = Annotated[str, StringConstraints(pattern=r"^price_\w+$|^plan_\w+$", max_length=255)]
_TaxRateId = Annotated[str, StringConstraints(pattern=r"^txr_\w+$", max_length=255)]
LINES_MAX = 1_000_000
_Kind = Annotated[Kind, Strict(strict=False)]
_HEADER = re.compile(r"\s*\[([^\[\]]+)\]")
_KEY = re.compile(r"\s*([\w\-\"'.]+)\s*=")


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class LineGrant(_Strict):
    """What a plan's file says about one kind of line."""

    included: int = Field(ge=0, le=LINES_MAX)
    add_on: _PriceId | None = None
    cap: int | None = Field(default=None, ge=0, le=LINES_MAX)

    @model_validator(mode="after")
    def _has_room_for_the_included(self) -> Self:
        if self.cap is not None and self.cap < self.included:
            raise ValueError(f"the cap {self.cap} is less than the {self.included} included")
        return self


class PlanSpec(_Strict):
    """A plan as its file says it; a kind of line that is not listed is not on the plan."""

    base_prices: list[_PriceId] = Field(min_length=1)
    tax: Literal["automatic"] | list[_TaxRateId] = Field(default=[])
    excess: Excess = "keep"
    first_charge: FirstCharge = "prorated"
    # Stripe's limits: https://docs.stripe.com/api/invoices/create
    invoice_memo: str | None = Field(default=None, min_length=1, max_length=1500)
    invoice_footer: str | None = Field(default=None, min_length=1, max_length=5000)
    lines: dict[_Kind, LineGrant]


@dataclass(frozen=True, slots=True)
class Mistake:
    """One thing that is wrong with a plan."""

    plan: str
    field: tuple[str, ...]
    message: str
    line: int | None = None
    """Its line in the file; None when the file was not looked at."""

    def __str__(self) -> str:
        """Such as `plan starter: lines.email.cap: …`."""
        where = ".".join(self.field) or "the plan"
        return f"plan {self.plan}: {where}: {self.message}"


class InvalidPlans(InvalidPlan):
    """Plans that cannot be applied, with every mistake in them."""

    def __init__(self, mistakes: Sequence[Mistake]) -> None:
        super().__init__("; ".join(map(str, mistakes)))
        self.mistakes = tuple(mistakes)

    def located(self, text: str) -> "InvalidPlans":
        """The same, each mistake with its line in the file."""
        lines = _lines_by_path(text)
        return InvalidPlans(
            [replace(mistake, line=_line_of((mistake.plan, *mistake.field), lines)) for mistake in self.mistakes]
        )


def read(text: str) -> dict[str, PlanSpec]:
    """The plans of a TOML file, by name; raises InvalidPlan, or InvalidPlans with all mistakes."""
    try:
        tables = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidPlan(f"not TOML: {error}") from None
    return parse(tables)


def parse(tables: Mapping[str, Any]) -> dict[str, PlanSpec]:
    """The same from tables that are read already."""
    specs, mistakes = {}, list[Mistake]()
    for name, table in tables.items():
        if not _NAME.fullmatch(name):
            mistakes.append(Mistake(name, (), "a name is 1 to 40 of a-z, 0-9, - and _"))
            continue
        try:
            specs[name] = PlanSpec.model_validate(table)
        except ValidationError as error:
            mistakes += [
                Mistake(name, _field(fault["loc"]), fault["msg"].removeprefix("Value error, "))
                for fault in error.errors()
            ]
    if mistakes:
        raise InvalidPlans(mistakes)
    if not specs:
        raise InvalidPlan("the file has no plan")
    return specs


def _field(loc: tuple[int | str, ...]) -> tuple[str, ...]:
    return tuple(str(part) for part in loc if part != "[key]")


def table_of(plan: Plan) -> dict[str, Any]:
    """An applied plan as its file says it."""
    table: dict[str, Any] = {"base_prices": list(plan.base_prices)}
    if plan.automatic_tax or plan.tax_rates:
        table["tax"] = "automatic" if plan.automatic_tax else list(plan.tax_rates)
    if plan.excess != "keep":
        table["excess"] = plan.excess
    if plan.first_charge != "prorated":
        table["first_charge"] = plan.first_charge
    texts = {"invoice_memo": plan.invoice_memo, "invoice_footer": plan.invoice_footer}
    table |= {name: text for name, text in texts.items() if text is not None}
    lines: dict[str, dict[str, Any]] = {}
    for kind, allowance in plan.allowances.items():
        grant = {"included": allowance.included, "cap": allowance.cap}
        given = grant | {"add_on": allowance.add_on.price if allowance.add_on else None}
        lines[str(kind)] = {name: value for name, value in given.items() if value is not None}
    return table | {"lines": lines}


def to_toml(plans: Sequence[Plan]) -> str:
    """A file that `read` reads as these plans."""
    return tomli_w.dumps({plan.name: table_of(plan) for plan in plans})


# --- where a mistake is, which tomllib does not tell --------------------------------------------

Path = tuple[str, ...]


def _lines_by_path(text: str) -> dict[Path, int]:
    found: dict[Path, int] = {}
    for path, line in _headers_and_keys(text):
        found.setdefault(path, line)
    return found


def _headers_and_keys(text: str) -> Iterator[tuple[Path, int]]:
    table: Path = ()
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _HEADER.match(line):
            table = _parts(header[1])
            # A plan may have no header of its own, only those of its tables.
            yield from ((table[:depth], number) for depth in range(1, len(table) + 1))
        elif key := _KEY.match(line):
            yield (*table, *_parts(key[1])), number


def _parts(dotted: str) -> Path:
    return tuple(part.strip(" \t\"'") for part in dotted.split("."))


def _line_of(path: Path, lines: Mapping[Path, int]) -> int | None:
    """The line of the field, or of the nearest table around it: a missing field has no line of its own."""
    while path:
        if path in lines:
            return lines[path]
        path = path[:-1]
    return None
