"""Installs the official SDK of the orchestrator (npm) where its tests and benchmarks find it: beside its lock."""

import shutil
import subprocess
from pathlib import Path
from typing import Final

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]  # a module has no type that None could join

FOLDER: Final = Path(__file__).parents[1] / "tests" / "conformance"
"""Holds ``package.json``, its lock and the scripts that use the SDK."""
MIN_NODE: Final = 20
"""The major version of Node.js that the comparison is about."""
INSTALL_TIMEOUT_S: Final = 180.0


class SdkMissing(Exception):
    """The SDK cannot be had on this machine; says why."""


def node() -> str:
    """Where Node.js is; raises SdkMissing when there is none, or one that is too old."""
    if (executable := shutil.which("node")) is None:
        raise SdkMissing("Node.js is not installed")
    version = subprocess.run([executable, "--version"], capture_output=True, text=True, check=False).stdout.strip()
    major = version.removeprefix("v").partition(".")[0]
    if not major.isdigit() or int(major) < MIN_NODE:
        raise SdkMissing(f"Node.js {MIN_NODE} or newer is needed, {executable} is {version or 'none'}")
    return executable


def install_sdk() -> None:
    """Install what the lock names, unless it is there already; raises SdkMissing when that fails.

    Of several processes that want it at once, one installs it and the others wait: ``npm ci`` begins with removing
    what is there, be it what another one has just begun to use.
    """
    with (FOLDER / "package-lock.json").open(encoding="utf-8") as lock:
        if fcntl is not None:
            fcntl.flock(lock, fcntl.LOCK_EX)
        _install(lock.read())


def _install(lock: str) -> None:
    installed = FOLDER / "node_modules" / ".installed-from.json"
    if installed.is_file() and installed.read_text(encoding="utf-8") == lock:
        return
    if (npm := shutil.which("npm")) is None:
        raise SdkMissing("npm is not installed")
    try:
        subprocess.run(
            [npm, "ci", "--silent", "--prefer-offline"],
            cwd=FOLDER,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=True,
            timeout=INSTALL_TIMEOUT_S,
        )
        installed.write_text(lock, encoding="utf-8")
    except (OSError, subprocess.SubprocessError) as error:
        raise SdkMissing(f"npm could not install the official SDK: {error}") from error
