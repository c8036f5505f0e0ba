"""What a client may send: bytes in, a Submission or one clear error out (contract 6-13, 28)."""

import json
from collections.abc import Mapping
from typing import Any, NoReturn

from line_requests.api.http import Request
from line_requests.domain.errors import Invalid
from line_requests.domain.form import InvalidForm, read_submission
from line_requests.domain.submission import Submission

BODY_MAX_BYTES = 64 * 1024
DEPTH_MAX = 100
KEY_MAX_CHARS = 255
KEY_FIELD, KEY_HEADER = "idempotencyKey", "Idempotency-Key"
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def read_line_request(request: Request) -> tuple[Submission, str | None]:
    """The line asked for and its idempotency key, if any; raises Invalid."""
    document = read_object(request.body)
    key = read_idempotency_key(request.headers.get("idempotency-key"), document.get(KEY_FIELD))
    try:
        return read_submission(document), key
    except InvalidForm as invalid:
        first = invalid.faults[0]
        raise Invalid(first, first.partition(" ")[0]) from None


def read_action(request: Request, actions: Mapping[str, object]) -> str:
    """The action that a body names; raises Invalid."""
    try:
        action = read_object(request.body).get("action")
    except Invalid:
        action = None
    if not isinstance(action, str) or action not in actions:
        raise Invalid("Unsupported action", "action")
    return action


def read_object(body: bytes) -> dict[str, Any]:
    """A JSON object from a body's bytes; raises Invalid for everything else."""
    if len(body) > BODY_MAX_BYTES:
        raise Invalid(f"The body has {len(body):,} bytes; send at most {BODY_MAX_BYTES:,}")
    body = body.removeprefix(BYTE_ORDER_MARK)
    try:
        text = body.decode()
        document = _DECODER.decode(text)
        if body.count(b"[") + body.count(b"{") > DEPTH_MAX:
            _check_depth(_WHOLE.decode(text))
        if b"\\u" in body:
            # Python reads the escape of half a surrogate pair, which no UTF-8 answer could carry.
            json.dumps(_WHOLE.decode(text), ensure_ascii=False).encode()
    except RecursionError:
        raise Invalid(f"The body is nested deeper than {DEPTH_MAX} levels; send one flat JSON object") from None
    except ValueError:
        raise Invalid("The body is not valid JSON in UTF-8; send one JSON object") from None
    if not isinstance(document, dict):
        raise Invalid('The body must be a JSON object, such as {"firstName": "Ada"}')
    return document


def read_idempotency_key(header: str | None, field: object) -> str | None:
    """The idempotency key from the header or the body; raises Invalid (contract 28)."""
    if field is not None and not isinstance(field, str):
        raise Invalid("idempotencyKey must be a string", KEY_FIELD)
    # A proxy joins a header that arrived twice with a comma; a key that has one is known by the field.
    text, same = (header or "").strip(), (field or "").strip()
    keys = {key.strip() for key in (same, *([] if text == same else text.split(",")))} - {""}
    where = KEY_FIELD if same else KEY_HEADER
    if any(len(key) > KEY_MAX_CHARS for key in keys):
        raise Invalid(f"The idempotency key is longer than {KEY_MAX_CHARS} characters; send a shorter one", where)
    if len(keys) > 1:
        raise Invalid("The request has more than one idempotency key; send one, without commas", where)
    key = next(iter(keys), None)
    try:
        (key or "").encode()
    except UnicodeEncodeError:
        raise Invalid("The idempotency key is not valid Unicode; send another one", where) from None
    return key


def _check_depth(document: object) -> None:
    """Raises RecursionError when lists are nested too deep; goes level by level."""
    level = [document]
    for _ in range(DEPTH_MAX + 1):
        lists = [value for value in level if isinstance(value, list)]
        if not lists:
            return
        level = [inner for container in lists for inner in container]
    raise RecursionError


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


# Made once, because json.loads() would make one for each body. A float takes any number of digits, an int does not.
_DECODER = json.JSONDecoder(parse_constant=_refuse_constant, parse_int=float)
# An object as the list of its names and values, repeated names included: everything that a body has.
_WHOLE = json.JSONDecoder(parse_int=float, object_pairs_hook=lambda pairs: [part for pair in pairs for part in pair])
