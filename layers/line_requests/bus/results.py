"""Provisioning results in: what a provisioner publishes about one line."""

from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from line_requests.domain.errors import Invalid
from line_requests.domain.form import CHECKS, Text
from line_requests.domain.ids import WORKSPACE_ID
from line_requests.domain.model import Delivered, ReasonCode
from line_requests.domain.submission import client_name

REASON_MAX_CHARS = 256


def _reason(value: object) -> str | None:
    """Any text, shortened; None when there is none. Half a surrogate pair cannot be stored."""
    return str(value)[:REASON_MAX_CHARS].encode(errors="replace").decode() if value else None


def _reason_code(value: object) -> ReasonCode:
    return next((code for code in ReasonCode if code == value), ReasonCode.OTHER)


class _Delivered(BaseModel):
    """What was delivered, held to the rules of a request (contract 10, 11)."""

    phone: Text = None
    email: Text = None
    reference: Text = None

    @field_validator(*CHECKS)
    @classmethod
    def _is_as_in_a_request(cls, text: str | None, info: ValidationInfo) -> str | None:
        if text is not None:
            CHECKS[info.field_name or ""](text)
        return text


class ProvisioningResult(BaseModel):
    """A provisioner's answer to one event about one line (contract 48, 60)."""

    model_config = ConfigDict(alias_generator=client_name, populate_by_name=True)

    event_id: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{24}:[0-9]{1,6}$")]
    workspace_id: Annotated[str, StringConstraints(pattern=f"^{WORKSPACE_ID}$")]
    line_id: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{24}$")]
    outcome: Literal["succeeded", "failed"]
    reason: Annotated[str | None, BeforeValidator(_reason)] = None
    reason_code: Annotated[ReasonCode, BeforeValidator(_reason_code)] = ReasonCode.OTHER
    delivered: _Delivered | None = None

    @model_validator(mode="before")
    @classmethod
    def _ignore_delivered_on_failure(cls, detail: Any) -> Any:  # noqa: ANN401 - whatever a provisioner has published
        failed = isinstance(detail, dict) and detail.get("outcome") == "failed"
        return {name: value for name, value in detail.items() if name != "delivered"} if failed else detail

    @property
    def what_was_delivered(self) -> Delivered | None:
        """None when the result names nothing."""
        named = self.delivered.model_dump(exclude_none=True) if self.delivered else {}
        return Delivered(**named) if named else None

    @classmethod
    def parse(cls, detail: Any) -> "ProvisioningResult":  # noqa: ANN401 - whatever a provisioner has published
        """Reads an event's detail; raises Invalid, naming the fields that are wrong."""
        try:
            return cls.model_validate(detail)
        except ValidationError as error:
            where = ", ".join(".".join(map(str, fault["loc"])) or "detail" for fault in error.errors())
            raise Invalid(f"a provisioning result has a missing or malformed {where}") from None
