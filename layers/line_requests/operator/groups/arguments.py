"""Arguments that several commands share."""

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.console import Console
from rich.prompt import Confirm

from line_requests.operator.refusal import Refused
from line_requests.operator.target import Target

STDIN = "-"
# Passed by the launcher, not by the command line.
Deployed = Annotated[Target, Parameter(parse=False)]
WorkspaceId = Annotated[str, Parameter(help="The workspace's id.")]


def _check_file(_: type, text: str) -> None:
    if text.startswith("-") and text != STDIN:
        raise ValueError(f"Unknown option: {text}.")


def file_parameter(form: str) -> Parameter:
    """A path, or `-` for standard input."""
    return Parameter(help=f"{form}; - reads standard input.", allow_leading_hyphen=True, validator=_check_file)


Yes = Annotated[bool, Parameter(name=["--yes", "-y"], negative="", help="Do not ask for confirmation.")]


def read_file(file: str) -> str:
    """The text of a file, without a byte order mark; `-` is standard input."""
    try:
        text = sys.stdin.read() if file == STDIN else Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Refused(f"{file}: {getattr(error, 'strerror', None) or error}") from None
    return text.removeprefix("\ufeff")


def confirm(question: str, *, yes: bool) -> None:
    """Raises Refused unless the operator agrees; without a terminal only `yes` agrees."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise Refused(f"{question} Confirm with --yes")
    if not Confirm.ask(question, console=Console(stderr=True), default=False):
        raise Refused("nothing was changed")
