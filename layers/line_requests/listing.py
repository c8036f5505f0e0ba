"""Ids, pages and cursors, as clients send them (contract 37, 42)."""

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass

from line_requests.errors import Invalid
from line_requests.model import Status

LIMIT_DEFAULT, LIMIT_MAX = 20, 100
INVALID_ID = "Invalid line request id"

_LINE_ID = re.compile(r"[0-9a-f]{24}")


def line_id(text: str) -> str | None:
    """The id in its one spelling; None when it is none."""
    return text.lower() if _LINE_ID.fullmatch(text.lower()) else None


@dataclass(frozen=True, slots=True)
class Page:
    """What a client asks of the list; `before` is the line that the last page ended with."""

    limit: int
    status: Status | None
    before: str | None

    @classmethod
    def of(cls, query: Mapping[str, str], workspace_id: str) -> "Page":
        """Reads `?status=&limit=&cursor=`; raises Invalid."""
        limit, status, cursor_text = query.get("limit"), query.get("status"), query.get("cursor")
        if limit is not None and not (re.fullmatch(r"[0-9]{1,3}", limit) and 1 <= int(limit) <= LIMIT_MAX):
            raise Invalid(f"limit must be a whole number from 1 to {LIMIT_MAX}")
        if status is not None and status not in set(Status):
            raise Invalid(f"status must be one of {', '.join(Status)}")
        before = None if cursor_text is None else _read_cursor(cursor_text, workspace_id)
        return cls(int(limit or LIMIT_DEFAULT), Status(status) if status else None, before)


def cursor(workspace_id: str, before: str | None) -> str | None:
    """Where the next page starts, tied to its workspace; None after the last page."""
    if before is None:
        return None
    return base64.urlsafe_b64encode(f"{workspace_id}/{before}".encode()).decode().rstrip("=")


def _read_cursor(text: str, workspace_id: str) -> str:
    try:
        decoded = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True).decode()
    except ValueError:
        decoded = ""
    owner, _, before = decoded.partition("/")
    # Compared with what this page would have been given, so that each place has one spelling.
    if owner != workspace_id or line_id(before) != before or cursor(workspace_id, before) != text:
        raise Invalid("Invalid cursor")
    return before
