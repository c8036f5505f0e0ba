"""One session of pytest that tries many mutants: each in a fork, with the tests that run its line, the quickest first.

The product is imported once, not once a mutant: a fork puts the mutant's code into the functions that are there.
"""

import functools
import gc
import math
import mmap
import os
import resource
import threading
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType, FunctionType
from typing import TextIO

import coverage
import hypothesis
import pytest

from tests.mutation.mutants import ROOT, TEMPLATE, Mutant

# Time that the processor spends on one mutant, so that a busy machine makes no difference; and one that only waits.
CPU_MAX_S = 120
WAIT_MAX_S = 600
# Of a property: what breaks it breaks it soon.
EXAMPLES, PROPERTY = 30, "_hypothesis_internal_use_settings"
# Not to shrink an example: that it exists is enough.
PHASES = (hypothesis.Phase.explicit, hypothesis.Phase.generate)
# Whose caches are emptied for a mutant; to read the SDKs' data again takes a second.
PRODUCT = "line_requests"
PLUGINS_OFF = ("cacheprovider", "cov", "randomly", "schemathesis", "xdist")
FOUND, NOT_FOUND, NOT_PUT, OUT_OF_TIME = 1, 0, 3, 4


class Session:
    """A plugin of pytest: runs the tests once to see which lines each runs, then those of each mutant in a fork."""

    def __init__(self, mutants: Sequence[Mutant], *, processes: int, end_s: float, results: TextIO) -> None:
        self._mutants = mutants
        self._processes = processes
        self._end_s = end_s
        self._results = results
        self.has_begun = False
        self._failed = False
        self._caches: list[functools._lru_cache_wrapper[object]] = []
        self._sound: list[pytest.Item] = []
        self._seconds: dict[pytest.Item, float] = {}
        self._kills: dict[pytest.Item, memoryview] = {}
        self._tests_of = defaultdict[tuple[str, int], set[pytest.Item]](set)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Remembers that the test failed."""
        self._failed |= report.failed

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Tries every mutant, in the place of pytest's own loop."""
        self.has_begun = True
        # A byte for each test, shared by all processes: how many mutants it has found.
        shared = memoryview(mmap.mmap(-1, len(session.items) + 1))
        self._kills = {item: shared[number : number + 1] for number, item in enumerate(session.items)}
        self._look(session.items)
        gc.unfreeze()  # what tests/conftest.py has frozen is hidden
        objects = gc.get_objects()
        functions = defaultdict[tuple[str, str], list[FunctionType]](list)
        for one in objects:
            if isinstance(one, FunctionType):
                functions[one.__code__.co_filename, one.__code__.co_qualname].append(one)
        _close_connections(objects)
        self._caches = [
            one for one in objects if isinstance(one, type(_cached)) and str(one.__module__).startswith(PRODUCT)
        ]
        del objects
        gc.freeze()
        running: dict[int, str] = {}
        for mutant in self._mutants:
            if time.monotonic() > self._end_s:
                break
            if len(running) == self._processes:
                self._wait(running)
            running[self._start(mutant, functions)] = mutant.name
        while running:
            self._wait(running)
        return True

    def _look(self, items: Sequence[pytest.Item]) -> None:
        """Runs every test once, on the product as it is."""
        for item in items:
            test = getattr(item, "obj", None)
            if usual := getattr(test, PROPERTY, None):
                setattr(test, PROPERTY, hypothesis.settings(usual, max_examples=EXAMPLES, phases=PHASES))
        watch = coverage.Coverage(
            data_file=None, config_file=False, source=[str(ROOT / "layers"), str(ROOT / "functions")]
        )
        watch.start()
        for number, (item, following) in enumerate(zip(items, [*items[1:], None], strict=True)):
            if time.monotonic() > self._end_s:
                break
            watch.switch_context(str(number))
            began_s, self._failed = time.process_time(), False
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            self._seconds[item] = max(0.001, time.process_time() - began_s)
            if self._failed:
                print("unsound", item.nodeid, file=self._results)
            else:
                self._sound.append(item)
        watch.stop()
        data, sound = watch.get_data(), set(self._sound)
        for file in data.measured_files():
            for line, contexts in data.contexts_by_lineno(file).items():
                self._tests_of[file, line] = {items[int(number)] for number in contexts if number} & sound

    def _start(self, mutant: Mutant, functions: Mapping[tuple[str, str], list[FunctionType]]) -> int:
        """The process that tries the mutant."""
        child = os.fork()
        if child:
            return child
        try:
            limit_time(self._end_s)
            if not self._put(mutant, functions):
                os._exit(NOT_PUT)
            tests = self._tests(mutant)
            for item, following in zip(tests, [*tests[1:], None], strict=True):
                self._failed = False
                item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
                if self._failed:
                    self._kills[item][0] = min(255, self._kills[item][0] + 1)
                    os._exit(FOUND)
        except BaseException:  # noqa: BLE001 - a session that does not even run is found out, too
            os._exit(FOUND)
        os._exit(NOT_FOUND)

    def _tests(self, mutant: Mutant) -> list[pytest.Item]:
        if mutant.path == TEMPLATE:
            return self._sound
        found = set[pytest.Item]().union(*(self._tests_of[str(mutant.path), line] for line in mutant.place.lines))
        # What has found the most in the least time first, then the quickest.
        return sorted(found, key=lambda item: (-self._kills[item][0] / self._seconds[item], self._seconds[item]))

    def _put(self, mutant: Mutant, functions: Mapping[tuple[str, str], list[FunctionType]]) -> bool:
        plant(mutant)
        name = mutant.place.function
        if mutant.path == TEMPLATE or (not name and mutant.path.is_relative_to(ROOT / "functions")):
            return True  # read again by each test
        if not name:
            return False
        code = _code_of(compile(mutant.text(), str(mutant.path), "exec", dont_inherit=True), name)
        for function in functions.get((str(mutant.path), name), ()):
            if len(code.co_freevars) != len(function.__code__.co_freevars):
                return False
            function.__code__ = code
        for cached in self._caches:
            cached.cache_clear()
        return True

    def _wait(self, running: dict[int, str]) -> None:
        child, status = os.wait()
        name = running.pop(child)
        ends = {NOT_FOUND: "survived", NOT_PUT: "cold", OUT_OF_TIME: None}
        if how := ends.get(os.waitstatus_to_exitcode(status), "killed"):
            print(how, name, file=self._results)


