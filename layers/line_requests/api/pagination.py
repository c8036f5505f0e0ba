"""Pages and cursors of the list, as clients send them (contract 42)."""

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass

from line_requests.domain.errors import Invalid
from line_requests.domain.ids import parse_line_id
from line_requests.domain.model import Status

LIMIT_DEFAULT, LIMIT_MAX = 20, 100


@dataclass(frozen=True, slots=True)
class Page:
    """What a client asks of the list; `before` is the last line of the page before."""

    limit: int
    status: Status | None
    before: str | None

    @classmethod
    def of(cls, query: Mapping[str, str], workspace_id: str) -> "Page":
        """Reads `?status=&limit=&cursor=`; raises Invalid."""
        limit, status, cursor = query.get("limit"), query.get("status"), query.get("cursor")
        if limit is not None and not (re.fullmatch(r"[0-9]{1,3}", limit) and 1 <= int(limit) <= LIMIT_MAX):
            raise Invalid(f"limit must be a whole number from 1 to {LIMIT_MAX}", "limit")
        if status is not None and status not in set(Status):
            raise Invalid(f"status must be one of {', '.join(Status)}", "status")
        return cls(int(limit or LIMIT_DEFAULT), Status(status) if status else None, read_cursor(cursor, workspace_id))


def cursor_after(workspace_id: str, last_line_id: str | None) -> str | None:
    """Where the next page starts, tied to its workspace; None after the last page."""
    if last_line_id is None:
        return None
    return base64.urlsafe_b64encode(f"{workspace_id}/{last_line_id}".encode()).decode().rstrip("=")


def read_cursor(text: str | None, workspace_id: str) -> str | None:
    """The last line of the previous page; None for the first page. Raises Invalid."""
    if text is None:
        return None
    try:
        decoded = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_").decode()
    except ValueError:
        decoded = ""
    owner, _, before = decoded.partition("/")
    # Compared with the cursor that this page was given, so that each place has one spelling.
    if owner != workspace_id or parse_line_id(before) != before or cursor_after(workspace_id, before) != text:
        raise Invalid("cursor is not valid here; send the previous page's cursor unchanged", "cursor")
    return before
