"""The peer's GET /api/line-requests/{id}."""

from typing import Any

import service
from aws_lambda_powertools.event_handler import APIGatewayHttpResolver
from aws_lambda_powertools.event_handler.exceptions import NotFoundError
from aws_lambda_powertools.logging import correlation_paths
from aws_lambda_powertools.metrics import MetricUnit

app = APIGatewayHttpResolver()


@app.get("/api/line-requests/<line_id>")
@service.tracer.capture_method
def get(line_id: str) -> dict[str, Any]:
    """Authenticates, loads the workspace, reads the line."""
    workspace = service.load_workspace(service.authenticate(app.current_event.headers))
    answer = service.table.get_item(Key={"pk": workspace["pk"], "sk": f"LINE#{line_id}"}, ConsistentRead=True)
    if "Item" not in answer:
        raise NotFoundError("Line request not found")
    line = service.shown(answer["Item"])
    return {
        "success": True,
        "status": line["provisioningStatus"],
        "paymentStatus": line["paymentStatus"],
        "paymentRequired": line["paymentStatus"] == "awaiting_payment",
        "line": line,
    }


@service.logger.inject_lambda_context(correlation_id_path=correlation_paths.API_GATEWAY_HTTP)
@service.tracer.capture_lambda_handler
@service.metrics.log_metrics(capture_cold_start_metric=True)
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Answers one HTTP request."""
    service.metrics.add_metric(name="Requests", unit=MetricUnit.Count, value=1)
    return app.resolve(event, context)
