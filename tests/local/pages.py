"""What the local stack shows in a browser: the console, and the API reference with its description."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import yaml
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request
    from starlette.routing import BaseRoute

FILES = Path(__file__).with_name("console")
DESCRIPTION = Path(__file__).parents[2] / "openapi.yaml"

# Nothing comes from another origin. Swagger UI sets styles in its markup and images as data.
SELF = "default-src 'self'"
SWAGGER_UI = f"{SELF}; style-src 'self' 'unsafe-inline'; img-src 'self' data:"


def routes() -> list[BaseRoute]:
    return [
        Route("/", _page("console.html", SELF)),
        Route("/docs", _page("docs.html", SWAGGER_UI)),
        Route("/openapi.json", _description),
        Mount("/_local/console", StaticFiles(directory=FILES)),
        # The package's assets only: it is not imported, and neither is Flask.
        Mount("/_local/swagger-ui", StaticFiles(packages=[("flask_swagger_ui", "dist")])),
    ]


def _page(name: str, policy: str) -> Callable[[Request], Awaitable[Response]]:
    headers = {"cache-control": "no-store", "content-security-policy": policy}

    async def endpoint(_: Request) -> Response:
        return FileResponse(FILES / name, headers=headers)

    return endpoint


def _description(_: Request) -> Response:
    """The API's description as JSON, which generators of clients read."""
    return JSONResponse(yaml.load(DESCRIPTION.read_text(), yaml.CSafeLoader))
