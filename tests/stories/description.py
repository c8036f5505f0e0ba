"""Checks responses against openapi.yaml."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from jsonschema import Draft202012Validator

if TYPE_CHECKING:
    import httpx

Json = dict[str, Any]

# What a text can tell a person to do next; the others are fixed by the contract, or name the field that is wrong.
ADVICE = re.compile(r"\b(apply|ask|cancel|choose|fix|pay|read|release|retry|subscribe|wait)\b", re.IGNORECASE)
WITH_ADVICE = {403, 409, 500, 502, 503}

OPENAPI = Path(__file__).parents[2] / "openapi.yaml"


@cache
def _description() -> Json:
    description: Json = yaml.load(OPENAPI.read_text(encoding="utf-8"), yaml.CSafeLoader)
    return description


def check(answer: httpx.Response) -> None:
    """Fail unless path, method, status, headers and body are described; unknown routes are API Gateway's."""
    method = answer.request.method.lower()
    path = template(method, answer.url.path)
    response = f"{method.upper()} {answer.url.path} {answer.status_code} {answer.text}"
    if path is None:
        assert answer.status_code == 404, f"no such route is described: {response}"
        assert set(answer.json()) == {"message"}, response
        return
    described = _response(method, path, str(answer.status_code))
    assert described is not None, f"no such status is described: {response}"
    assert answer.headers["content-type"].split(";")[0] == "application/json", response
    problems = [error.message for error in _validator(method, path, str(answer.status_code)).iter_errors(answer.json())]
    assert not problems, f"{response}: {problems}"
    if answer.status_code in WITH_ADVICE:
        told = answer.json()
        assert ADVICE.search(told.get("message") or told["error"]), f"no advice: {response}"
    headers = {name: _resolved(header) for name, header in described.get("headers", {}).items()}
    for name, header in headers.items():
        assert name in answer.headers or not header.get("required"), f"{name} is missing: {response}"
        if name in answer.headers:
            Draft202012Validator(_resolved(header["schema"])).validate(answer.headers[name])
    ours = {
        "Error-Code",
        "Error-Field",
        "Idempotency-Mismatch",
        "Idempotency-Replayed",
        "Line-Request-Id",
        "Link",
        "Location",
        "RateLimit",
        "RateLimit-Policy",
        "Retry-After",
        "WWW-Authenticate",
    }
    assert not {name for name in ours - set(headers) if name in answer.headers}, f"an undescribed header: {response}"


@cache
def template(method: str, path: str) -> str | None:
    """The described path that a request is for; None when no route is."""
    templates = [path for path, methods in _description()["paths"].items() if method in methods]
    return next((t for t in templates if re.fullmatch(re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(t)), path)), None)


def _response(method: str, path: str, status: str) -> Json | None:
    response = _description()["paths"][path][method]["responses"].get(status)
    return None if response is None else _resolved(response)


@cache
def _validator(method: str, path: str, status: str) -> Draft202012Validator:
    response = _response(method, path, status) or {}
    # The schema refers to the components of the whole description.
    schema = {**response["content"]["application/json"]["schema"], "components": _description()["components"]}
    return Draft202012Validator(schema)


def _resolved(part: Json) -> Json:
    while "$ref" in part:
        target: Any = _description()
        for step in part["$ref"].removeprefix("#/").split("/"):
            target = target[step]
        part = target
    return part
