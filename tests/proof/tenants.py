"""Whose workspace it is: what is staged, and what is checked, is about one workspace at a time."""

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple


class Tenant(NamedTuple):
    """A workspace, by all its names."""

    workspace: str
    customer: str
    subscription: str
    tag: str = ""
    """Tells what is created for it from what is created for others."""

    @property
    def api_key(self) -> str:
        body = f"tuco_{self.workspace}_{'a' * 32}"
        return body + f"{zlib.crc32(body.encode()):08x}"

    def owns(self, partition: str) -> bool:
        """Whether items of this partition are the workspace's."""
        return partition == f"W#{self.workspace}"


class _Everyone(Tenant):
    def owns(self, partition: str) -> bool:
        return partition.startswith("W#")


FIRST = Tenant("ws", "cus_1", "sub_1")
SECOND = Tenant("neighbour", "cus_2", "sub_2", tag="neighbour's ")
EVERYONE = _Everyone("", "", "")
"""For what serves all workspaces at once."""

_current: Tenant = FIRST


def tenant() -> Tenant:
    """The workspace that it is about now."""
    return _current


@contextmanager
def for_tenant(other: Tenant) -> Iterator[None]:
    """Makes it be about another workspace."""
    global _current  # noqa: PLW0603 - one thread, and what depends on it runs inside
    before, _current = _current, other
    try:
        yield
    finally:
        _current = before
