"""Request parameters: Stripe's bracketed form, checked against the SDK's own TypedDicts."""

from __future__ import annotations

import re
import types
from collections.abc import Mapping
from decimal import Decimal
from functools import cache
from operator import attrgetter
from typing import Any, Literal, NotRequired, Required, Union, get_args, get_origin, get_type_hints
from urllib.parse import parse_qsl

import stripe.params
import stripe.params.billing_portal
import stripe.params.tax
from stripe import RequestOptions
from typing_extensions import is_typeddict

from .errors import ApiError, bad_request

# A parsed form: every leaf is a string, lists are still maps from index to value.
Form = dict[str, Any]

_NUMBER = re.compile(r"-?\d+(\.\d+)?")
_OPTIONS = frozenset(RequestOptions.__annotations__)
_MAX_METADATA_KEYS = 50
_MAX_METADATA_KEY_CHARS = 40
_MAX_METADATA_VALUE_CHARS = 500


def parse_form(encoded: str) -> Form:
    """Return `a[b][0]=c` as nested maps; `a[]=c` takes the next index."""
    form: Form = {}
    for name, value in parse_qsl(encoded, keep_blank_values=True):
        first, *rest = name.replace("]", "").split("[")
        node, key = form, first
        for part in rest:
            child = node.setdefault(key, {})
            if not isinstance(child, dict):
                raise bad_request(f"Invalid parameter: {name}", name)
            node, key = child, part or str(len(child))
        node[key] = value
    return form


def check(params_type: str, form: Form) -> Form:
    """Return the form with typed leaves, or refuse it as Stripe does."""
    checked: dict[str, Any] = _coerce_fields(attrgetter(params_type)(stripe.params), form, "")
    _check_metadata(checked.get("metadata"))
    return checked


@cache
def _fields(typed_dict: object) -> dict[str, tuple[object, bool]]:
    """Return each parameter's type and whether it is required (request options are no parameters)."""
    names = {"StripeContext": object, "Mapping": Mapping}
    hints = get_type_hints(typed_dict, localns=names)
    options = _OPTIONS if set(hints) >= _OPTIONS else frozenset[str]()
    required: frozenset[str] = getattr(typed_dict, "__required_keys__", frozenset())
    return {name: (hint, name in required) for name, hint in hints.items() if name not in options}


def _coerce_fields(typed_dict: object, raw: object, path: str) -> dict[str, object]:
    if not isinstance(raw, dict):
        raise bad_request("Invalid object", path)
    fields = _fields(typed_dict)
    coerced = {}
    for name, value in raw.items():
        param = f"{path}[{name}]" if path else name
        if name not in fields:
            raise bad_request(f"Received unknown parameter: {param}", param, "parameter_unknown")
        coerced[name] = _coerce(value, fields[name][0], param)
    for name, (_, required) in fields.items():
        if required and name not in raw:
            param = f"{path}[{name}]" if path else name
            raise bad_request(f"Missing required param: {param}.", param, "parameter_missing")
    return coerced


def _coerce(raw: object, hint: object, param: str) -> object:  # noqa: PLR0911 - one return per kind of type
    origin, args = get_origin(hint), get_args(hint)
    if origin in (NotRequired, Required):
        return _coerce(raw, args[0], param)
    if origin in (Union, types.UnionType):
        return _coerce_union(raw, args, param)
    if origin is Literal:
        return _choice(raw, list(args), param)
    if origin is list:
        return _coerce_list(raw, args[0], param)
    if origin is dict:
        return _coerce_map(raw, args[1], param)
    if is_typeddict(hint):
        return _coerce_fields(hint, raw, param)
    return _scalar(raw, hint, param)


def _coerce_union(raw: object, members: tuple[object, ...], param: str) -> object:
    choices = [v for m in members if get_origin(m) is Literal for v in get_args(m)]
    if raw == "" and "" in choices:
        return ""
    choices = [choice for choice in choices if choice]
    if raw in choices:
        return raw
    # `Literal[…]|str` is the SDK's open enumeration: Stripe itself takes only what it knows.
    others = [m for m in members if get_origin(m) is not Literal and not (m is str and choices) and _is_checkable(m)]
    refusal: ApiError | None = None
    for member in others:
        try:
            return _coerce(raw, member, param)
        except ApiError as refused:
            refusal = refused
    if refusal is not None:
        raise refusal
    return _choice(raw, choices, param)


def _is_checkable(hint: object) -> bool:
    """Tell parameters from the SDK's response objects, which it also lets callers pass."""
    if get_origin(hint) in (list, dict, Union, types.UnionType):
        return True
    return is_typeddict(hint) or hint in (str, int, bool, float, Decimal)


def _choice(raw: object, choices: list[object], param: str) -> object:
    if raw not in choices:
        allowed = ", ".join(str(choice) for choice in choices)
        raise bad_request(f"Invalid {param}: must be one of {allowed}", param)
    return raw


def _coerce_list(raw: object, hint: object, param: str) -> list[object]:
    if not isinstance(raw, dict) or not all(key.isdecimal() for key in raw):
        raise bad_request("Invalid array", param)
    indexes = sorted(raw, key=int)
    return [_coerce(raw[index], hint, f"{param}[{index}]") for index in indexes]


def _coerce_map(raw: object, hint: object, param: str) -> dict[str, object]:
    if not isinstance(raw, dict):
        raise bad_request("Invalid object", param)
    # An empty value unsets the key (metadata).
    return {key: value if value == "" else _coerce(value, hint, f"{param}[{key}]") for key, value in raw.items()}


def _scalar(raw: object, hint: object, param: str) -> object:
    if not isinstance(raw, str):
        raise bad_request("Invalid string", param)
    if raw == "":
        message = (
            f"You passed an empty string for '{param}'. We assume empty values are an attempt to "
            f"unset a parameter; however '{param}' cannot be unset."
        )
        raise bad_request(message, param, "parameter_invalid_empty")
    if hint is int:
        if not re.fullmatch(r"-?\d+", raw):
            raise bad_request(f"Invalid integer: {raw}", param, "parameter_invalid_integer")
        return int(raw)
    if hint is bool:
        if raw not in ("true", "false"):
            raise bad_request(f"Invalid boolean: {raw}", param)
        return raw == "true"
    if hint in (Decimal, float):
        if not _NUMBER.fullmatch(raw):
            raise bad_request(f"Invalid decimal: {raw}", param)
        return Decimal(raw)
    return raw


def _check_metadata(metadata: object) -> None:
    if not isinstance(metadata, dict):
        return
    if len(metadata) > _MAX_METADATA_KEYS:
        raise bad_request("Metadata can have at most 50 keys", "metadata")
    for key, value in metadata.items():
        if len(key) > _MAX_METADATA_KEY_CHARS or len(value) > _MAX_METADATA_VALUE_CHARS:
            message = "Metadata keys have at most 40 and values at most 500 characters"
            raise bad_request(message, f"metadata[{key}]")
