"""What a client may send, read strictly: bytes in, a Submission or one clear error out."""

import json
import re
from collections.abc import Mapping
from typing import Any, NoReturn

from line_requests.errors import Invalid
from line_requests.http import Request
from line_requests.model import Submission

BODY_MAX_BYTES = 64 * 1024
DEPTH_MAX = 100
KEY_MAX_CHARS = 255

_EMAIL = re.compile(r"[^@\s]+@[^@\s.]+(\.[^@\s.]+)+")
_EMAIL_MAX_CHARS = 254
_PHONE = re.compile(r"\+?[0-9 \-.()]+")
_PHONE_MIN_DIGITS, _PHONE_MAX_DIGITS = 7, 15

_NAME_MAX_CHARS, _TEXT_MAX_CHARS = 256, 2048
# Something that shows: a name of white space, control and format characters alone is blank.
VISIBLE = re.compile(r"[^\s\x00-\x1f\x7f-\xa0\xad\u1680\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\ufeff]")


def read(request: Request) -> tuple[Submission, str | None]:
    """The line asked for and its idempotency key, if any; raises Invalid (contract 6-13, 28)."""
    document = read_object(request.body)
    key = read_key(request.headers.get("idempotency-key"), document.get("idempotencyKey"))
    return _submission(document), key


def read_object(body: bytes) -> dict[str, Any]:
    """A JSON object from a body's bytes; raises Invalid for everything else."""
    if len(body) > BODY_MAX_BYTES:
        raise Invalid(f"The body is over {BODY_MAX_BYTES // 1024} KiB")
    try:
        text = body.decode()
        document = _DECODER.decode(text)
        if body.count(b"[") + body.count(b"{") > DEPTH_MAX:
            _check_depth(_WHOLE.decode(text))
        if b"\\u" in body:
            # Python reads the escape of half a surrogate pair, which no UTF-8 answer could carry.
            json.dumps(_WHOLE.decode(text), ensure_ascii=False).encode()
    except RecursionError:
        raise Invalid(f"The body is nested deeper than {DEPTH_MAX} levels") from None
    except ValueError:
        raise Invalid("The body is not valid JSON") from None
    if not isinstance(document, dict):
        raise Invalid("The body must be a JSON object")
    return document


def read_key(header: str | None, field: object) -> str | None:
    """The idempotency key from the header or the body; raises Invalid (contract 28)."""
    if field is not None and not isinstance(field, str):
        raise Invalid("idempotencyKey must be a string")
    keys = {key.strip() for key in (header or "", field or "")} - {""}
    if any(len(key) > KEY_MAX_CHARS for key in keys):
        raise Invalid(f"The idempotency key is longer than {KEY_MAX_CHARS} characters")
    if len(keys) > 1:
        raise Invalid("The Idempotency-Key header and idempotencyKey differ")
    key = next(iter(keys), None)
    try:
        (key or "").encode()
    except UnicodeEncodeError:
        raise Invalid("The idempotency key is not valid Unicode") from None
    return key


def _submission(document: Mapping[str, Any]) -> Submission:
    """The documented fields; others are tolerated and ignored (contract 12).

    Read by hand: declared in pydantic they are no shorter, and importing it costs a cold start
    a third of what boto3 does.
    """
    first_name = _required(document, "firstName")
    last_name = _required(document, "lastName")
    channel_type = _required(document, "channelType")
    if document["channelType"] not in {"phone", "email"}:
        raise Invalid("channelType must be 'phone' or 'email'")
    line_type = document["lineType"] if _optional(document, "lineType") else "purchased"
    email, phone = _optional(document, "email"), _optional(document, "phone")
    submission = Submission(
        first_name=first_name,
        last_name=last_name,
        channel_type=channel_type,
        line_type="purchased" if channel_type == "email" else line_type,
        email=email,
        phone=phone,
        zipcode=_optional(document, "zipcode"),
        state=_optional(document, "state"),
        forward_calls_to=_optional(document, "forwardCallsTo"),
        profile_image_url=_optional(document, "profileImageUrl"),
    )
    if submission.line_type not in {"purchased", "byon"}:
        raise Invalid('lineType must be "purchased" or "byon"')
    if channel_type == "email" or submission.line_type == "byon":
        _check_email(email)
    if submission.line_type == "byon":
        _check_phone(phone)
    return submission


def _required(document: Mapping[str, Any], name: str) -> str:
    text = _optional(document, name, _NAME_MAX_CHARS)
    if text is None or not VISIBLE.search(text):
        raise Invalid(f"{name} is required")
    return text


def _optional(document: Mapping[str, Any], name: str, max_chars: int = _TEXT_MAX_CHARS) -> str | None:
    """A text without its outer white space; None when it is missing, null or blank (contract 11)."""
    value = document.get(name)
    if value is not None and not isinstance(value, str):
        raise Invalid(f"{name} must be a string")
    text = (value or "").strip()
    if len(text) > max_chars:
        raise Invalid(f"{name} is longer than {max_chars} characters")
    return text or None


def _check_email(email: str | None) -> None:
    if not email:
        raise Invalid("email is required")
    if len(email) > _EMAIL_MAX_CHARS or not _EMAIL.fullmatch(email):
        raise Invalid("email must be an e-mail address")


def _check_phone(phone: str | None) -> None:
    if not phone:
        raise Invalid("phone is required")
    digits = sum(character.isdigit() for character in phone)
    if not _PHONE.fullmatch(phone) or not _PHONE_MIN_DIGITS <= digits <= _PHONE_MAX_DIGITS:
        raise Invalid(f"phone must have {_PHONE_MIN_DIGITS} to {_PHONE_MAX_DIGITS} digits")


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


# Made once: json.loads() would make one for each body. A float takes any number of digits, an int does not.
_DECODER = json.JSONDecoder(parse_constant=_refuse_constant, parse_int=float)
# An object as the list of its names and values, those of a repeated name, too: all that a body has.
_WHOLE = json.JSONDecoder(parse_int=float, object_pairs_hook=lambda pairs: [part for pair in pairs for part in pair])
