"""What an assumption is, how its experiment is run, and what an experiment may say."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, TypeVar

import stripe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tests.assumptions.account import Account


T = TypeVar("T")

# Refusals that are about how a call is written, not about what it wants.
MALFORMED = frozenset({"parameter_missing", "parameter_unknown", "parameter_invalid_empty"})


class Verdict(StrEnum):
    TRUE = "TRUE"
    FALSE = "FALSE"
    NOT_TRIED = "NOT TRIED"


class DisprovedError(AssertionError):
    """Stripe does something else than assumed."""


class NotTriedError(Exception):
    """This account cannot answer the question."""


@dataclass(frozen=True, slots=True)
class Assumption:
    """One thing believed of Stripe; `if_true` and `if_false` say what the product then does."""

    name: str
    """Subject, behaviour, condition."""
    claim: str
    source: str
    """A page's address, or the dotted name in the SDK whose docstring says it."""
    if_true: str
    if_false: str
    experiment: Callable[[Account], None]


@dataclass(frozen=True, slots=True)
class Result:
    assumption: Assumption
    verdict: Verdict
    detail: str = ""
    left_behind: tuple[str, ...] = ()


def assumption(*, source: str, if_true: str, if_false: str) -> Callable[[Callable[[Account], None]], Assumption]:
    """Declare an experiment; its name is the assumption's name and its docstring the claim."""

    def declare(experiment: Callable[[Account], None]) -> Assumption:
        claim = " ".join((experiment.__doc__ or "").split())
        name = experiment.__name__.replace("_", "-")
        return Assumption(name, claim, source, if_true, if_false, experiment)

    return declare


def run(tried: Assumption, account: Account) -> Result:
    """Run one experiment, and remove what it made however it ends."""
    try:
        verdict, detail = _answer(tried, account)
    finally:
        left_behind = tuple(account.clean_up())
    return Result(tried, verdict, detail, left_behind)


def _answer(tried: Assumption, account: Account) -> tuple[Verdict, str]:
    try:
        tried.experiment(account)
    except DisprovedError as disproved:
        return Verdict.FALSE, str(disproved)
    except NotTriedError as not_tried:
        return Verdict.NOT_TRIED, str(not_tried)
    except stripe.StripeError as error:
        return Verdict.NOT_TRIED, f"Stripe refused the preparation: {described(error)}"
    except Exception as error:  # noqa: BLE001 - an answer of an unforeseen shape must not stop the other experiments
        return Verdict.NOT_TRIED, f"the answer could not be read: {error!r}"
    return Verdict.TRUE, ""


def expect(what: str, seen: object, assumed: object) -> None:
    """Disprove the assumption unless Stripe shows what is assumed."""
    if seen != assumed:
        raise DisprovedError(f"{what}: assumed {assumed!r}, Stripe says {seen!r}")


def single(what: str, found: Sequence[T]) -> T:
    """Return the only one; disprove the assumption unless Stripe shows exactly one."""
    expect(f"number of {what}", len(found), 1)
    return found[0]


@contextmanager
def refused(
    status: int,
    *,
    code: str | None = None,
    param: str | None = None,
    kind: type[stripe.StripeError] = stripe.StripeError,
) -> Iterator[None]:
    """Disprove the assumption unless Stripe refuses what is done inside, in this way."""
    wanted = " ".join(str(part) for part in (kind.__name__, status, code, param) if part)
    try:
        yield
    except stripe.StripeError as error:
        if code is None and code_of(error) in MALFORMED:
            raise NotTriedError(f"the experiment's own call is wrong: {described(error)}") from error
        same_param = param in (None, getattr(error, "param", None))
        same_code = error.http_status == status and code in (None, code_of(error))
        if not (same_code and same_param and isinstance(error, kind)):
            raise DisprovedError(f"assumed {wanted}, Stripe says {described(error)}") from error
        return
    raise DisprovedError(f"assumed {wanted}, Stripe did what was asked")


@contextmanager
def accepted(what: str) -> Iterator[None]:
    """Disprove the assumption if Stripe refuses what is done inside."""
    try:
        yield
    except stripe.StripeError as error:
        raise DisprovedError(f"{what}: assumed to be accepted, Stripe says {described(error)}") from error


def code_of(error: stripe.StripeError) -> str | None:
    """Return the code in Stripe's answer: the SDK copies it only for some kinds of errors."""
    return error.code or (error.error.code if error.error else None)


def described(error: stripe.StripeError) -> str:
    """Kind, status, code, parameter and message of an error, on one line."""
    param = getattr(error, "param", None)
    parts = (type(error).__name__, error.http_status, code_of(error), param, error.user_message)
    return " ".join(str(part) for part in parts if part)
