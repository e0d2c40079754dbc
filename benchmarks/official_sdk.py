"""Installs the orchestrator's official SDK (npm) beside its lock file, for tests and benchmarks."""

import shutil
import subprocess
from pathlib import Path
from typing import Final

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]  # a module has no optional type

FOLDER: Final = Path(__file__).parents[1] / "tests" / "conformance"
"""Contains ``package.json``, its lock file and the scripts that use the SDK."""
MIN_NODE: Final = 20
"""The lowest supported major version of Node.js."""
INSTALL_TIMEOUT_S: Final = 180.0


class SdkMissing(Exception):
    """The SDK cannot be installed on this machine; the text gives the reason."""


def node() -> str:
    """Path of Node.js. Raises SdkMissing when it is not installed or too old."""
    if (executable := shutil.which("node")) is None:
        raise SdkMissing("Node.js is not installed")
    version = subprocess.run([executable, "--version"], capture_output=True, text=True, check=False).stdout.strip()
    major = version.removeprefix("v").partition(".")[0]
    if not major.isdigit() or int(major) < MIN_NODE:
        raise SdkMissing(f"Node.js {MIN_NODE} or newer is needed, {executable} is {version or 'none'}")
    return executable


def install_sdk() -> None:
    """Install the packages of the lock file unless they are installed. Raises SdkMissing when that fails.

    Of several concurrent processes, one installs and the others wait: ``npm ci`` first removes an installation,
    even if another process has begun to use it.
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
