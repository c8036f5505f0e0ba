"""DynamoDB's expressions, as far as this product uses them: parsed once, then plain closures.

Values are DynamoDB's typed ones, `{"N": "5"}`; a name that is not there is None.
"""

import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, NamedTuple

Typed = dict[str, Any]
Values = Mapping[str, Typed]
Operand = Callable[[Typed, Values], Typed | None]
Condition = Callable[[Typed, Values], bool]
Update = Callable[[Typed, Values], Typed]

_TOKEN = re.compile(r"\s*(<=|>=|<>|[=<>(),.+-]|:\w+|#\w+|\w+)")
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "=": lambda a, b: a == b,
    "<>": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}


class ValidationError(Exception):
    """What DynamoDB answers with a ValidationException."""


class _Parser:
    def __init__(self, text: str, names: Mapping[str, str]) -> None:
        self._tokens = [*_tokens(text), ""]
        self._names = names
        self._at = 0

    def take(self, *wanted: str) -> str | None:
        """The next token if it is one of those wanted."""
        token = self._tokens[self._at]
        if token.upper() not in wanted:
            return None
        self._at += 1
        return token.upper()

    def need(self, *wanted: str) -> str:
        token = self.take(*wanted)
        if token is None:
            raise ValidationError(f"expected {' or '.join(wanted)}, not {self._tokens[self._at]!r}")
        return token

    def path(self) -> tuple[str, ...]:
        """`#a.#b`: names that stand for attributes."""
        steps = [self._name()]
        while self.take("."):
            steps.append(self._name())
        return tuple(steps)

    def _name(self) -> str:
        token = self._tokens[self._at]
        if not token.startswith("#") or token not in self._names:
            raise ValidationError(f"{token!r} is no defined attribute name")
        self._at += 1
        return self._names[token]

    def list_of(self, one: Callable[[], Any]) -> list[Any]:
        found = [one()]
        while self.take(","):
            found.append(one())
        return found

    def value(self) -> Operand:
        """`:value`, a path, or a function that gives a value."""
        token = self._tokens[self._at]
        if token.startswith(":"):
            self._at += 1
            return lambda _, values: values[token]
        if function := self.take("SIZE", "LIST_APPEND", "IF_NOT_EXISTS"):
            self.need("(")
            arguments = self.list_of(self.value)
            self.need(")")
            return _function(function, arguments)
        path = self.path()
        return lambda item, _: look_up(item, path)

    def sum(self) -> Operand:
        left = self.value()
        while sign := self.take("+", "-"):
            left = _sum(left, self.value(), 1 if sign == "+" else -1)
        return left

    def condition(self) -> Condition:
        either = [self._all()]
        while self.take("OR"):
            either.append(self._all())
        return either[0] if len(either) == 1 else lambda item, values: any(one(item, values) for one in either)

    def _all(self) -> Condition:
        every = [self._test()]
        while self.take("AND"):
            every.append(self._test())
        return every[0] if len(every) == 1 else lambda item, values: all(one(item, values) for one in every)

    def _test(self) -> Condition:
        if self.take("("):
            inner = self.condition()
            self.need(")")
            return inner
        if function := self.take("ATTRIBUTE_EXISTS", "ATTRIBUTE_NOT_EXISTS"):
            self.need("(")
            path = self.path()
            self.need(")")
            wanted = function == "ATTRIBUTE_EXISTS"
            return lambda item, _: (look_up(item, path) is not None) is wanted
        if self.take("BEGINS_WITH"):
            self.need("(")
            text, prefix = self.list_of(self.value)
            self.need(")")
            return lambda item, values: _begins(text(item, values), prefix(item, values))
        left = self.value()
        if self.take("BETWEEN"):
            low = self.value()
            self.need("AND")
            high = self.value()
            return lambda item, values: (
                _holds(">=", left(item, values), low(item, values))
                and _holds("<=", left(item, values), high(item, values))
            )
        operator, right = self.need(*_COMPARE), self.value()
        return lambda item, values: _holds(operator, left(item, values), right(item, values))

    def end(self) -> None:
        self.need("")


def _tokens(text: str) -> list[str]:
    found, at = [], 0
    while at < len(text.rstrip()):
        match = _TOKEN.match(text, at)
        if match is None:
            raise ValidationError(f"cannot read {text[at:]!r}")
        found.append(match[1])
        at = match.end()
    return found


def look_up(item: Typed, path: tuple[str, ...]) -> Typed | None:
    """The typed value at a path; None when there is none."""
    value: Typed | None = item.get(path[0])
    for name in path[1:]:
        if value is None or "M" not in value:
            return None
        value = value["M"].get(name)
    return value


