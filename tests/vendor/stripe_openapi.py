"""Stripe's OpenAPI description, as the module of stripe-mock ships it, applied to answers."""

from __future__ import annotations

import json
import re
from functools import cached_property
from typing import TYPE_CHECKING, Any

from jsonschema import Draft4Validator
from referencing import Registry
from referencing.jsonschema import DRAFT4

from tests.vendor.engines import VENDOR

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jsonschema import ValidationError

Json = dict[str, Any]

DESCRIPTION = VENDOR / "stripe-openapi.json"
ROOT = "urn:stripe"


class Description:
    """What each call of Stripe's API answers, and what each object of an event is."""

    def __init__(self) -> None:
        document: Json = json.loads(DESCRIPTION.read_text())
        self.version: str = document["info"]["version"]
        self._paths = document["paths"]
        self._schemas = document["components"]["schemas"]
        # But for `nullable`, what Stripe uses of OpenAPI 3.0 is draft 4 of JSON Schema.
        self._registry: Registry[Any] = Registry().with_resource(ROOT, DRAFT4.create_resource(_strict(document)))
        self._validators: dict[str, Draft4Validator] = {}

    @cached_property
    def _patterns(self) -> list[tuple[re.Pattern[str], str]]:
        """Paths without a parameter come first: `/v1/credit_notes/preview` is no credit note's."""
        paths = sorted(self._paths, key=lambda path: path.count("{"))
        return [(re.compile(re.sub(r"\{\w+\}", "[^/]+", path)), path) for path in paths]

    def faults(self, method: str, path: str, status: int, body: Json) -> Iterator[str]:
        """Where an answer to a call differs from what is described."""
        known = next(template for pattern, template in self._patterns if pattern.fullmatch(path))
        answer = "200" if status == 200 else "default"
        steps = ("paths", known, method.lower(), "responses", answer, "content", "application/json", "schema")
        yield from self._differences("/".join(step.replace("~", "~0").replace("/", "~1") for step in steps), body)

    def event_faults(self, event: Json) -> Iterator[str]:
        """Where an event, or the object that it is about, differs from what is described."""
        yield from self._differences("components/schemas/event", event)
        subject = event["data"]["object"]
        yield from self._differences(f"components/schemas/{subject['object']}", subject)

    def _differences(self, pointer: str, body: Json) -> Iterator[str]:
        if pointer not in self._validators:
            self._validators[pointer] = Draft4Validator({"$ref": f"{ROOT}#/{pointer}"}, registry=self._registry)
        for error in self._validators[pointer].iter_errors(body):
            for leaf in _leaves(error):
                yield _told(leaf, body)


def _strict(schema: Any) -> Any:  # noqa: ANN401 - JSON
    """With null where it is allowed, and without properties that are not described: Stripe describes all of them."""
    if isinstance(schema, list):
        return [_strict(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    strict = {name: _strict(one) for name, one in schema.items()}
    if schema.get("type") == "object" and schema.get("properties"):
        strict.setdefault("additionalProperties", False)
    return {"anyOf": [strict, {"type": "null"}]} if schema.get("nullable") is True else strict


def _leaves(error: ValidationError) -> Iterator[ValidationError]:
    """The errors of the alternative that comes nearest: the one of the value's own type, with the fewest of them."""
    if not error.context:
        yield error
        return
    alternatives: dict[object, list[ValidationError]] = {}
    for one in error.context:
        alternatives.setdefault(one.schema_path[0], []).append(one)
    nearest = min(alternatives.values(), key=lambda errors: (any(_other_type(one) for one in errors), len(errors)))
    for one in nearest:
        yield from _leaves(one)


def _other_type(error: ValidationError) -> bool:
    return (error.validator == "type" and not error.path) or list(error.path) == ["object"]


def _told(error: ValidationError, body: Json) -> str:
    """The object's kind, the path in it, and what is wrong there."""
    kind, path = body.get("object", "error"), ""
    subject: Any = body
    for step in error.absolute_path:
        subject = subject[step]
        path += "[]" if isinstance(step, int) else f".{step}"
        if isinstance(subject, dict) and isinstance(subject.get("object"), str):
            kind, path = subject["object"], ""
    return f"{kind}{path}: {error.message}"
