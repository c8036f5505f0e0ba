"""How a bug is planted: a small change of the product's source that some scenario has to find out.

A change is made while the module is imported, in a process of its own; text that is not there
exactly once is an error, so a bug that can no longer be planted does not count as found.
"""

import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, ModuleType

ROOT = Path(__file__).parents[2]
LAYER = ROOT / "layers" / "line_requests"


@dataclass(frozen=True)
class Mutant:
    """A planted bug, and the scenarios that are to find it."""

    name: str
    changes: tuple[tuple[str, str, str], ...]
    """Module, text as it is, text as it is to be."""
    scenarios: tuple[str, ...]

    @classmethod
    def of(cls, name: str, module: str, before: str, after: str, *scenarios: str) -> "Mutant":
        """A bug of one change."""
        return cls(name, ((module, before, after),), scenarios)


def path_of(module: str) -> Path:
    """The file of a module, named from the layer's package on, or a function's: `flows.create`, `functions.x.app`."""
    root = ROOT if module.startswith("functions.") else LAYER
    return root.joinpath(*module.split(".")).with_suffix(".py")


class _Patched(importlib.machinery.SourceFileLoader):
    """Compiles a module's source with the changes in it."""

    def __init__(self, fullname: str, path: str, changes: Sequence[tuple[str, str]]) -> None:
        super().__init__(fullname, path)
        self._changes = changes

    def get_code(self, fullname: str) -> CodeType:
        source = Path(self.get_filename(fullname)).read_text()
        for before, after in self._changes:
            if source.count(before) != 1:
                raise LookupError(f"{fullname} has {source.count(before)} of {before!r}, not one")
            source = source.replace(before, after)
        return compile(source, self.get_filename(fullname), "exec", dont_inherit=True)


class _Finder(importlib.abc.MetaPathFinder):
    def __init__(self, changes: dict[str, list[tuple[str, str]]]) -> None:
        self._changes = changes

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        del path, target
        module = fullname.removeprefix("line_requests.")
        if module not in self._changes or (module == fullname and not module.startswith("functions.")):
            return None
        file = str(path_of(module))
        loader = _Patched(fullname, file, self._changes[module])
        return importlib.util.spec_from_file_location(fullname, file, loader=loader)


def plant(mutant: Mutant) -> None:
    """Plants the bug in this process, which has not imported the product yet."""
    assert not any(name.startswith("line_requests") for name in sys.modules), "the product is there already"
    changes: dict[str, list[tuple[str, str]]] = {}
    for module, before, after in mutant.changes:
        changes.setdefault(module, []).append((before, after))
    sys.meta_path.insert(0, _Finder(changes))
