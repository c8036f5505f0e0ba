"""Logs and metrics; nothing here ever sees a key, a token or a request body."""

import os

from aws_lambda_powertools import Logger, single_metric
from aws_lambda_powertools.metrics import MetricUnit

logger = Logger()


def alarm(metric: str, message: str, **context: object) -> None:
    """Counts something an operator has to look at; the template has an alarm for each metric."""
    logger.error(message, extra=context)
    # An alarm never fails for want of a setting: operators' tools have none.
    namespace = os.environ.get("POWERTOOLS_METRICS_NAMESPACE", "LineRequests")
    with single_metric(name=metric, unit=MetricUnit.Count, value=1, namespace=namespace):
        pass
