"""Plain values as DynamoDB's typed ones, and back, with boto3's serializers."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer

Item = dict[str, Any]

# What items are made of, by exact type: boto3 tries one type after the other, a third of its time.
_DYNAMODB_TYPES = {str: "S", int: "N", bool: "BOOL", dict: "M", list: "L"}


class _Serializer(TypeSerializer):
    def _get_dynamodb_type(self, value: object) -> str:
        return _DYNAMODB_TYPES.get(type(value)) or str(super()._get_dynamodb_type(value))  # type: ignore[misc]  # no stub


class _Deserializer(TypeDeserializer):
    def _deserialize_n(self, value: str) -> int | Decimal:
        try:
            return int(value)
        except ValueError:
            return Decimal(value)  # a fraction, which only a newer release stores


_serializer, _deserializer = _Serializer(), _Deserializer()


def marshal(item: Mapping[str, Any]) -> dict[str, Any]:
    """Plain values to DynamoDB's typed ones."""
    return {name: _serializer.serialize(value) for name, value in item.items()}


def unmarshal(item: Mapping[str, Any]) -> Item:
    """DynamoDB's typed values to plain ones."""
    return {name: _deserializer.deserialize(value) for name, value in item.items()}
