"""The distribution contains every package of the repository: a misspelt path would omit a plugin."""

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
TYPES = sorted(path.name for path in (ROOT / "plugins").iterdir() if path.is_dir())
FRAMEWORK = "aintandem_notify"


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    """``pyproject.toml``."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def package_of(plugin_type: str) -> str:
    return f"aintandem_notify_{plugin_type}"


def imported_modules(source: Path) -> Iterator[str]:
    """The absolute names of all imports in the module and its functions; a relative import yields its dots."""
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=module, level=level):
                yield "." * level + (module or "")


def allowed_in_plugin(plugin_type: str, module: str) -> bool:
    """True if a built-in plugin may import ``module``: its own package, the plugin API, or a third-party one."""
    top = module.partition(".")[0]
    if top == FRAMEWORK:
        return module == f"{FRAMEWORK}.api"
    return top == package_of(plugin_type) or (not top.startswith((FRAMEWORK, ".")) and top != "")


def test_the_built_in_plugins_are_these() -> None:
    assert TYPES == ["console", "desktop_notify", "file_log", "slack", "webhook"]


def test_every_plugin_folder_is_packed(project: dict[str, Any]) -> None:
    packed = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]

    expected = [f"core/{FRAMEWORK}", *(f"plugins/{name}/{package_of(name)}" for name in TYPES)]
    assert sorted(packed) == sorted(expected)


def test_every_plugin_folder_has_its_entry_point(project: dict[str, Any]) -> None:
    assert project["project"]["entry-points"][FRAMEWORK] == {name: package_of(name) for name in TYPES}


def test_the_licence_and_the_authors_are_named(project: dict[str, Any]) -> None:
    metadata = project["project"]

    assert metadata["license"] == "Apache-2.0"
    assert [(ROOT / name).read_text(encoding="utf-8").split()[:2] for name in metadata["license-files"]] == [
        ["Apache", "License"]
    ]
    assert metadata["authors"] == [{"name": "The aintandem-notify authors"}]


def test_mypy_finds_every_plugin(project: dict[str, Any]) -> None:
    searched = project["tool"]["mypy"]["mypy_path"].split(":")

    assert {f"plugins/{name}" for name in TYPES} <= set(searched)


@pytest.mark.parametrize("plugin_type", TYPES)
def test_a_plugin_folder_holds_its_package_and_its_readme_and_nothing_else(plugin_type: str) -> None:
    folder = ROOT / "plugins" / plugin_type

    # An editable install puts this folder on sys.path, so that any other file in it could be imported.
    names = {path.name for path in folder.iterdir() if path.name != "__pycache__"}
    assert names == {"README.md", package_of(plugin_type)}
    assert (folder / package_of(plugin_type) / "__init__.py").is_file()
    assert (folder / "README.md").read_text(encoding="utf-8").startswith("# ")


@pytest.mark.parametrize("plugin_type", TYPES)
def test_a_plugin_imports_nothing_of_ours_but_the_api(plugin_type: str) -> None:
    package = ROOT / "plugins" / plugin_type / package_of(plugin_type)
    sources = sorted(package.rglob("*.py"))

    forbidden = {
        f"{source.relative_to(ROOT)}: {module}"
        for source in sources
        for module in imported_modules(source)
        if not allowed_in_plugin(plugin_type, module)
    }
    assert sources
    assert forbidden == set()


@pytest.mark.parametrize(
    ("module", "allowed"),
    [
        ("aintandem_notify.api", True),
        ("aintandem_notify", False),
        ("aintandem_notify.domain.events", False),
        ("aintandem_notify.api.more", False),
        ("aintandem_notify_slack.cards", True),
        ("aintandem_notify_webhook", False),
        (".cards", False),
        (".", False),
        ("trio", True),
        ("os.path", True),
    ],
)
def test_the_check_of_imports_can_tell(module: str, allowed: bool) -> None:
    assert allowed_in_plugin("slack", module) is allowed
