"""What must hold before a change goes in, one session for each kind of check. ``.ci/run`` runs them all.

nox -l                       # the sessions
nox -s lint types            # some of them, each in an environment of its own
nox --no-venv -s lint        # in the environment of nox, which must have .[test]
nox -s tests-3.13 -- tests/unit -k gate
"""

import os
import sys
from pathlib import Path
from typing import Final

import nox

PYTHONS: Final = ("3.11", "3.12", "3.13")
PLUGINS: Final = ("console", "desktop_notify", "file_log", "slack", "webhook")
NOT_PACKED: Final = ("core", "plugins", "tests", "benchmarks")
"""Folders of the repository; a wheel that has one of them puts it into everybody's site-packages."""

nox.options.sessions = ["tests-3.11", "lint", "types", "layers", "docs", "wheel"]
nox.options.error_on_missing_interpreters = False


def _install(session: nox.Session) -> None:
    if session.venv_backend != "none":
        session.install("-e", ".[test]")


def _run(session: nox.Session, program: str, *arguments: str) -> None:
    """Runs a program of the session's environment, which finds the other ones there."""
    programs = Path(sys.executable).parent if session.venv_backend == "none" else Path(session.bin)
    path = os.pathsep.join([str(programs), os.environ["PATH"]])
    session.run(str(programs / program), *arguments, env={"PATH": path}, external=True)


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """All suites, or those that are given."""
    _install(session)
    _run(session, "pytest", "-n", "auto", *session.posargs)


@nox.session
def coverage(session: nox.Session) -> None:
    """Adds up what the processes of a measured test run wrote, and fails below the limit in pyproject.toml.

    ``COVERAGE_FILE=$PWD/.coverage COVERAGE_PROCESS_START=$PWD/pyproject.toml nox -s tests-3.11 coverage``
    """
    _install(session)
    _run(session, "coverage", "combine", "--quiet")
    _run(session, "coverage", "report", "--skip-covered", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Ruff: rules and format."""
    _install(session)
    _run(session, "ruff", "check", ".")
    _run(session, "ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Mypy over all code; then pyright, that other people's type checkers infer the same types. Needs Node.js."""
    _install(session)
    _run(session, "mypy")
    _run(session, "pyright", "--ignoreexternal", "--verifytypes", "aintandem_notify")


@nox.session
def layers(session: nox.Session) -> None:
    """The layers and doors of docs/architecture.md."""
    _install(session)
    _run(session, "lint-imports", "--no-logo")


@nox.session
def docs(session: nox.Session) -> None:
    """The pages that are made from the code are up to date, and every page agrees with the code."""
    _install(session)
    _run(session, "pytest", "-q", "tests/repository")


@nox.session
def wheel(session: nox.Session) -> None:
    """A built wheel works in a new environment, and brings nothing but our packages."""
    _install(session)
    folder = Path(session.create_tmp()).resolve()
    _run(session, "pyproject-build", "--wheel", "--outdir", str(folder / "dist"), ".")
    (built,) = (folder / "dist").glob("*.whl")
    session.run(sys.executable, "-m", "venv", "--clear", str(folder / "venv"), external=True)
    programs = folder / "venv" / ("Scripts" if sys.platform == "win32" else "bin")
    session.run(str(programs / "python"), "-m", "pip", "install", "-qq", str(built), external=True)
    # In a folder without our sources, which Python would find first.
    with session.chdir(folder):
        for name in NOT_PACKED:
            script = f"import importlib.util; assert importlib.util.find_spec({name!r}) is None, {name!r}"
            session.run(str(programs / "python"), "-c", script, external=True)
        command = str(programs / "aintandem-notify")
        session.run(command, "--version", external=True)
        listed = session.run(command, "plugins", "list", external=True, silent=True) or ""
    session.log(listed)
    for plugin in PLUGINS:
        if plugin not in listed.split():
            session.error(f"the wheel does not bring the plugin {plugin}")


@nox.session
def lowest(session: nox.Session) -> None:
    """The tests that start no process, with the lowest versions of all that pyproject.toml names."""
    session.install("uv")
    session.run("uv", "pip", "install", "-q", "--resolution", "lowest-direct", "-e", ".[test]")
    _run(session, "pytest", "-n", "auto", *(session.posargs or ("tests/unit", "tests/contract", "tests/plugins")))
