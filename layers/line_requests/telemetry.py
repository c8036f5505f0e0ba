"""Logs, metrics and alarms. Keys, tokens and request bodies never reach them."""

import os

from aws_lambda_powertools import Logger, single_metric
from aws_lambda_powertools.metrics import MetricUnit

logger = Logger()


def alarm(metric: str, message: str, **context: object) -> None:
    """Logs an error and counts it in the metric that the template's alarm of the same name watches."""
    logger.error(message, extra=context)
    # Operators' shells have no namespace; an alarm must not fail for that.
    namespace = os.environ.get("POWERTOOLS_METRICS_NAMESPACE", "LineRequests")
    with single_metric(name=metric, unit=MetricUnit.Count, value=1, namespace=namespace):
        pass
