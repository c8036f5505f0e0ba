"""Logs and metrics; nothing here ever sees a key, a token or a request body."""

import os
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aws_lambda_powertools import Logger


_about: dict[str, str] = {}


def about(**names: str) -> None:
    """What every line logged from now on is about, such as the request that API Gateway's own log names."""
    _about.update(names)


class _Late:
    """Powertools' logger, made by the first line that is logged: most requests log nothing, and start sooner."""

    @cached_property
    def _logger(self) -> "Logger":
        from aws_lambda_powertools import Logger

        return Logger()

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever a logger has
        self._logger.append_keys(**_about)
        return getattr(self._logger, name)


logger: "Logger" = _Late()  # type: ignore[assignment] # used as if it were one


def alarm(metric: str, message: str, **context: object) -> None:
    """Counts something an operator has to look at; the template has an alarm for each metric."""
    from aws_lambda_powertools import single_metric
    from aws_lambda_powertools.metrics import MetricUnit

    logger.error(message, extra=context)
    # An alarm never fails for want of a setting: operators' tools have none.
    namespace = os.environ.get("POWERTOOLS_METRICS_NAMESPACE", "LineRequests")
    with single_metric(name=metric, unit=MetricUnit.Count, value=1, namespace=namespace):
        pass
