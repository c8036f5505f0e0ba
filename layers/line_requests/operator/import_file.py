"""The file of `line import`: CSV with one active line a row."""

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass

from line_requests.domain import ids
from line_requests.domain.form import InvalidForm, read_submission
from line_requests.domain.model import Delivered
from line_requests.domain.submission import CLIENT_NAMES, Submission, check_email, check_phone
from line_requests.operator.refusal import Refused

REQUIRED = ("workspace", "customer", "externalId", "firstName", "lastName", "channelType")
FIELDS = tuple(CLIENT_NAMES.values())
COLUMNS = (*REQUIRED, "paid", *FIELDS, "deliveredPhone", "deliveredEmail", "reference", "createdAt")
PAID = {"yes": True, "no": False, "": False}
EXTERNAL_ID_MAX_CHARS = 255
# Before every id that a request gets, whose first half is a time: imported lines count as the oldest.
ID_PREFIX, ID_DIGITS = "0000", 24


@dataclass(frozen=True, slots=True)
class Mistake:
    """One thing that is wrong with a line of the file."""

    line: int
    message: str


class InvalidRows(Refused):
    """A file that cannot be imported, with every mistake in it."""

    def __init__(self, mistakes: list[Mistake]) -> None:
        super().__init__("; ".join(f"line {mistake.line}: {mistake.message}" for mistake in mistakes))
        self.mistakes = sorted(mistakes, key=lambda mistake: mistake.line)


@dataclass(frozen=True, slots=True)
class ImportRow:
    """One line that a customer has had since before this service."""

    file_line: int
    workspace_id: str
    customer: str
    external_id: str
    submission: Submission
    paid: bool
    delivered: Delivered | None
    created_at_ms: int | None

    @property
    def line_id(self) -> str:
        """The same for the same workspace and external id, so that a row is imported once."""
        digits = ids.sha256_hex(f"{self.workspace_id}/{self.external_id}")
        return (ID_PREFIX + digits)[:ID_DIGITS]


def read(text: str) -> list[ImportRow]:
    """The rows of a file; raises InvalidRows with all mistakes."""
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True, restkey="", restval="")
    columns = reader.fieldnames or []
    mistakes = [Mistake(1, f"there is no column {name}") for name in REQUIRED if name not in columns]
    mistakes += [Mistake(1, f"unknown column {name!r}") for name in columns if name not in COLUMNS]
    if mistakes:
        raise InvalidRows(mistakes)
    rows, seen = list[ImportRow](), dict[str, int]()
    try:
        for cells in reader:
            row, messages = _row(reader.line_num, {name: str(value).strip() for name, value in cells.items()})
            mistakes += [Mistake(reader.line_num, message) for message in messages]
            if row is None:
                continue
            if row.line_id in seen:
                message = f"{row.external_id} of {row.workspace_id} is on line {seen[row.line_id]}, too"
                mistakes.append(Mistake(row.file_line, message))
            seen.setdefault(row.line_id, row.file_line)
            rows.append(row)
    except csv.Error as error:
        mistakes.append(Mistake(reader.line_num, f"not CSV: {error}"))
    if not rows and not mistakes:
        mistakes.append(Mistake(1, "there is no row below the names of the columns"))
    if mistakes:
        raise InvalidRows(mistakes)
    return rows


def _row(number: int, cells: Mapping[str, str]) -> tuple[ImportRow | None, list[str]]:
    """The row, or everything that is wrong with it."""
    messages = []
    if "" in cells:
        messages.append("there are more cells than columns")
    if not ids.is_workspace_id(cells["workspace"]):
        messages.append(f"{cells['workspace']!r} is no workspace id: 1 to 40 of a-z, 0-9 and -")
    if not cells["customer"].startswith("cus_"):
        messages.append(f"{cells['customer']!r} is no Stripe customer: cus_...")
    if not 1 <= len(cells["externalId"]) <= EXTERNAL_ID_MAX_CHARS:
        messages.append(f"externalId must have 1 to {EXTERNAL_ID_MAX_CHARS} characters")
    paid = PAID.get(cells.get("paid", "").lower())
    if paid is None:
        messages.append(f"paid must be yes or no, not {cells['paid']!r}")
    created_at_ms, delivered, submission = None, None, None
    try:
        created_at_ms = ids.parse_iso_ms(cells["createdAt"]) if cells.get("createdAt") else None
        ids.iso_utc(created_at_ms or 0)  # refuses what is in the year 0 or 10000 in UTC, which could not be shown
    except ValueError:
        messages.append("createdAt must be like 2024-03-31T12:00:00Z")
    try:
        delivered = _delivered(cells)
    except ValueError as error:
        messages.append(f"delivered: {error}")
    try:
        submission = read_submission({name: cells.get(name) or None for name in FIELDS})
    except InvalidForm as invalid:
        messages += invalid.faults
    if messages or submission is None or paid is None:
        return None, messages
    named = cells["workspace"], cells["customer"], cells["externalId"]
    return ImportRow(number, *named, submission, paid, delivered, created_at_ms), []


def _delivered(cells: Mapping[str, str]) -> Delivered | None:
    """What the line is; None when the file does not say."""
    phone, email, reference = (cells.get(name) or None for name in ("deliveredPhone", "deliveredEmail", "reference"))
    if phone is not None:
        check_phone(phone)
    if email is not None:
        check_email(email)
    return Delivered(phone, email, reference) if phone or email or reference else None
