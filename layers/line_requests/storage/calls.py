"""Calls to AWS: their time-outs and retries, their end with the invocation, and DynamoDB's errors as the product's."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, ConnectionError, HTTPClientError  # noqa: A004 - botocore's own

from line_requests.clock import calls_left_s
from line_requests.domain.errors import TableUnavailable

# A read that takes two seconds is lost; the default of 60 would outlast API Gateway's 30. botocore cannot shorten one
# call's time-out, so a call that starts just before the invocation's end may take 3 s more, and a pause before its
# retry another 2.
CLIENT_CONFIG = Config(connect_timeout=1, read_timeout=2, retries={"mode": "standard", "total_max_attempts": 3})

# Beside those of the server: errors that fewer requests at once avoid; the others are ours or an operator's.
# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html
TRANSIENT_CODES = {
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "ThrottlingException",
}
SERVER_ERROR = 500


class OutOfTime(BotoCoreError):
    """The invocation has no time left for another call."""

    fmt = "No time left for a call to {endpoint_url}"


def end_with_invocation(client: Any) -> None:  # noqa: ANN401 - any client of boto3's
    """Makes the client start no call, and no retry of one, after the end of the invocation that it serves."""
    client.meta.events.register("before-send", _require_time, unique_id="end-with-invocation")


def _require_time(request: Any, **_: object) -> None:  # noqa: ANN401 - botocore's
    if calls_left_s() <= 0:
        raise OutOfTime(endpoint_url=request.url)  # botocore retries only its own HTTP and connection errors


@contextmanager
def table_errors() -> Iterator[None]:
    """Raises TableUnavailable for throttling, time-outs and DynamoDB's own failures; others pass as they are."""
    try:
        yield
    except (ConnectionError, HTTPClientError, OutOfTime) as error:
        raise TableUnavailable(type(error).__name__) from error
    except ClientError as error:
        code = error.response["Error"]["Code"]
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if code in TRANSIENT_CODES or status >= SERVER_ERROR:
            raise TableUnavailable(code) from error
        raise
