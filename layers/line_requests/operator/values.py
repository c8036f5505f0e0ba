"""Values of a view that a person and a script read differently: times and amounts."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import UTC, datetime

from line_requests.domain.ids import iso_utc

# https://docs.stripe.com/currencies#zero-decimal and #three-decimal
ZERO_DECIMAL = frozenset(
    {"bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga", "pyg", "rwf", "vnd", "vuv", "xaf", "xof", "xpf"}
)
THREE_DECIMAL = frozenset({"bhd", "jod", "kwd", "omr", "tnd"})
SYMBOLS = {"usd": "$", "eur": "€", "gbp": "£", "jpy": "¥"}


class Value(ABC):
    """Its text is for a person, `to_json` for a script."""

    @abstractmethod
    def to_json(self) -> object:
        """As JSON carries it."""


@dataclass(frozen=True, slots=True)
class Moment(Value):
    """A point in time."""

    epoch_ms: int

    def __str__(self) -> str:
        """Such as `18 Nov 2026 11:06:40 UTC`."""
        return datetime.fromtimestamp(self.epoch_ms / 1000, UTC).strftime("%d %b %Y %H:%M:%S UTC")

    def to_json(self) -> str:
        """ISO 8601."""
        return iso_utc(self.epoch_ms)


@dataclass(frozen=True, slots=True)
class Money(Value):
    """An amount in minor units of its currency."""

    amount: int
    currency: str

    def __str__(self) -> str:
        """Such as `$15.00`, `¥1,500` or `15.00 CHF`."""
        digits = 0 if self.currency in ZERO_DECIMAL else 3 if self.currency in THREE_DECIMAL else 2
        major, minor = divmod(abs(self.amount), 10**digits)
        number = f"{major:,}" + (f".{minor:0{digits}}" if digits else "")
        sign, symbol = "-" if self.amount < 0 else "", SYMBOLS.get(self.currency)
        return f"{sign}{symbol}{number}" if symbol else f"{sign}{number} {self.currency.upper()}"

    def to_json(self) -> dict[str, object]:
        """As Stripe's API has it."""
        return {"amount": self.amount, "currency": self.currency}


def moment(epoch_ms: int | None) -> Moment | None:
    """A time that may be missing."""
    return None if epoch_ms is None else Moment(epoch_ms)
