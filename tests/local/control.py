"""The control routes under /_local: JSON in and out, for people, scripts and story tests."""

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, get_args

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from line_requests.bus.events import event_id
from tests.local import pages
from tests.local.charges import charges
from tests.local.demo import CURRENCIES, INTERVALS, PLANS, SUBSCRIPTION_STATUSES, NotPossible
from tests.local.provisioner import Mode
from tests.local.stripe_double.dashboard import ACTIONS
from tests.local.stripe_double.errors import ApiError
from tests.local.stripe_double.idempotency import FaultKind
from tests.local.stripe_double.webhooks import WebhookMode

if TYPE_CHECKING:
    from tests.local.stack import LocalStack

Json = dict[str, Any]
Control = Callable[["LocalStack", Json, dict[str, str]], tuple[int, Json]]

OUTCOMES = ("succeeded", "failed")
MAX_ADVANCE_S = 10 * 365 * 86_400
MAX_TRIAL_DAYS = 730  # Stripe's own limit


class InputError(Exception):
    """What is wrong with a control request, in words."""

    def __init__(self, error: str, status: int = 400) -> None:
        super().__init__(error)
        self.status = status


def routes(stack: "LocalStack") -> list[BaseRoute]:
    """The pages and every control route of one stack."""

    def control(method: str, path: str, act: Control) -> Route:
        async def endpoint(request: Request) -> Response:
            try:
                body = _object(await request.body())
                status, answer = await run_in_threadpool(act, stack, body, request.path_params)
            except InputError as refused:
                status, answer = refused.status, {"error": str(refused)}
            except NotPossible as refused:
                status, answer = 400, {"error": str(refused)}
            except Exception as error:  # noqa: BLE001 - the caller is told
                status, answer = 500, {"error": f"{type(error).__name__}: {error}"}
            return JSONResponse(answer, status)

        return Route(f"/_local/{path}", endpoint, methods=[method])

    return [
        *pages.routes(),
        control("GET", "state", _state),
        control("POST", "workspaces", _create_workspace),
        control("POST", "workspaces/{workspace_id}/subscription", _change_subscription),
        control("GET", "workspaces/{workspace_id}/charges", _charges),
        control("POST", "session-tokens", _session_token),
        control("POST", "webhooks", _webhooks),
        control("POST", "reconcile", _reconcile),
        control("POST", "provisioning", _provisioning),
        control("POST", "line-requests/{line_id}/provisioning", _provision_line),
        control("POST", "stripe/faults", _faults),
        control("POST", "stripe/invoices/{invoice_id}", _touch_invoice),
        control("POST", "clock", _advance_clock),
    ]


def _state(stack: "LocalStack", _: Json, __: dict[str, str]) -> tuple[int, Json]:
    if not stack.ready:
        return 503, {"error": "Still starting"}
    return 200, {
        "api": stack.origin,
        "stripe": stack.double.url,
        "webhookSecrets": stack.double.webhook_secrets,
        "workspaces": [workspace.as_json() for workspace in stack.demo.workspaces()],
        "webhooks": stack.webhook_mode,
        "provisioning": stack.provisioner.mode,
        "now": stack.now(),
    }


def _create_workspace(stack: "LocalStack", body: Json, _: dict[str, str]) -> tuple[int, Json]:
    plan = _one_of(body, "plan", PLANS)
    trial_days = _whole(body, "trialDays", 0, MAX_TRIAL_DAYS) if body.get("trialDays") is not None else 0
    currency = _one_of(body, "currency", CURRENCIES) if body.get("currency") is not None else CURRENCIES[0]
    usual = "trialing" if trial_days else "active"
    status = None if body.get("subscriptionStatus", "") is None else _status(body, "subscriptionStatus") or usual
    return 201, stack.demo.create_workspace(plan, status, trial_days=trial_days, currency=currency).as_json()


def _change_subscription(stack: "LocalStack", body: Json, path: dict[str, str]) -> tuple[int, Json]:
    plan = _one_of(body, "plan", PLANS) if "plan" in body else None
    status = _status(body, "status")
    interval = _one_of(body, "interval", INTERVALS) if body.get("interval") is not None else None
    cancel, resubscribe = _flag(body, "cancel"), _flag(body, "resubscribe")
    workspace_id = path["workspace_id"]
    if stack.demo.workspace(workspace_id) is None:
        raise InputError(f"Unknown workspace: {workspace_id}", 404)
    if not (plan or status or interval or cancel or resubscribe):
        raise InputError("Give a plan, a status, an interval, cancel or resubscribe")
    changed = stack.demo.change_subscription(
        workspace_id, plan, status, interval=interval, cancel=cancel, resubscribe=resubscribe
    )
    return 200, changed.as_json()


