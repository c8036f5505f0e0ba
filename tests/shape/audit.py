"""`make check`: looks every locked package up in the public advisories with pip-audit.

Where the advisories cannot be reached it says so in one line and ends well: a build without network is no finding. Some
mirrors answer without advisories, so it first looks up a release that is known to have some.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
LOCKS = [ROOT / "layers/requirements.txt", *sorted(ROOT.glob("requirements/*.txt"))]
PIP_AUDIT = ROOT / ".venv-audit/bin/pip-audit"
KNOWN_VULNERABLE = {("urllib3", "1.24.1")}  # https://osv.dev/vulnerability/PYSEC-2019-133
PROBE_S, AUDIT_S = 30, 300
VULNERABLE = 1

Pins = set[tuple[str, str]]


def pins(locks: list[Path]) -> Pins:
    """Name and version of every package in the locks, each once."""
    return {pin for lock in locks for pin in re.findall(r"^([\w.-]+)==([^\s;\\]+)", lock.read_text(), re.MULTILINE)}


def files(found: Pins, folder: Path) -> list[Path]:
    """The pins as requirements; a name that a lock pins for several Pythons is in several files."""
    versions: dict[str, list[str]] = {}
    for name, version in sorted(found):
        versions.setdefault(name, []).append(version)
    made = []
    for number in range(max(map(len, versions.values()))):
        made.append(folder / f"{number}.txt")
        lines = [f"{name}=={of[number]}\n" for name, of in versions.items() if number < len(of)]
        made[-1].write_text("".join(lines))
    return made


def audit(pip_audit: Path, found: Pins, limit_s: float) -> subprocess.CompletedProcess[str] | None:
    """What pip-audit says of the pins; None when it takes too long."""
    with tempfile.TemporaryDirectory() as folder:
        given = [f"--requirement={path}" for path in files(found, Path(folder))]
        # The pins are whole locks, so nothing is resolved.
        options = ["--no-deps", "--disable-pip", "--progress-spinner=off", "--timeout=5"]
        try:
            return subprocess.run(
                [pip_audit, *options, *given], capture_output=True, text=True, check=False, timeout=limit_s
            )
        except subprocess.TimeoutExpired:
            return None


def main(pip_audit: Path = PIP_AUDIT, *, probe_s: float = PROBE_S, audit_s: float = AUDIT_S) -> int:
    """The exit code: 1 with pip-audit's table when a locked package has an advisory."""
    probe = audit(pip_audit, KNOWN_VULNERABLE, probe_s)
    if probe is None or probe.returncode != VULNERABLE or "urllib3" not in probe.stdout:
        print("NOT RUN: pip-audit, because the advisories of pypi.org cannot be reached from here")
        return 0
    done = audit(pip_audit, pins(LOCKS), audit_s)
    if done is None:
        print(f"NOT RUN: pip-audit, because pypi.org did not answer within {audit_s} seconds")
        return 0
    print(done.stdout or done.stderr)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
