"""Finding plugins and importing them: once, again after a change, and without side effects."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from importlib.metadata import EntryPoint, PathDistribution
from pathlib import Path
from types import ModuleType

import pytest

from aintandem_notify.errors import PluginError
from aintandem_notify.plugins import Catalog
from aintandem_notify.plugins.border import SourceFiles
from support.plugin_files import BEEP, HEAD, Write, refusal


def offer(folder: Path, name: str, module: str, *, package: str = "foo", version: str = "1.2") -> EntryPoint:
    """An entry point of a package that is installed in ``folder``."""
    metadata = folder / f"{package}-{version}.dist-info"
    metadata.mkdir(exist_ok=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")
    (metadata / "entry_points.txt").write_text(f"[aintandem_notify]\n{name} = {module}\n")
    (point,) = PathDistribution(metadata).entry_points
    return point


def test_a_file_beside_the_config_is_a_plugin(catalog: Catalog, plugins_dir: Path, write: Write) -> None:
    path = write("beep", BEEP)
    plugin_type = catalog.find("beep", plugins_dir)
    assert plugin_type.plugin_class.__name__ == "Beep"
    assert plugin_type.config_model.__name__ == "Config"
    assert plugin_type.delivers
    assert plugin_type.live_hooks == {"on_task_event"}
    assert plugin_type.origin == "file plugins/beep.py"
    assert plugin_type.source_files == SourceFiles(path)
    assert catalog.latest("beep") is plugin_type


def test_an_installed_package_is_a_plugin(
    tmp_path: Path, plugins_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "sample_beeper"
    package.mkdir()
    (package / "__init__.py").write_text("from sample_beeper.inside import Beep\n")
    (package / "inside.py").write_text(BEEP)
    monkeypatch.syspath_prepend(tmp_path)
    point = offer(tmp_path, "beep", "sample_beeper")
    plugin_type = Catalog(lambda: [point]).find("beep", plugins_dir)
    assert plugin_type.origin == "package foo 1.2"
    assert plugin_type.source_files == SourceFiles(package / "__init__.py", package)
    assert "sample_beeper" in sys.modules


def test_both_are_named_when_a_name_is_taken_twice(tmp_path: Path, plugins_dir: Path, write: Write) -> None:
    write("beep", "raise AssertionError('imported')")
    catalog = Catalog(lambda: [offer(tmp_path, "beep", "no_such_module")])
    assert (
        refusal(catalog, plugins_dir)
        == "found more than once, as package foo 1.2 and as file plugins/beep.py; rename or remove one"
    )


def test_two_packages_with_one_name_are_both_named(tmp_path: Path, plugins_dir: Path) -> None:
    points = [
        offer(tmp_path, "beep", "no_such_module"),
        offer(tmp_path, "beep", "no_such_module", package="bar", version="3"),
    ]
    reason = refusal(Catalog(lambda: points), plugins_dir)
    assert "package foo 1.2 and as package bar 3" in reason


@pytest.mark.parametrize("name", ["beep", "../beep", "", "_hidden"])
def test_a_missing_plugin_is_refused(catalog: Catalog, tmp_path: Path, plugins_dir: Path, name: str) -> None:
    (tmp_path / "beep.py").write_text(BEEP)
    (plugins_dir / "_hidden.py").write_text(BEEP)
    assert refusal(catalog, plugins_dir, name).startswith("no such plugin")


def test_names_lists_everything_and_imports_nothing(tmp_path: Path, plugins_dir: Path, write: Write) -> None:
    write("beep", "raise AssertionError('imported')")
    write("_helper", "")
    (plugins_dir / "notes.txt").write_text("")
    catalog = Catalog(lambda: [offer(tmp_path, "honk", "no_such_module")])
    assert catalog.names(plugins_dir) == ["beep", "honk"]
    assert catalog.names(tmp_path / "missing") == ["honk"]


def test_only_the_requested_plugin_is_imported(catalog: Catalog, plugins_dir: Path, write: Write) -> None:
    write("broken", "raise AssertionError('imported')")
    write("beep", BEEP)
    assert catalog.find("beep", plugins_dir).name == "beep"


def test_a_plugin_is_imported_once_until_its_file_changes(
    catalog: Catalog, plugins_dir: Path, write: Write
) -> None:
    write("beep", BEEP)
    first = catalog.find("beep", plugins_dir)
    assert catalog.find("beep", plugins_dir) is first
    write("beep", BEEP.replace("times", "count"))
    second = catalog.find("beep", plugins_dir)
    assert second.plugin_class is not first.plugin_class
    assert "count" in second.config_model.model_fields


def test_a_reload_with_a_catalog_of_its_own_finds_the_same_classes(plugins_dir: Path, write: Write) -> None:
    write("beep", BEEP)
    first = Catalog(tuple).find("beep", plugins_dir)
    second = Catalog(tuple).find("beep", plugins_dir)
    assert second == first
    assert second.plugin_class is first.plugin_class


def test_a_module_whose_import_was_given_up_half_way_is_imported_again(
    plugins_dir: Path, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def block_once() -> None:
        if not begun.is_set():
            begun.set()
            go_on.wait()

    gate = ModuleType("catalog_gate")
    gate.block_once = block_once  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "catalog_gate", gate)
    write("beep", BEEP + "\nimport catalog_gate\ncatalog_gate.block_once()\nis_complete = True\n")
    left_behind = threading.Thread(target=partial(Catalog(tuple).find, "beep", plugins_dir))
    left_behind.start()
    begun.wait()
    try:
        found = Catalog(tuple).find("beep", plugins_dir)
        assert getattr(sys.modules[found.plugin_class.__module__], "is_complete", False)
    finally:
        go_on.set()
        left_behind.join()


IMPORTS_HELPERS = (
    "import sys; from pathlib import Path\nsys.path.insert(0, str(Path(__file__).parent))\n"
    "from beep_parts.tone import TONE\nimport beep_volume\n" + BEEP
)


@pytest.fixture
def sys_path() -> Iterator[None]:
    """Takes a plugin's folders off ``sys.path``, and its helpers out of ``sys.modules``."""
    path, modules = list(sys.path), set(sys.modules)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        del sys.modules[name]


