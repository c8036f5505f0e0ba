"""What a client asks for: each kind and each field is declared here, once.

Validation, the stored attributes, the bus event, the console script and the OpenAPI schema follow from this page.
"""

import re
from dataclasses import dataclass, fields
from enum import StrEnum
from functools import cache
from typing import Self

EMAIL_MAX_CHARS = 254
PHONE_MIN_DIGITS, PHONE_MAX_DIGITS = 7, 15
# ASCII separators and what word processors make of them: no-break spaces, hyphens and dashes.
_PHONE = re.compile(r"\+?[0-9 \-.()/\u00a0\u2007\u2009\u200a\u202f\u2010-\u2015\u2212]+")


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


@dataclass(frozen=True, slots=True)
class Submission:
    """A validated request for a line (contract 6 to 12); `form` says how each field is read."""

    first_name: str
    last_name: str
    channel_type: str
    line_type: str
    email: str | None = None
    phone: str | None = None
    zipcode: str | None = None
    state: str | None = None
    forward_calls_to: str | None = None
    profile_image_url: str | None = None

    @property
    def kind(self) -> Kind:
        """The kind of line that this request counts towards."""
        return Kind.of(self.channel_type, self.line_type)


@cache
def client_name(name: str) -> str:
    """A field's name as a client writes it."""
    first, *others = name.split("_")
    return first + "".join(other.title() for other in others)


CLIENT_NAMES = {field.name: client_name(field.name) for field in fields(Submission)}
"""How a client writes each field."""


def check_email(email: str) -> None:
    """Raises ValueError unless it is one bare address that could receive mail (contract 10)."""
    import email_validator  # here: it is a twentieth of a start, and most functions check no address

    if len(email) > EMAIL_MAX_CHARS:
        raise ValueError(f"email is longer than {EMAIL_MAX_CHARS} characters")
    # The library would refuse `.test` and the like, which test environments use.
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
        raise ValueError("phone may have the digits 0 to 9, one leading +, spaces and - . ( ) / only")