@functools.cache
def _cached() -> None:
    """Something of the type of what is cached."""


def _code_of(module: CodeType, name: str) -> CodeType:
    """The code of a function, by its qualified name."""
    for part in name.split("."):
        # The last one of a name: of a property's getter and setter, or of overloads.
        module = [one for one in module.co_consts if isinstance(one, CodeType) and one.co_name == part][-1]
    return module


def _close_connections(objects: Sequence[object]) -> None:
    """Of processes that share one connection, each would read the other's answers."""
    from urllib3.connectionpool import HTTPConnectionPool

    for one in objects:
        if isinstance(one, HTTPConnectionPool) and one.pool is not None:
            for connection in filter(None, list(one.pool.queue)):
                connection.close()


def limit_time(end_s: float = math.inf) -> None:
    """Ends this process when it takes too long, or when the time for all of them is over."""
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_MAX_S, CPU_MAX_S))
    left_s = max(0.0, end_s - time.monotonic())
    timer = threading.Timer(min(WAIT_MAX_S, left_s), os._exit, (OUT_OF_TIME if left_s < WAIT_MAX_S else FOUND,))
    timer.daemon = True
    timer.start()


def be_silent() -> None:
    """Lets this process print nothing."""
    silence = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(silence, stream)


def plant(mutant: Mutant) -> None:
    """Puts the mutant in the place of its file, for this process, as far as it has not read it yet."""
    read_text, get_code = Path.read_text, SourceFileLoader.get_code

    def read_mutant(path: Path, encoding: str | None = None, errors: str | None = None) -> str:
        return mutant.text() if path == mutant.path else read_text(path, encoding, errors)

    def get_mutant(loader: SourceFileLoader, fullname: str) -> CodeType | None:
        if Path(loader.path) != mutant.path:
            return get_code(loader, fullname)
        return compile(mutant.text(), loader.path, "exec", dont_inherit=True)

    if mutant.path == TEMPLATE:
        Path.read_text = read_mutant  # type: ignore[method-assign, assignment] # only in this process
    else:
        SourceFileLoader.get_code = get_mutant  # type: ignore[method-assign, assignment] # only in this process
