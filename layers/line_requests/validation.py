"""What a client may send, read strictly: bytes in, a Submission or one clear error out."""

import json
import re
from typing import Annotated, Any, Literal, NoReturn

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

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

Name = Annotated[str, StringConstraints(min_length=1, max_length=256, strip_whitespace=True)]
Text = Annotated[str, StringConstraints(max_length=2048, strip_whitespace=True)] | None


class _Form(BaseModel):
    """The documented fields; others are tolerated and ignored (contract 12)."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)

    first_name: Name = Field(alias="firstName")
    last_name: Name = Field(alias="lastName")
    channel_type: Literal["phone", "email"] = Field(alias="channelType")
    line_type: Text = Field(None, alias="lineType")
    email: Text = None
    phone: Text = None
    zipcode: Text = None
    state: Text = None
    forward_calls_to: Text = Field(None, alias="forwardCallsTo")
    profile_image_url: Text = Field(None, alias="profileImageUrl")


def read(request: Request) -> tuple[Submission, str | None]:
    """The line asked for and its idempotency key, if any; raises Invalid (contract 6-13, 28)."""
    document = read_object(request.body)
    key = read_key(request.headers.get("idempotency-key"), document.get("idempotencyKey"))
    try:
        form = _Form.model_validate(document)
    except ValidationError as errors:
        raise Invalid(_message(errors)) from None
    return _submission(form), key


def read_object(body: bytes) -> dict[str, Any]:
    """A JSON object from a body's bytes; raises Invalid for everything else."""
    if len(body) > BODY_MAX_BYTES:
        raise Invalid(f"The body is over {BODY_MAX_BYTES // 1024} KiB")
    try:
        document = json.loads(body.decode(), parse_constant=_refuse_constant)
        _check_depth(document)
        # Python reads the escape of half a surrogate pair, which no UTF-8 answer could carry.
        json.dumps(document, ensure_ascii=False).encode()
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


def _submission(form: _Form) -> Submission:
    line_type = form.line_type or "purchased"
    if form.channel_type == "email":
        line_type = "purchased"
    elif line_type not in {"purchased", "byon"}:
        raise Invalid('lineType must be "purchased" or "byon"')
    byon = line_type == "byon"
    if form.channel_type == "email" or byon:
        _check_email(form.email)
    if byon:
        _check_phone(form.phone)
    return Submission(
        first_name=form.first_name,
        last_name=form.last_name,
        channel_type=form.channel_type,
        line_type=line_type,
        email=form.email or None,
        phone=form.phone or None,
        zipcode=form.zipcode or None,
        state=form.state or None,
        forward_calls_to=form.forward_calls_to or None,
        profile_image_url=form.profile_image_url or None,
    )


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


def _message(errors: ValidationError) -> str:
    """The first error in the contract's words, naming the field as the client sent it."""
    error = errors.errors(include_url=False)[0]
    name, kind = str(error["loc"][0]), error["type"]
    if kind in {"missing", "string_too_short"} or error["input"] in (None, ""):
        return f"{name} is required"
    if kind == "string_too_long":
        return f"{name} is longer than {error['ctx']['max_length']} characters"
    if kind == "literal_error":
        if isinstance(error["input"], str) and not error["input"].strip():
            return f"{name} is required"
        return f"{name} must be {error['ctx']['expected']}"
    return f"{name} must be a string"


def _check_depth(document: object) -> None:
    """Raises RecursionError when objects and arrays are nested too deep; goes level by level."""
    level = [document]
    for _ in range(DEPTH_MAX + 1):
        containers = [value for value in level if isinstance(value, dict | list)]
        if not containers:
            return
        level = [
            inner
            for container in containers
            for inner in (container.values() if isinstance(container, dict) else container)
        ]
    raise RecursionError


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
