"""A command's result on the terminal, as text for a person or as JSON for a script; progress and errors on stderr."""

import json
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from rich.console import Console, Group, RenderableType
from rich.progress import Progress, SpinnerColumn, TextColumn
from rich.table import Table
from rich.text import Text

from line_requests.operator.refusal import Row, View
from line_requests.operator.values import Value

T = TypeVar("T")

# A file or a pipe gets every row on one line, however long.
PIPE_COLUMNS = 10_000
# Controls, formats such as right-to-left overrides, surrogates, line and paragraph separators.
UNPRINTABLE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
STYLES = {
    "active": "green",
    "ok": "green",
    "failed": "red",
    "awaiting_payment": "yellow",
    "provisioning": "cyan",
    "canceled": "dim",
}


def print_view(view: View, *, as_json: bool) -> None:
    """The result on stdout."""
    if as_json:
        text = json.dumps(view, indent=2, default=_to_json)
    elif isinstance(view, str):
        text = view.rstrip("\n")
    else:
        console = Console(markup=False, highlight=False, emoji=False)
        if not console.is_terminal:
            console.width = PIPE_COLUMNS
        with console.capture() as captured:
            console.print(_renderable(view))
        text = "\n".join(line.rstrip() for line in captured.get().splitlines())
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def print_error(message: str, mistakes: Sequence[Row] = (), *, as_json: bool) -> None:
    """One line on stderr, or one for each mistake; or a JSON object there."""
    if as_json:
        text = json.dumps({"error": message} | ({"mistakes": mistakes} if mistakes else {}))
    elif mistakes:
        one_or_more = f"{len(mistakes)} mistake{'s'[: len(mistakes) - 1]}"
        lines = [f"  {_where(mistake)}{escape(mistake['text'])}" for mistake in mistakes]
        text = "\n".join([f"line-requests: {one_or_more}, nothing was stored:", *lines])
    else:
        text = f"line-requests: {escape(message)}"
    sys.stderr.write(f"{text}\n")


def _where(mistake: Row) -> str:
    """A mistake in a plan that is stored and not in the file has no line."""
    return "" if mistake["line"] is None else f"line {mistake['line']}: "


def track(items: Iterable[T], description: str) -> Iterator[T]:
    """The items one after the other, with a progress bar when stderr is a terminal."""
    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as progress:
        yield from progress.track(list(items), description=description)


def count(items: Iterable[T], description: str) -> Iterator[T]:
    """The items one after the other, with their number so far when stderr is a terminal."""
    columns = (SpinnerColumn(), TextColumn("{task.description}: {task.completed:,}"))
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as progress:
        yield from progress.track(items, total=None, description=description)


def note(text: str) -> None:
    """One line on stderr beside a result."""
    sys.stderr.write(f"{escape(text)}\n")


@contextmanager
def status(description: str) -> Iterator[None]:
    """Shows that something goes on, when stderr is a terminal."""
    if sys.stderr.isatty():
        with Console(stderr=True).status(description):
            yield
    else:
        yield


def escape(text: str) -> str:
    r"""Clients' texts cannot move the cursor or hide what is beside them: U+001B becomes \x1b."""
    return "".join(
        character.encode("unicode_escape").decode() if unicodedata.category(character) in UNPRINTABLE else character
        for character in text
    )


def _to_json(value: object) -> object:
    if isinstance(value, Value):
        return value.to_json()
    raise TypeError(f"{type(value).__name__} is not a value of a view")


def _renderable(view: Row | list[Row]) -> RenderableType:
    """Names beside values, a table for rows, a block for each row that has tables."""
    if isinstance(view, dict):
        return _block(view)
    if any(_is_table(value) for row in view for value in row.values()):
        return Group(*(part for row in view for part in (_block(row), "")))
    return _table(view)


def _block(row: Row) -> RenderableType:
    pairs = Table.grid(padding=(0, 2, 0, 0))
    tables: list[RenderableType] = []
    for name, value in row.items():
        if _is_table(value):
            tables += ["", Text(f"{_words(name)}:", "bold"), _table(value)]
        else:
            pairs.add_row(Text(_words(name), "bold"), _cell(value))
    return Group(pairs, *tables)


def _table(rows: list[Row]) -> RenderableType:
    if not rows:
        return Text("(none)", "dim")
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for name in rows[0]:
        table.add_column(_words(name), overflow="fold")
    for row in rows:
        table.add_row(*map(_cell, row.values()))
    return table


def _is_table(value: object) -> bool:
    return isinstance(value, list) and any(isinstance(row, dict) for row in value)


def _words(name: str) -> str:
    return "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in name)


def _cell(value: Any) -> Text:  # noqa: ANN401 - whatever JSON takes
    if isinstance(value, list):
        text = ", ".join(map(str, value)) or "-"
    elif isinstance(value, bool):
        text = "yes" if value else "no"
    else:
        text = "-" if value is None else str(value)
    return Text(escape(text), STYLES.get(text, ""), overflow="fold")
