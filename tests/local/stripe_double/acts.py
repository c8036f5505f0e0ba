"""One act at Stripe after the other, and what each has changed."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from .account import Account

    OnAct = Callable[[int, list[tuple[str, str, object]]], object]


class Acts:
    """The lock around an account; requests run on the server's one thread, controls on any."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._lock = threading.RLock()
        self._depth = 0
        self._began_ns = 0
        self.on_act: OnAct | None = None
        """Is told when an act began, and each object that it changed: its kind, its id, and what it is now."""

    def __enter__(self) -> None:
        self._lock.acquire()
        self._depth += 1
        if self._depth == 1:
            self._began_ns = time.monotonic_ns()

    def __exit__(self, *_: object) -> None:
        self._depth -= 1
        if not self._depth:
            changed = sorted(self._account.changed)
            self._account.changed.clear()
            if changed and self.on_act:
                tables = self._account.tables
                self.on_act(self._began_ns, [(kind, name, tables[kind].get(name)) for kind, name in changed])
        self._lock.release()
