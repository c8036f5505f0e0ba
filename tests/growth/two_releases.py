"""Two releases of the product on one table, as they are during every deploy."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.growth import test_add_a_field, test_add_a_kind
from tests.growth.invoke import DONE, RESULT
from tests.growth.trees import Edits, copy, previous
from tests.local.demo import PRODUCT_API_KEY

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.shop import Shop

Json = dict[str, Any]
Run = Callable[[object], str]

# The earlier release that meets the next one: `OLDER_RELEASE=<revision> pytest tests/growth`.
OLDER = os.environ.get("OLDER_RELEASE", "HEAD~1")
DECLARATIONS, MODEL = "layers/line_requests/domain/submission.py", "layers/line_requests/domain/model.py"
ACTIVE = '    ACTIVE = "active"\n'
NEW_STATUS: Edits = {MODEL: [(ACTIVE, f'{ACTIVE}    PORTING = "porting"\n')]}


@dataclass(frozen=True)
class Outcome:
    """What one function logged and returned."""

    logged: str
    value: Any

    @property
    def alarms(self) -> int:
        """How many records it set aside."""
        return self.logged.count('"UnreadableRecord":[1.0]')

    @property
    def body(self) -> Json:
        """The body of a successful HTTP response."""
        assert self.value["statusCode"] < 300, self.logged
        body: Json = json.loads(self.value["body"])
        return body


@contextmanager
def functions(directory: Path) -> Iterator[tuple[Run, Run]]:
    """What runs those of an earlier commit, and of the present tree with a field, a kind and a status more."""
    older, newer = previous(directory / "older", OLDER), copy(directory / "newer")
    for edits in (test_add_a_field.EDITS, test_add_a_kind.EDITS):
        newer.edit({DECLARATIONS: edits[DECLARATIONS]})
    newer.edit(NEW_STATUS)
    with older.serve("tests.growth.invoke", DONE) as run_older, newer.serve("tests.growth.invoke", DONE) as run_newer:
        yield run_older, run_newer


class TwoReleases:
    """The functions of both releases on one table."""

    def __init__(self, shop: Shop, older: Run, newer: Run) -> None:
        self._older, self._newer = older, newer
        self._environment = {
            "TABLE_NAME": shop.world.table_name,
            "BUS_NAME": "default",
            "AWS_ENDPOINT_URL": shop.world.client.meta.endpoint_url,
            "STRIPE_API_KEY": PRODUCT_API_KEY,
            "STRIPE_API_BASE": shop.double.url,
            "POWERTOOLS_SERVICE_NAME": "line-requests",
            "POWERTOOLS_METRICS_NAMESPACE": "LineRequests",
        }

    def invoke(self, *calls: tuple[str, Json], old: bool) -> list[Outcome]:
        """Invokes functions of one release, one after the other."""
        printed = (self._older if old else self._newer)([self._environment, calls])
        *logged, _ = [part.partition("\n")[2] for part in f"\n{printed}".split(RESULT)]
        values = [json.loads(line.removeprefix(RESULT)) for line in printed.splitlines() if line.startswith(RESULT)]
        return [Outcome(log, value) for log, value in zip(logged, values, strict=True)]