@pytest.mark.usefixtures("sys_path")
def test_a_changed_helper_is_imported_again_with_every_plugin_that_has_it(
    catalog: Catalog, plugins_dir: Path, write: Write
) -> None:
    (plugins_dir / "beep_parts").mkdir()
    write("beep_parts/__init__", "")
    write("beep_parts/tone", "import beep_volume\nTONE = (440, beep_volume.VOLUME)\n")
    write("beep_volume", "VOLUME = 1\n")
    write("beep", IMPORTS_HELPERS)
    write("chime", IMPORTS_HELPERS.replace("Beep", "Chime"))
    write("plain", BEEP)

    def find() -> list[type]:
        found = [catalog.find(name, plugins_dir) for name in ("plain", "beep", "chime")]
        again = [Catalog(tuple).find(name, plugins_dir) for name in ("plain", "beep", "chime")]
        assert found == again
        assert not list(plugins_dir.rglob("*.pyc"))
        return [each.plugin_class for each in found]

    def tones() -> list[object]:
        return [sys.modules[each.__module__].TONE for each in find()[1:]]

    plain, *first = find()
    parts = {str(plugins_dir / "beep_parts/tone.py"), str(plugins_dir / "beep_volume.py")}
    assert catalog.find("beep", plugins_dir).source_files.helpers >= parts
    assert catalog.find("plain", plugins_dir).source_files.helpers == set()
    write("beep_volume", "VOLUME = 2\n")
    assert find()[0] is plain
    assert all(new is not old for new, old in zip(find()[1:], first, strict=True))
    assert tones() == [(440, 2), (440, 2)]
    write("beep_parts/tone", "this is no Python\n")
    for _ in range(2):
        assert refusal(catalog, plugins_dir).startswith("plugins/beep.py:3: SyntaxError")
    assert sys.modules["beep_volume"].VOLUME == 2
    assert sys.modules["beep_parts.tone"].TONE == (440, 2)
    write("beep_parts/tone", "TONE = 7\n")
    assert tones() == [7, 7]


def test_the_plugins_of_two_configs_never_meet(catalog: Catalog, tmp_path: Path) -> None:
    plugin_types = []
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "beep.py").write_text(BEEP)
        plugin_types.append(catalog.find("beep", tmp_path / folder))
    assert plugin_types[0].plugin_class is not plugin_types[1].plugin_class
    assert plugin_types[0].plugin_class.__module__ != plugin_types[1].plugin_class.__module__


def test_nothing_is_left_beside_the_config(catalog: Catalog, plugins_dir: Path, write: Write) -> None:
    write("beep", BEEP)
    catalog.find("beep", plugins_dir)
    assert [path.name for path in plugins_dir.iterdir()] == ["beep.py"]


