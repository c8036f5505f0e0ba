"""Arguments that several commands share."""

from typing import Annotated

from cyclopts import Parameter

from line_requests.domain.ids import parse_line_id
from line_requests.operator.target import Target

# Passed by the launcher, not by the command line.
Deployed = Annotated[Target, Parameter(parse=False)]
WorkspaceId = Annotated[str, Parameter(help="The workspace's id.")]
Yes = Annotated[bool, Parameter(name=["--yes", "-y"], negative="", help="Do not ask for confirmation.")]


def _check_line_id(_: type, text: str) -> None:
    if parse_line_id(text) is None:
        raise ValueError(f"{text!r} is not a line id: 24 hex digits.")


LineId = Annotated[str, Parameter(help="The line's id, 24 hex digits.", validator=_check_line_id)]
