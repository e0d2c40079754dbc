"""The package's public names: complete, typed, and imported at their first use."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import aintandem_notify
from aintandem_notify import api, client, errors

NAMES = [name for name in importlib.import_module("aintandem_notify").__all__ if name != "__version__"]


def test_all_that_plugins_need_and_all_errors_are_there() -> None:
    raised = {
        name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, Exception)
    }
    assert set(errors.__all__) == raised | {"Problem"}
    assert sorted(NAMES) == sorted({*api.__all__, *client.__all__, *errors.__all__})


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_the_same_as_in_its_module(name: str) -> None:
    home = next(module for module in (api, client, errors) if name in module.__all__)
    assert getattr(aintandem_notify, name) is getattr(home, name)
    assert name in dir(aintandem_notify)


def test_the_stub_takes_all_of_the_modules() -> None:
    stub = Path(aintandem_notify.__file__).with_suffix(".pyi").read_text(encoding="utf-8")
    homes = [node.module for node in ast.parse(stub).body if isinstance(node, ast.ImportFrom)]
    assert homes == [api.__name__, client.__name__, errors.__name__]


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Plugins'"):
        getattr(aintandem_notify, "Plugins")  # noqa: B009  # mypy knows that there is none


def test_importing_the_package_and_its_command_line_imports_little() -> None:
    code = "import sys, aintandem_notify.cli.main; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    heavy = {"trio", "pydantic", "structlog", "rich", "jinja2", "sqlalchemy", "starlette", "httpx"}
    assert not heavy & set(done.stdout.split())
