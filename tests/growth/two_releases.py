"""Two releases of the product on one table, as they are during every deploy."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from line_requests.domain.ids import new_api_key, sha256_hex
from line_requests.domain.model import Allowance, ApiKey
from line_requests.storage.records import line_key, workspace_key
from line_requests.storage.table import Write
from tests.decision.examples import NOW_MS
from tests.growth.test_add_a_field import EDITS as NICKNAME
from tests.growth.test_add_a_kind import EDITS as FAX
from tests.growth.trees import Tree, copy, previous
from tests.support.engine import dynamodb, new_table
from tests.support.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Json = dict[str, Any]

# The release that is compared with the present one: `OLDER_RELEASE=v1.2.0 pytest tests/growth`.
OLDER = os.environ.get("OLDER_RELEASE", "HEAD~1")
TOKEN = new_api_key("acme")
ACTIVE = '    ACTIVE = "active"\n'
NEW_STATUS = {"layers/line_requests/domain/model.py": [(ACTIVE, f'{ACTIVE}    PORTING = "porting"\n')]}
PRODUCT_ONLY = "layers/line_requests/domain/submission.py"


@dataclass(frozen=True)
class Result:
    """What a function returned, and how many records it set aside with an alarm."""

    value: Any
    alarms: int

    @cached_property
    def body(self) -> Json:
        """The body of an HTTP response, which has to be a success."""
        assert self.value["statusCode"] < 300, self.value
        body: Json = json.loads(self.value["body"])
        return body
