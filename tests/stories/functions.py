"""Invokes the deployment's functions directly, with any event or with other environment variables."""

from __future__ import annotations

import json
import secrets
import time
from typing import TYPE_CHECKING, Any, Self

import httpx

from tests.stories.description import check, template

if TYPE_CHECKING:
    from tests.local.stack import LocalStack

Json = dict[str, Any]


class Functions:
    """Copies of the deployed functions: the same code, layer and role, with some environment variables changed."""

    def __init__(self, stack: LocalStack, **environment: str) -> None:
        self._stack = stack
        self._environment = environment
        self._client = stack.ministack.session.client("lambda", endpoint_url=stack.ministack.endpoint)
        self._copies: dict[str, str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for name in self._copies.values():
            self._client.delete_function(FunctionName=name)
        self._client.close()

    def invoke(self, folder: str, event: Json) -> Json:
        """The payload that the function of this folder answers; raises what it raised."""
        answer = self._client.invoke(FunctionName=self._copy(folder), Payload=json.dumps(event))
        payload = json.loads(answer["Payload"].read() or b"null")
        assert not answer.get("FunctionError"), payload
        result: Json = payload or {}
        return result

    def ask(self, folder: str, method: str, path: str, api_key: str, body: Json | None = None) -> httpx.Response:
        """The response to a client of an API with these functions."""
        event = {
            "version": "2.0",
            "routeKey": f"{method} {template(method.lower(), path)}",
            "rawPath": path,
            "headers": {"authorization": f"Bearer {api_key}"},
            "requestContext": {"timeEpoch": int(time.time() * 1000), "http": {"method": method, "path": path}},
            "pathParameters": {"id": path.rpartition("/")[2]},
            "body": json.dumps(body) if body else "",
            "isBase64Encoded": False,
        }
        return self.answer(self.invoke(folder, event), method, path)

    def answer(self, payload: Json, method: str, path: str) -> httpx.Response:
        """The HTTP API's response for a function's payload, checked like every other."""
        request = httpx.Request(method, self._stack.origin + path)
        response = httpx.Response(
            payload["statusCode"], headers=payload["headers"], content=payload["body"], request=request
        )
        check(response)
        return response

    def _copy(self, folder: str) -> str:
        if folder not in self._copies:
            deployed = self._client.get_function(FunctionName=self._stack.deployment.functions[folder])["Configuration"]
            name = f"{folder}-{secrets.token_hex(4)}"
            self._client.create_function(
                FunctionName=name,
                Runtime=deployed["Runtime"],
                Role=deployed["Role"],
                Handler=deployed["Handler"],
                Layers=[layer["Arn"] for layer in deployed["Layers"]],
                # Where the deployment uploaded it.
                Code={"S3Bucket": "artifacts", "S3Key": folder.title().replace("_", "")},
                Timeout=60,
                Environment={"Variables": deployed["Environment"]["Variables"] | self._environment},
            )
            self._copies[folder] = name
        return self._copies[folder]
