"""The peer's POST /api/line-requests."""

import os
from typing import Any

import service
from aws_lambda_powertools.event_handler import APIGatewayHttpResolver, Response, content_types
from aws_lambda_powertools.event_handler.exceptions import ServiceError
from aws_lambda_powertools.logging import correlation_paths
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.idempotency import (
    DynamoDBPersistenceLayer,
    IdempotencyConfig,
    idempotent_function,
)

app = APIGatewayHttpResolver(enable_validation=True)
persistence = DynamoDBPersistenceLayer(table_name=os.environ["PEER_IDEMPOTENCY_TABLE"])
idempotency = IdempotencyConfig(event_key_jmespath="key", expires_after_seconds=24 * 3600)


@app.post("/api/line-requests")
@service.tracer.capture_method
def create(request: service.LineRequest) -> Response[dict[str, Any]]:
    """Authenticates, loads the workspace, then does the rest once per key."""
    headers = app.current_event.headers
    workspace = service.load_workspace(service.authenticate(headers))
    key = headers.get("idempotency-key")
    if key is None:
        body = submit(workspace, request)
    else:
        idempotency.register_lambda_context(app.lambda_context)
        body = submit_once(call={"key": f"{workspace['pk']}#{key}", "workspace": workspace, "request": request})
    return Response(status_code=201, content_type=content_types.APPLICATION_JSON, body=body)


@idempotent_function(data_keyword_argument="call", persistence_store=persistence, config=idempotency)
def submit_once(call: dict[str, Any]) -> dict[str, Any]:
    """Powertools remembers the answer, and forgets the key when this raises."""
    return submit(call["workspace"], call["request"])


def submit(workspace: Any, request: service.LineRequest) -> dict[str, Any]:
    """Rate limit, lock, count, put, unlock; the lock of a line that has to be paid for stays."""
    service.check_rate(workspace["pk"].removeprefix("W#"))
    if workspace["subscription_status"] not in {"active", "trialing"}:
        raise ServiceError(403, "subscription_required")
    included = workspace["included"].get(request.kind)
    if included is None:
        raise ServiceError(403, "forbidden_line_type")
    line_id = service.new_line_id()
    service.take_lock(workspace, line_id)
    if not service.count_place(workspace, request.kind, included):
        service.release_lock(workspace, line_id)
        raise ServiceError(403, "forbidden_line_type")  # what paying takes is not measured here
    line = service.put_line(workspace, line_id, request, "provisioning")
    service.release_lock(workspace, line_id)
    return {"success": True, "status": "provisioning", "paymentRequired": False, "line": service.shown(line)}


@service.logger.inject_lambda_context(correlation_id_path=correlation_paths.API_GATEWAY_HTTP)
@service.tracer.capture_lambda_handler
@service.metrics.log_metrics(capture_cold_start_metric=True)
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Answers one HTTP request."""
    service.metrics.add_metric(name="Requests", unit=MetricUnit.Count, value=1)
    return app.resolve(event, context)
