"""Provisioning results in: what a provisioner publishes about one line."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, StringConstraints, ValidationError
from pydantic.alias_generators import to_camel

from line_requests.domain.errors import Invalid
from line_requests.domain.ids import WORKSPACE_ID

REASON_MAX_CHARS = 256
REASON_DEFAULT = "provisioning_failed"


def _reason(value: object) -> str:
    """Any text, shortened; half a surrogate pair cannot be stored."""
    return str(value or REASON_DEFAULT)[:REASON_MAX_CHARS].encode(errors="replace").decode()


class ProvisioningResult(BaseModel):
    """A provisioner's answer to one event about one line (contract 48)."""

    model_config = ConfigDict(frozen=True, alias_generator=to_camel, populate_by_name=True, strict=True)

    event_id: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{24}:[0-9]{1,6}$")]
    workspace_id: Annotated[str, StringConstraints(pattern=f"^{WORKSPACE_ID}$")]
    line_id: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{24}$")]
    outcome: Literal["succeeded", "failed"]
    reason: Annotated[str, BeforeValidator(_reason)] = REASON_DEFAULT

    @classmethod
    def parse(cls, detail: Any) -> "ProvisioningResult":  # noqa: ANN401 - whatever a provisioner has published
        """Reads an event's detail; raises Invalid, naming the fields that are wrong."""
        try:
            return cls.model_validate(detail)
        except ValidationError as error:
            where = ", ".join(".".join(map(str, fault["loc"])) or "detail" for fault in error.errors())
            raise Invalid(f"a provisioning result has a missing or malformed {where}") from None