def plain(value: Typed) -> tuple[str, Any]:
    """A typed value as something that compares: numbers by what they are, not how they are written."""
    [(kind, content)] = value.items()
    if kind == "N":
        return kind, int(content)
    if kind == "M":
        return kind, {name: plain(inner) for name, inner in content.items()}
    return (kind, [plain(inner) for inner in content]) if kind == "L" else (kind, content)


def _holds(operator: str, left: Typed | None, right: Typed | None) -> bool:
    if left is None or right is None:
        # An absent attribute equals nothing, so it differs from everything.
        return operator == "<>"
    (left_kind, a), (right_kind, b) = plain(left), plain(right)
    if left_kind != right_kind:
        return operator == "<>"
    return _COMPARE[operator](a, b)


def _begins(text: Typed | None, prefix: Typed | None) -> bool:
    return bool(text and prefix and "S" in text and text["S"].startswith(prefix["S"]))


def _sum(left: Operand, right: Operand, sign: int) -> Operand:
    def summed(item: Typed, values: Values) -> Typed:
        a, b = left(item, values), right(item, values)
        if a is None or b is None:
            raise ValidationError("The provided expression refers to an attribute that does not exist in the item")
        if "N" not in a or "N" not in b:
            raise ValidationError("An operand in the update expression has an incorrect data type")
        return {"N": str(int(a["N"]) + sign * int(b["N"]))}

    return summed


def _function(name: str, arguments: list[Operand]) -> Operand:
    def size(item: Typed, values: Values) -> Typed | None:
        value = arguments[0](item, values)
        if value is None:
            return None
        [(kind, content)] = value.items()
        return {"N": str(len(content.encode() if kind == "S" else content))} if kind in "SLM" else None

    def list_append(item: Typed, values: Values) -> Typed:
        parts = [argument(item, values) for argument in arguments]
        if any(part is None for part in parts):
            raise ValidationError("The provided expression refers to an attribute that does not exist in the item")
        if any("L" not in part for part in parts if part):
            raise ValidationError("An operand in the update expression has an incorrect data type")
        return {"L": [element for part in parts if part for element in part["L"]]}

    def if_not_exists(item: Typed, values: Values) -> Typed | None:
        value = arguments[0](item, values)
        return arguments[1](item, values) if value is None else value

    return {"SIZE": size, "LIST_APPEND": list_append, "IF_NOT_EXISTS": if_not_exists}[name]


class _Set(NamedTuple):
    path: tuple[str, ...]
    value: Operand


def _compile_update(text: str, names: Mapping[str, str]) -> Update:
    parser = _Parser(text, names)
    sets: list[_Set] = []
    removes: list[tuple[str, ...]] = []

    def one_set() -> None:
        path = parser.path()
        parser.need("=")
        sets.append(_Set(path, parser.sum()))

    while section := parser.take("SET", "REMOVE"):
        parser.list_of(one_set if section == "SET" else lambda: removes.append(parser.path()))
    parser.end()

    def update(item: Typed, values: Values) -> Typed:
        # Every right side sees the item as it was.
        found = [(one.path, one.value(item, values)) for one in sets]
        after = dict(item)
        for path, value in found:
            if value is None:
                raise ValidationError("The provided expression refers to an attribute that does not exist in the item")
            _put(after, path, value)
        for path in removes:
            _put(after, path, None)
        return after

    return update


def _put(item: Typed, path: tuple[str, ...], value: Typed | None) -> None:
    """Sets or removes what is at a path; what is changed on the way is copied first."""
    for name in path[:-1]:
        inner = item.get(name)
        if inner is None or "M" not in inner:
            raise ValidationError("The document path provided in the update expression is invalid for update")
        item[name] = {"M": dict(inner["M"])}
        item = item[name]["M"]
    if value is None:
        item.pop(path[-1], None)
    else:
        item[path[-1]] = value


def _compile_condition(text: str, names: Mapping[str, str]) -> Condition:
    parser = _Parser(text, names)
    condition = parser.condition()
    parser.end()
    return condition


@cache
def _cached(kind: str, text: str, names: tuple[tuple[str, str], ...]) -> Any:  # noqa: ANN401 - a Condition or an Update
    return (_compile_update if kind == "update" else _compile_condition)(text, dict(names))


def condition_of(request: Mapping[str, Any], parameter: str = "ConditionExpression") -> Condition:
    """A request's condition; without one everything passes."""
    text = request.get(parameter)
    if text is None:
        return lambda _item, _values: True
    condition: Condition = _cached("condition", text, _names(request))
    return condition


def update_of(request: Mapping[str, Any]) -> Update:
    """A request's update."""
    update: Update = _cached("update", request["UpdateExpression"], _names(request))
    return update


def _names(request: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    return tuple(request.get("ExpressionAttributeNames", {}).items())
