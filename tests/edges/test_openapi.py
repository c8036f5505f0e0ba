"""The API's description: valid, and of a shape that generators of clients take as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import openapi_spec_validator
import pytest
import yaml

from line_requests.domain.model import PaymentStatus, ReasonCode, Status
from tests.local.ministack import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

Json = dict[str, Any]

DESCRIPTION: Json = yaml.load((ROOT / "openapi.yaml").read_text(encoding="utf-8"), yaml.CSafeLoader)
SCHEMAS: Json = DESCRIPTION["components"]["schemas"]


def parts(value: object) -> Iterator[Json]:
    """Every object within."""
    if isinstance(value, dict):
        yield value
        for inner in value.values():
            yield from parts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from parts(inner)


def test_description_is_valid_openapi() -> None:
    """[65]"""
    openapi_spec_validator.validate(DESCRIPTION)


@pytest.mark.parametrize("name", [name for name, schema in SCHEMAS.items() if "required" in schema])
def test_object_schema_is_flat(name: str) -> None:
    """[65] It declares each field that it requires, and inherits none."""
    schema = SCHEMAS[name]
    assert schema["type"] == "object"
    assert set(schema["required"]) <= set(schema["properties"])
    assert "allOf" not in schema


def test_each_enum_and_const_has_a_type() -> None:
    """[65]"""
    untyped = [part for part in parts(SCHEMAS) if ("enum" in part or "const" in part) and "type" not in part]
    assert untyped == []


@pytest.mark.parametrize("name", [name for name, schema in SCHEMAS.items() if "oneOf" in schema])
def test_choice_has_a_discriminator_that_names_each_of_its_schemas(name: str) -> None:
    """[65]"""
    choices = {choice["$ref"] for choice in SCHEMAS[name]["oneOf"]}
    discriminator = SCHEMAS[name]["discriminator"]
    assert set(discriminator["mapping"].values()) == choices
    for choice in choices:
        assert discriminator["propertyName"] in SCHEMAS[choice.rpartition("/")[2]]["required"]


@pytest.mark.parametrize("values", [Status, PaymentStatus, ReasonCode])
def test_described_values_are_those_of_the_model(values: type[Status | PaymentStatus | ReasonCode]) -> None:
    """[36][60][65]"""
    assert SCHEMAS[values.__name__]["enum"] == list(values)


def test_operations_have_ids_tags_and_summaries() -> None:
    """[65]"""
    operations = [
        operation for methods in DESCRIPTION["paths"].values() for m, operation in methods.items() if m != "parameters"
    ]
    ids = [operation["operationId"] for operation in operations]
    assert len(set(ids)) == len(ids)
    tags = {tag["name"] for tag in DESCRIPTION["tags"]}
    assert all(set(operation["tags"]) <= tags and operation["summary"] for operation in operations)
