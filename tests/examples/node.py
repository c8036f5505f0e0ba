"""How TypeScript runs on this machine: by Node alone, or with the packages that `make clients` installs."""

import os
import re
import shutil
import subprocess

from tests.local.ministack import ROOT

STRIPS_TYPES_SINCE = (22, 18)  # https://nodejs.org/api/typescript.html#type-stripping
PACKAGES = ROOT / "build/clients/node_modules"


def command() -> list[str] | None:
    """What runs a TypeScript file: a Node that is new enough, or an older one with tsx; NODE names another Node.

    In one process: `tsx` as a command starts another one, which would outlive it when it is killed.
    """
    path = os.environ.get("NODE") or shutil.which("node")
    if path is None:
        return None
    told = subprocess.run([path, "--version"], check=True, capture_output=True, text=True).stdout
    version = re.match(r"v(\d+)\.(\d+)", told)
    if version and (int(version[1]), int(version[2])) >= STRIPS_TYPES_SINCE:
        return [path]
    tsx = PACKAGES / "tsx/dist/loader.mjs"
    return [path, "--import", tsx.as_uri()] if tsx.exists() else None
