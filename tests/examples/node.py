"""The Node that runs TypeScript without a build: its types are stripped."""

import os
import re
import shutil
import subprocess

STRIPS_TYPES_SINCE = (22, 18)  # https://nodejs.org/api/typescript.html#type-stripping


def executable() -> str | None:
    """A Node on this machine that is new enough; NODE names another one."""
    path = os.environ.get("NODE") or shutil.which("node")
    if path is None:
        return None
    told = subprocess.run([path, "--version"], check=True, capture_output=True, text=True).stdout
    version = re.match(r"v(\d+)\.(\d+)", told)
    return path if version and (int(version[1]), int(version[2])) >= STRIPS_TYPES_SINCE else None
