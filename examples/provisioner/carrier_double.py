"""A carrier that needs no account: it finds orders by client reference, takes orders and releases them.

The line's last name decides: `Sold-Out`, `No-Address`, `No-Identity` and `Unknown` are refused. A `byon_phone` order is
a port-in: it stays pending until `POST /orders/{id}/complete` or `/reject`.
"""

import asyncio

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

REFUSALS = {
    "Sold-Out": {"code": "no_inventory", "message": "No number is left in this area."},
    "No-Address": {"code": "address_required", "message": "An address in this country is required."},
    "No-Identity": {"code": "identity_required", "message": "An identity document is required."},
    "Unknown": {"code": "surprise", "message": "Something else is wrong."},
}
ACTIONS = {
    "complete": {"status": "completed"},
    "reject": {"status": "rejected", "code": "port_rejected", "message": "The losing carrier refused the port."},
    "release": {"status": "released"},
}


class CarrierDouble:
    """The orders it has, and `app`, which serves them."""

    def __init__(self, token: str) -> None:
        self.orders: list[dict[str, str]] = []
        self.lost_responses = 0
        """How many of the next orders are made but answered with a 500."""
        self.delay_s = 0.0
        """How long each request takes."""
        self._token = token
        self.app = Starlette(
            routes=[
                Route("/orders", self._find),
                Route("/orders", self._create, methods=["POST"]),
                Route("/orders/{id}/{action}", self._act, methods=["POST"]),
            ]
        )

    async def _find(self, request: Request) -> JSONResponse:
        await self._admit(request)
        reference = request.query_params["clientReference"]
        return JSONResponse({"orders": [order for order in self.orders if order["clientReference"] == reference]})

    async def _create(self, request: Request) -> JSONResponse:
        await self._admit(request)
        body = await request.json()
        line, number = body["line"], len(self.orders) + 1
        if refusal := REFUSALS.get(line["lastName"]):
            return JSONResponse(refusal, 422)
        order = {"id": f"ord_{number}", "clientReference": body["clientReference"], "note": body["note"]}
        match body["kind"]:
            case "byon_phone":
                order |= {"status": "pending", "phone": line["phone"]}
            case "email":
                order |= {"status": "completed", "email": line["email"]}
            case _:
                order |= {"status": "completed", "phone": f"+1415555{number:04}"}
        self.orders.append(order)
        if self.lost_responses:
            self.lost_responses -= 1
            raise HTTPException(500)
        return JSONResponse(order, 201)

    async def _act(self, request: Request) -> JSONResponse:
        await self._admit(request)
        order = next(order for order in self.orders if order["id"] == request.path_params["id"])
        if order["status"] in {"rejected", "released"}:
            raise HTTPException(409)
        order |= ACTIONS[request.path_params["action"]]
        return JSONResponse(order)

    async def _admit(self, request: Request) -> None:
        if request.headers.get("Authorization") != f"Bearer {self._token}":
            raise HTTPException(401)
        await asyncio.sleep(self.delay_s)