def _charges(stack: "LocalStack", _: Json, path: dict[str, str]) -> tuple[int, Json]:
    workspace = stack.demo.workspace(path["workspace_id"])
    if workspace is None:
        raise InputError(f"Unknown workspace: {path['workspace_id']}", 404)
    return 200, charges(stack, workspace)


def _session_token(stack: "LocalStack", body: Json, _: dict[str, str]) -> tuple[int, Json]:
    workspace = stack.demo.workspace(str(body.get("workspaceId")))
    if workspace is None:
        raise InputError(f"Unknown workspace: {body.get('workspaceId')}")
    claims, header = body.get("claims") or {}, body.get("header") or {}
    if not isinstance(claims, dict) or not isinstance(header, dict):
        raise InputError("claims and header must be objects")
    return 200, {"token": stack.issuer.token(workspace.organisation, claims, header)}


def _webhooks(stack: "LocalStack", body: Json, _: dict[str, str]) -> tuple[int, Json]:
    mode: WebhookMode = _one_of(body, "mode", get_args(WebhookMode))
    stack.set_webhook_mode(mode)
    return 200, {"webhooks": mode}


def _reconcile(stack: "LocalStack", _: Json, __: dict[str, str]) -> tuple[int, Json]:
    return 200, stack.reconcile()


def _provisioning(stack: "LocalStack", body: Json, _: dict[str, str]) -> tuple[int, Json]:
    mode: Mode = _one_of(body, "mode", get_args(Mode))
    stack.provisioner.set_mode(mode)
    return 200, {"provisioning": mode}


def _provision_line(stack: "LocalStack", body: Json, path: dict[str, str]) -> tuple[int, Json]:
    outcome = _one_of(body, "outcome", OUTCOMES)
    more = {name: body[name] for name in ("delivered", "reasonCode", "reason") if body.get(name) is not None}
    for name, kind, words in (
        ("delivered", dict, "an object"),
        ("reasonCode", str, "a string"),
        ("reason", str, "a string"),
    ):
        if not isinstance(more.get(name, kind()), kind):
            raise InputError(f"{name} must be {words}")
    line = stack.demo.find_line(path["line_id"])
    if line is None:
        raise InputError(f"Unknown line request: {path['line_id']}", 404)
    told = {"eventId": event_id(line), "workspaceId": line.workspace_id, "lineId": line.id}
    stack.provisioner.answer(told, outcome, **more)
    return 200, told | {"outcome": outcome} | more


def _faults(stack: "LocalStack", body: Json, _: dict[str, str]) -> tuple[int, Json]:
    kind: FaultKind = _one_of(body, "kind", get_args(FaultKind))
    count, path = _whole(body, "count", 0, None), "" if body.get("path") is None else body["path"]
    if not isinstance(path, str):
        raise InputError("path must be a string")
    stack.double.set_faults(kind, count, path)
    return 200, {"kind": kind, "count": count, "path": path}


def _touch_invoice(stack: "LocalStack", body: Json, path: dict[str, str]) -> tuple[int, Json]:
    action = _one_of(body, "action", ACTIONS)
    amount = _whole(body, "amount", 1, None) if body.get("amount") is not None else None
    try:
        return 200, stack.double.touch_invoice(path["invoice_id"], action, amount)
    except ApiError as refused:
        raise InputError(str(refused), 404 if refused.status == 404 else 400) from refused


def _advance_clock(stack: "LocalStack", body: Json, _: dict[str, str]) -> tuple[int, Json]:
    return 200, stack.advance_clock(_whole(body, "advanceSeconds", 1, MAX_ADVANCE_S))


def _object(raw: bytes) -> Json:
    if not raw:
        return {}
    try:
        body = json.loads(raw)
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise InputError("The body must be a JSON object")
    return body


def _status(body: Json, name: str) -> str | None:
    return _one_of(body, name, SUBSCRIPTION_STATUSES) if body.get(name) is not None else None


def _flag(body: Json, name: str) -> bool:
    value = body.get(name, False)
    if not isinstance(value, bool):
        raise InputError(f"{name} must be true or false")
    return value


def _whole(body: Json, name: str, least: int, most: int | None) -> int:
    value = body.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or value < least or (most is not None and value > most):
        raise InputError(f"{name} must be a whole number from {least}" + ("" if most is None else f" to {most}"))
    return value


def _one_of(body: Json, name: str, choices: Any) -> Any:  # noqa: ANN401 - one of the choices, whatever their type
    value = body.get(name)
    if not isinstance(value, str) or value not in choices:
        raise InputError(f"{name} must be one of {', '.join(choices)}")
    return value