def test_annotations_that_are_texts_are_found(catalog: Catalog, plugins_dir: Path, write: Write) -> None:
    write("beep", "from __future__ import annotations\n" + BEEP)
    assert catalog.find("beep", plugins_dir).config_model.model_validate({"times": 3})


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("\n\nundefined\n", "plugins/beep.py:3: NameError: name 'undefined' is not defined"),
        ("def broken(:\n", "plugins/beep.py:1: SyntaxError: invalid syntax"),
        ("text = '\0'\n", "plugins/beep.py: SyntaxError: source code string cannot contain null bytes"),
        ("import sys\nsys.exit(3)\n", "plugins/beep.py:2: SystemExit: 3"),
        ("import no_such_thing\n", "plugins/beep.py:1: ModuleNotFoundError: No module named 'no_such_thing'"),
        ("import json\n\njson.loads('{')\n", "plugins/beep.py:3: JSONDecodeError: Expecting"),
        (
            "def inner():\n    raise BaseException('odd')\ninner()\n",
            "plugins/beep.py:2: BaseException: odd",
        ),
        (
            HEAD
            + "class Beep(Plugin):\n    @hookimpl(firstresult=True)\n    def deliver(self, notification): ...\n",
            "plugins/beep.py:6: TypeError: HookimplMarker.__call__() got an unexpected keyword",
        ),
    ],
)
def test_an_import_that_fails_names_file_and_line(
    catalog: Catalog, plugins_dir: Path, write: Write, source: str, reason: str
) -> None:
    write("beep", source)
    assert refusal(catalog, plugins_dir).startswith(reason)


def test_prints_of_a_module_stay_out_of_standard_output(
    catalog: Catalog, plugins_dir: Path, write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    write("beep", f"import sys\nprint('hello')\nsys.stdout.close()\n{BEEP}")
    assert catalog.find("beep", plugins_dir).delivers
    print("still open")  # noqa: T201  # the print under test
    assert capsys.readouterr() == ("still open\n", "hello\n")


@pytest.mark.parametrize("ends", ["", "raise RuntimeError('no')\n"])
def test_an_import_takes_no_signal_from_the_agent(
    catalog: Catalog, plugins_dir: Path, write: Write, ends: str
) -> None:
    reset = "import signal\nfor one in (signal.SIGTERM, signal.SIGPIPE):\n    signal.signal(one, signal.SIG_DFL)\n"
    write("beep", reset + ends + BEEP)
    numbers = (signal.SIGTERM, signal.SIGPIPE)
    before = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    try:
        with suppress(PluginError):
            catalog.find("beep", plugins_dir)
        assert {signal.getsignal(number) for number in numbers} == {signal.SIG_IGN}
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_a_failed_import_leaves_no_module_behind(catalog: Catalog, plugins_dir: Path, write: Write) -> None:
    before = set(sys.modules)
    write("beep", "undefined\n")
    refusal(catalog, plugins_dir)
    assert set(sys.modules) <= before


def test_a_person_may_interrupt_a_slow_import(catalog: Catalog, plugins_dir: Path, write: Write) -> None:
    write("beep", "raise KeyboardInterrupt\n")
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    try:
        with pytest.raises(KeyboardInterrupt):
            catalog.find("beep", plugins_dir)
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_package_that_fails_names_file_and_line(
    tmp_path: Path, plugins_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sample_crasher.py").write_text("\nundefined\n")
    monkeypatch.syspath_prepend(tmp_path)
    reason = refusal(Catalog(lambda: [offer(tmp_path, "beep", "sample_crasher")]), plugins_dir)
    assert "sample_crasher.py:2: NameError" in reason


def test_a_package_that_is_gone_says_so(tmp_path: Path, plugins_dir: Path) -> None:
    reason = refusal(Catalog(lambda: [offer(tmp_path, "beep", "no_such.module")]), plugins_dir)
    assert reason == "ModuleNotFoundError: No module named 'no_such'"


def test_an_entry_point_names_a_module(tmp_path: Path, plugins_dir: Path) -> None:
    reason = refusal(Catalog(lambda: [offer(tmp_path, "beep", "json:loads")]), plugins_dir)
    assert reason == "its entry point 'json:loads' must name a module, without a colon"


def test_latest_knows_only_plugins_that_were_looked_up(catalog: Catalog) -> None:
    with pytest.raises(PluginError, match="no such plugin was looked up"):
        catalog.latest("beep")


def test_every_plugin_of_ours_is_offered_as_an_entry_point(plugins_dir: Path) -> None:
    assert {"slack", "webhook", "desktop_notify", "file_log", "console"} <= set(Catalog().names(plugins_dir))
