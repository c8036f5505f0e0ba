"""A request as a client writes it: how each field of a Submission is read, and what is said of a wrong one."""

import re
from collections.abc import Mapping
from dataclasses import fields
from typing import Annotated, Any, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    create_model,
    model_validator,
)

from line_requests.domain.submission import Kind, Submission, check_email, check_phone, client_name

NAME_MAX_CHARS, TEXT_MAX_CHARS = 256, 2048
# A name of white space, control, format, filler and selector characters alone is blank.
_INVISIBLE = (
    r"\s\x00-\x1f\x7f-\xa0\xad\u034f\u115f\u1160\u1680\u180b-\u180f\u2000-\u200f"
    r"\u2028-\u202f\u205f-\u206f\u2800\u3000\u3164\ufe00-\ufe0f\ufeff\uffa0"
)
VISIBLE_IN_OPENAPI = f"[^{_INVISIBLE}]"
"""Without the characters beyond U+FFFF, which not every validator's patterns can name."""
VISIBLE = re.compile(rf"[^{_INVISIBLE}\U000e0000-\U000e0fff]")


class InvalidForm(ValueError):
    """Every fault of a form, each text beginning with the field's name."""

    @property
    def faults(self) -> list[str]:
        """One text for each."""
        return list(self.args)


def _text(value: object, name: str, max_chars: int) -> str | None:
    """A text without its outer white space; None when it is missing, null or blank (contract 11)."""
    if value is not None and not isinstance(value, str):
        raise ValueError(f"{name} must be a string")
    text = (value or "").strip()
    if len(text) > max_chars:
        raise ValueError(f"{name} is longer than {max_chars} characters")
    return text or None


def _optional(value: object, info: ValidationInfo) -> str | None:
    return _text(value, client_name(info.field_name or ""), TEXT_MAX_CHARS)


def _name(value: object, info: ValidationInfo) -> str:
    name = client_name(info.field_name or "")
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


# `max_length` is for the schema: the validators before it check the length, too, and name the field.
Name = Annotated[str, BeforeValidator(_name), Field(validate_default=True, max_length=NAME_MAX_CHARS)]
Text = Annotated[Annotated[str, Field(max_length=TEXT_MAX_CHARS)] | None, BeforeValidator(_optional)]
_RULES: dict[str, Any] = {
    "first_name": Name,
    "last_name": Name,
    "channel_type": Annotated[str, BeforeValidator(_channel_type), Field(validate_default=True)],
    "line_type": Annotated[str, BeforeValidator(_line_type), Field(validate_default=True)],
}
CHECKS = {"email": check_email, "phone": check_phone}


class _Checked(BaseModel):
    model_config = ConfigDict(alias_generator=client_name)

    @model_validator(mode="after")
    def _has_what_its_kind_needs(self) -> Self:
        values = vars(self)
        for field in Kind.of(values["channel_type"], values["line_type"]).required:
            value = values[field]
            if not value:
                raise ValueError(f"{client_name(field)} is required")
            if field in CHECKS:
                CHECKS[field](value)
        return self


_declared: dict[str, Any] = {field.name: (_RULES.get(field.name, Text), None) for field in fields(Submission)}
FORM: type[BaseModel] = create_model("Submission", __base__=_Checked, **_declared)


def read_submission(document: Mapping[str, Any]) -> Submission:
    """The declared fields; others are ignored. Raises InvalidForm."""
    try:
        return Submission(**vars(FORM.model_validate(document)))
    except ValidationError as error:
        raise InvalidForm(*(fault["msg"].removeprefix("Value error, ") for fault in error.errors())) from None
