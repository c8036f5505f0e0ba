"""Two releases of the product on one table, as they are during every deploy."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.growth import test_add_a_field, test_add_a_kind
from tests.growth.invoke import RESULT
from tests.growth.trees import Edits, Tree, copy, previous
from tests.local.demo import PRODUCT_API_KEY

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.shop import Shop

Json = dict[str, Any]

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


class TwoReleases:
    """The functions of an earlier commit, and those of the present tree with a field, a kind and a status more."""

    def __init__(self, shop: Shop, directory: Path) -> None:
        self.older = previous(directory / "older", OLDER)
        self.newer = copy(directory / "newer")
        for edits in (test_add_a_field.EDITS, test_add_a_kind.EDITS):
            self.newer.edit({DECLARATIONS: edits[DECLARATIONS]})
        self.newer.edit(NEW_STATUS)
        self._environment = {
            "TABLE_NAME": shop.world.table_name,
            "BUS_NAME": "default",
            "AWS_ENDPOINT_URL": shop.world.client.meta.endpoint_url,
            "STRIPE_API_KEY": PRODUCT_API_KEY,
            "STRIPE_API_BASE": shop.double.url,
            "POWERTOOLS_SERVICE_NAME": "line-requests",
            "POWERTOOLS_METRICS_NAMESPACE": "LineRequests",
        }

    def invoke(self, release: Tree, *calls: tuple[str, Json]) -> list[Outcome]:
        """Invokes functions of one release, one after the other, in a process of their own."""
        printed = release.output("tests.growth.invoke", calls, **self._environment)
        *logged, _ = [part.partition("\n")[2] for part in f"\n{printed}".split(RESULT)]
        values = [json.loads(line.removeprefix(RESULT)) for line in printed.splitlines() if line.startswith(RESULT)]
        return [Outcome(log, value) for log, value in zip(logged, values, strict=True)]
