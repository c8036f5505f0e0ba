"""What a client asks for: each kind and each field is declared here, once.

Validation, the stored attributes, the bus event, the console script and the OpenAPI schema follow from this page.
"""

import re
from enum import StrEnum
from functools import cache
from typing import Annotated, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, model_validator
from pydantic.alias_generators import to_camel

_camel = cache(to_camel)

NAME_MAX_CHARS, TEXT_MAX_CHARS, EMAIL_MAX_CHARS = 256, 2048, 254
PHONE_MIN_DIGITS, PHONE_MAX_DIGITS = 7, 15
# ASCII separators and what word processors make of them: no-break spaces, hyphens and dashes.
_PHONE = re.compile(r"\+?[0-9 \-.()/\u00a0\u2007\u2009\u200a\u202f\u2010-\u2015\u2212]+")
# A name of white space, control and format characters alone is blank.
VISIBLE = re.compile(r"[^\s\x00-\x1f\x7f-\xa0\xad\u1680\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\ufeff]")


class Kind(StrEnum):
    """The kinds of line, each with channel type, line type and the fields it needs beside the name (contract 8, 9, 19).

    The first kind of a channel is the one that a missing lineType means.
    """

    channel_type: str
    line_type: str
    required: tuple[str, ...]

    PURCHASED_PHONE = "purchased_phone", "phone", "purchased", ()
    BYON_PHONE = "byon_phone", "phone", "byon", ("email", "phone")
    EMAIL = "email", "email", "purchased", ("email",)

    def __new__(cls, name: str, channel_type: str, line_type: str, required: tuple[str, ...]) -> Self:
        """A member whose value, in items and events, is its name."""
        member = str.__new__(cls, name)
        member._value_ = name
        member.channel_type, member.line_type, member.required = channel_type, line_type, required
        return member

    @property
    def words(self) -> str:
        """Its name in a sentence."""
        return self.value.replace("_", " ")

    @classmethod
    def of(cls, channel_type: str, line_type: str) -> "Kind":
        """The kind that a request names; raises ValueError for a pair that is not sold here."""
        for kind in cls:
            if (kind.channel_type, kind.line_type) == (channel_type, line_type):
                return kind
        raise ValueError(f"no kind of line is {channel_type}/{line_type}")


def _text(value: object, name: str, max_chars: int) -> str | None:
    """A text without its outer white space; None when it is missing, null or blank (contract 11)."""
    if value is not None and not isinstance(value, str):
        raise ValueError(f"{name} must be a string")
    text = (value or "").strip()
    if len(text) > max_chars:
        raise ValueError(f"{name} is longer than {max_chars} characters")
    return text or None


def _optional(value: object, info: ValidationInfo) -> str | None:
    return _text(value, _camel(info.field_name or ""), TEXT_MAX_CHARS)


def _name(value: object, info: ValidationInfo) -> str:
    name = _camel(info.field_name or "")
    text = _text(value, name, NAME_MAX_CHARS)
    if text is None or not VISIBLE.search(text):
        raise ValueError(f"{name} is required")
    return text


def _channel_type(value: object, info: ValidationInfo) -> str:
    channel_types = list(dict.fromkeys(kind.channel_type for kind in Kind))
    text = _name(value, info)
    if value not in channel_types:
        raise ValueError(f"channelType must be {' or '.join(map(repr, channel_types))}")
    return text


def _line_type(value: object, info: ValidationInfo) -> str:
    """The line type, or the channel's first one when absent; a channel with a single one tolerates any string."""
    text = _optional(value, info)
    line_types = [kind.line_type for kind in Kind if kind.channel_type == info.data.get("channel_type")]
    if line_types and (text is None or len(line_types) == 1):
        return line_types[0]
    if line_types and value not in line_types:
        quoted = (f'"{line_type}"' for line_type in line_types)
        raise ValueError(f"lineType must be {' or '.join(quoted)}")
    return text or ""


Name = Annotated[str, BeforeValidator(_name), Field(validate_default=True, max_length=NAME_MAX_CHARS)]
Text = Annotated[Annotated[str, Field(max_length=TEXT_MAX_CHARS)] | None, BeforeValidator(_optional)]


class Submission(BaseModel):
    """A validated request for a line (contract 6 to 12); a client writes the names in camelCase."""

    model_config = ConfigDict(frozen=True, alias_generator=_camel, populate_by_name=True)

    first_name: Name = ""
    last_name: Name = ""
    channel_type: Annotated[str, BeforeValidator(_channel_type), Field(validate_default=True)] = ""
    line_type: Annotated[str, BeforeValidator(_line_type), Field(validate_default=True)] = ""
    email: Text = None
    phone: Text = None
    zipcode: Text = None
    state: Text = None
    forward_calls_to: Text = None
    profile_image_url: Text = None

    @property
    def kind(self) -> Kind:
        """The kind of line that this request counts towards."""
        return Kind.of(self.channel_type, self.line_type)

    @model_validator(mode="after")
    def _has_what_its_kind_needs(self) -> Self:
        for field in self.kind.required:
            value = getattr(self, field)
            if not value:
                raise ValueError(f"{_camel(field)} is required")
            if field in _CHECKS:
                _CHECKS[field](value)
        return self


def check_email(email: str) -> None:
    """Raises ValueError unless it is one bare address that could receive mail (contract 10)."""
    import email_validator  # here: it is a twentieth of a start, and most functions check no address

    if len(email) > EMAIL_MAX_CHARS:
        raise ValueError(f"email is longer than {EMAIL_MAX_CHARS} characters")
    # A request for a line in a test environment is as good as any other.
    email_validator.SPECIAL_USE_DOMAIN_NAMES.clear()
    try:
        email_validator.validate_email(email, check_deliverability=False)
    except email_validator.EmailNotValidError:
        raise ValueError("email must be one address such as ada@example.com, without a name or a list") from None


def check_phone(phone: str) -> None:
    """Raises ValueError unless it has 7 to 15 digits and only separators between them (contract 10)."""
    digits = sum(character.isdigit() for character in phone)
    if not PHONE_MIN_DIGITS <= digits <= PHONE_MAX_DIGITS:
        raise ValueError(f"phone must have {PHONE_MIN_DIGITS} to {PHONE_MAX_DIGITS} digits; this has {digits}")
    if not _PHONE.fullmatch(phone):
        raise ValueError("phone may have digits, one leading +, spaces and - . ( ) / only")


_CHECKS = {"email": check_email, "phone": check_phone}
