"""What must hold before a change goes in, one session for each kind of check. ``.ci/run`` runs them all.

nox -l                       # the sessions
nox -s lint types            # some of them, each in an environment of its own
nox --no-venv -s lint        # in the environment of nox, which must have .[test]
nox -s tests-3.13 -- tests/unit -k gate
"""

import json
import os
import shutil
import sys
import tomllib
from pathlib import Path
from typing import Final

import nox

ROOT: Final = Path(__file__).parent
PYTHONS: Final = ("3.11", "3.12", "3.13")
PLUGINS: Final = ("console", "desktop_notify", "file_log", "slack", "webhook")
MUTATED: Final = {
    "aintandem_notify/delivery/gate": "tests/unit/delivery/test_gate",
    "aintandem_notify/delivery/judge": "tests/unit/delivery/test_judge",
    "aintandem_notify/domain/reconciliation": "tests/unit/domain/test_reconciliation",
    "aintandem_notify/domain/runs": "tests/unit/domain/test_runs",
    "aintandem_notify/ingest/dedup": "tests/unit/ingest/test_dedup",
    "aintandem_notify/ingest/plan": "tests/unit/ingest/test_plan",
    "aintandem_notify/orchestrator/auth/tokens": "tests/unit/orchestrator/auth/test_tokens",
    "aintandem_notify/orchestrator/link/heartbeat": "tests/unit/orchestrator/link/test_heartbeat",
    "aintandem_notify/rules/globs": "tests/unit/rules/test_globs",
    "aintandem_notify/rules/router": "tests/unit/rules/test_router",
    "aintandem_notify_webhook/signing": "tests/plugins/webhook/test_signing",
}
"""Pure modules, and the beginning of the names of their own tests, which alone have to notice each change."""
NOT_PACKED: Final = ("core", "plugins", "tests", "benchmarks")
"""Folders of the repository; a wheel that has one of them puts it into everybody's site-packages."""

nox.options.sessions = ["tests-3.11", "lint", "types", "layers", "docs", "wheel"]
nox.options.error_on_missing_interpreters = False


def _install(session: nox.Session, *more: str) -> None:
    if session.venv_backend != "none":
        session.install("-e", ".[test]", *more)


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
    """Adds up what the processes of a measured test run wrote; fails below ``fail_under`` in pyproject.toml.

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


@nox.session
def mutation(session: nox.Session) -> None:
    """Changes one thing at a time in pure modules, and lists the changes that none of their own tests noticed.

    ``nox -s mutation -- gate router`` takes only these modules. The folder ``.nox/mutants`` stays: ``mutmut show
    NAME`` there shows a change, and the next call tries only what is new; ``-- --again`` begins anew.
    """
    _install(session, "mutmut>=3.8")
    names = [name for name in session.posargs if not name.startswith("--")]
    chosen = {source: test for source, test in MUTATED.items() if not names or source.rsplit("/", 1)[1] in names}
    folder = ROOT / ".nox" / "mutants"
    if "--again" in session.posargs:
        shutil.rmtree(folder, ignore_errors=True)
    # mutmut finds modules below src/ only, and changes copies.
    for package in (ROOT / "core" / "aintandem_notify", *ROOT.glob("plugins/*/aintandem_notify_*")):
        shutil.copytree(package, folder / "src" / package.name, dirs_exist_ok=True)
    shutil.copytree(ROOT / "tests", folder / "tests", dirs_exist_ok=True)
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["pytest"][
        "ini_options"
    ]
    tests = sorted(str(path.relative_to(ROOT)) for test in chosen.values() for path in ROOT.glob(f"{test}*.py"))
    lines = ["[tool.pytest.ini_options]"]
    lines += [f"{key} = {json.dumps(value)}" for key, value in settings.items() if key != "addopts"]
    lines += [f"addopts = {json.dumps([*settings['addopts'], '-p', 'no:randomly', '-p', 'no:cacheprovider'])}"]
    lines += ["[tool.mutmut]", 'source_paths = ["src/"]']
    lines += [f"only_mutate = {json.dumps([f'src/{source}.py' for source in chosen])}"]
    lines += [f"pytest_add_cli_args_test_selection = {json.dumps(tests)}"]
    (folder / "pyproject.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")
    with session.chdir(folder):
        _run(session, "mutmut", "run")
        _run(session, "mutmut", "results")
