"""Ids, hashes, API keys and times, in the one form that clients, items and events carry."""

import datetime
import hashlib
import re
import secrets
import zlib

# Short, and safe within item keys, API keys and cursors.
WORKSPACE_ID = "[a-z0-9-]{1,40}"

_LINE_ID = re.compile(r"[0-9a-f]{24}")
# The key names its workspace, so one call reads both; the checksum refuses typos without any call.
_API_KEY = re.compile(f"(tuco_({WORKSPACE_ID})_[0-9a-f]{{32}})([0-9a-f]{{8}})")


def new_line_id(now_ms: int) -> str:
    """24 hex digits that sort by time, so that the newest lines are one query."""
    return f"{now_ms:012x}{secrets.token_hex(6)}"


def parse_line_id(text: str) -> str | None:
    """The id in lower case; None when the text is not an id (contract 37)."""
    return text.lower() if _LINE_ID.fullmatch(text.lower()) else None


def is_workspace_id(text: str) -> bool:
    """Whether the text has the form of a workspace id."""
    return re.fullmatch(WORKSPACE_ID, text) is not None


def sha256_hex(text: str) -> str:
    """What the table stores instead of keys, which can be long or secret."""
    return hashlib.sha256(text.encode()).hexdigest()


def new_api_key(workspace_id: str) -> str:
    """A fresh API key; 128 random bits, so its plain SHA-256 reveals nothing."""
    body = f"tuco_{workspace_id}_{secrets.token_hex(16)}"
    return body + _checksum(body)


def workspace_of_api_key(token: str) -> str | None:
    """The workspace that an API key names; None when the token is not a well-formed key."""
    key = _API_KEY.fullmatch(token)
    return key[2] if key is not None and _checksum(key[1]) == key[3] else None


def _checksum(text: str) -> str:
    return f"{zlib.crc32(text.encode()):08x}"


def iso_utc(epoch_ms: int) -> str:
    """ISO 8601 in UTC, to the millisecond."""
    moment = datetime.datetime.fromtimestamp(epoch_ms / 1000, tz=datetime.UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse_iso_ms(text: str) -> int:
    """Epoch milliseconds of an ISO 8601 time, which is UTC if it names no zone; raises ValueError."""
    time = datetime.datetime.fromisoformat(text)
    return int((time if time.tzinfo else time.replace(tzinfo=datetime.UTC)).timestamp() * 1000)
