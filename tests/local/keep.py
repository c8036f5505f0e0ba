"""What `KEEP=dir make run` keeps in a folder from one run to the next; the product itself is deployed anew."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.local.ministack import StartError

if TYPE_CHECKING:
    from pathlib import Path

    from tests.local.demo import DemoState

Json = dict[str, Any]


@dataclass(frozen=True)
class Kept:
    """Workspaces with their keys, the table, Stripe's account, the ports that links name, and the time."""

    demo: DemoState
    items: list[Json]  # of the table, as DynamoDB writes them
    stripe: bytes
    origin_port: int
    ministack_port: int
    stripe_port: int
    seconds_ahead: int


class Keep:
    """One folder; `kept` is what was in it at first, if anything."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "local-stack.pickle"
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.kept: Kept | None = pickle.loads(self._file.read_bytes()) if self._file.exists() else None  # noqa: S301 - its own writing
        except Exception as error:
            raise StartError(f"KEEP: {self._file} cannot be read ({error!r}): remove it, or name another") from error

    def save(self, kept: Kept) -> None:
        """Replaces what was kept, at once."""
        partial = self._file.with_suffix(".partial")
        partial.write_bytes(pickle.dumps(kept))
        partial.replace(self._file)
