"""Two releases of the product on one table, as they are during every deploy."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.growth import test_add_a_field, test_add_a_kind
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
    """What one function printed and, on the last line, returned."""

    printed: str

    @property
    def value(self) -> Any:  # noqa: ANN401 - JSON
        return json.loads(self.printed.splitlines()[-1])

    @property
    def alarms(self) -> int:
        """How many records it set aside."""
        return self.printed.count('"UnreadableRecord":[1.0]')

    @property
    def body(self) -> Json:
        """The body of a successful HTTP response."""
        assert self.value["statusCode"] < 300, self.printed
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

    def invoke(self, release: Tree, function: str, event: Json) -> Outcome:
        """Invokes a function of one release, in a process of its own."""
        return Outcome(release.output("tests.growth.invoke", [function, event], **self._environment))
