"""Why a command cannot be done, or was done in part."""

from typing import Any

Row = dict[str, Any]
View = Row | list[Row] | str


class Refused(Exception):
    """An operator asks for what cannot be; the text says why, in one line."""


class Incomplete(Exception):
    """Part of it failed: there is a result to show, and a reason to exit with 1."""

    def __init__(self, view: View, message: str) -> None:
        super().__init__(message)
        self.view = view
