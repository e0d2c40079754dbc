"""Configs with several mistakes, without a login, or that are no TOML or no text."""

from pathlib import Path
from textwrap import dedent
from typing import Self

import pytest
from pydantic import model_validator

from aintandem_notify.config import PluginConfig
from aintandem_notify.errors import ConfigError
from support.config_texts import MINIMAL, FakeCatalog, FakeType, load_file, load_text, problems

LOGINS = [
    ('url = "simulator"', None),
    ('url = "http://x"\nusername = "a"\npassword = "b"', None),
    ('url = "https://x:9900/api"\ntoken = "t"', None),
    ('url = "http://x"', "1: orchestrator: needs username and password, or token"),
    ('url = "http://x"\nusername = "a"', "1: orchestrator: password is missing; username goes with it"),
    ('url = "http://x"\npassword = "b"', "1: orchestrator: username is missing; password goes with it"),
    (
        'url = "http://x"\nusername = "a"\npassword = "b"\ntoken = "t"',
        "5: orchestrator.token: cannot be combined with a login; remove token, or username and password",
    ),
    (
        'url = "http://x"\nusername = "a"\npasword = "b"',
        "4: orchestrator.pasword: unknown key; did you mean password?",
    ),
    ('ulr = "simulator"', "2: orchestrator.ulr: unknown key; did you mean url?"),
    ('url = "simulater"', '2: orchestrator.url: should begin with http:// or https://, or be "simulator"'),
    ('url = "localhost:9900"', '2: orchestrator.url: should begin with http:// or https://, or be "simulator"'),
    ('url = "http://"', '2: orchestrator.url: should begin with http:// or https://, or be "simulator"'),
    ('url = "http://x:99999"', '2: orchestrator.url: should begin with http:// or https://, or be "simulator"'),
    ('url = "http://a b"', "2: orchestrator.url: the address has a space inside; it should be in one piece"),
    ('url = "http://[x"', '2: orchestrator.url: should begin with http:// or https://, or be "simulator"'),
    (
        'url = "http://a:b@x"\ntoken = "t"',
        "2: orchestrator.url: should not hold a login; use the keys username and password",
    ),
    (
        'url = "http://x/api?key=1"\ntoken = "t"',
        "2: orchestrator.url: should end before the ? or #; the API's paths are added to it",
    ),
    (
        'url = "simulator"\nconsole_url = "console.example/{{ project.id }}"',
        "3: orchestrator.console_url: should begin with http:// or https://",
    ),
    (
        'url = "simulator"\nconsole_url = "{{ projct.id }}"',
        "3: orchestrator.console_url: there is no projct; did you mean project?",
    ),
]


@pytest.mark.parametrize(("login", "expected"), LOGINS)
def test_the_orchestrator_needs_an_address_and_a_login(tmp_path: Path, login: str, expected: str | None) -> None:
    relevant = [
        problem
        for problem in problems(tmp_path, f'[orchestrator]\n{login}\n[[projects]]\nid = "p"')
        if "needs username" not in problem or (expected and "needs" in expected)
    ]
    assert relevant == ([] if expected is None else [expected])


def test_the_error_about_an_empty_file_names_the_required_tables(tmp_path: Path) -> None:
    assert problems(tmp_path, "") == [
        'the table [orchestrator] is missing; it names the source of the events, as url = "simulator"',
        'no project to watch; add [[projects]] with id = "project-123", or id = "*" for all',
    ]


def test_the_error_about_projects_as_a_table_shows_a_list(tmp_path: Path) -> None:
    text = "[orchestrator]\nurl = 'simulator'\n[projects]\nid = 'p'"
    assert problems(tmp_path, text) == ["3: projects: should be a list of tables, not a table; write [[projects]]"]


def test_an_unreadable_list_of_projects_is_one_mistake(tmp_path: Path) -> None:
    text = "projects = ['p1']\n[orchestrator]\nurl = 'simulator'"
    assert problems(tmp_path, text) == ["1: projects[0]: should be a table, not a text"]


def test_a_folder_of_plugins_that_is_named_has_to_exist(tmp_path: Path) -> None:
    assert problems(tmp_path, "plugins_dir = 'mine'\n" + MINIMAL) == [
        f"1: plugins_dir: there is no folder {tmp_path}/mine"
    ]
    assert problems(tmp_path, "plugins_dir = 3\n" + MINIMAL) == [
        "1: plugins_dir: should be a text that names a folder, not a number"
    ]


def test_everything_is_reported_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = dedent(
        """\
        plugins_dri = "x"
        [orchestrator]
        url = "http://x"
        usrname = "a"
        password = { env = "NOPE" }
        [[projects]]
        id = 5
        [plugins.slack]
        webhook_url = "hunter2hunter2"
        [plugins.slak.team]
        [plugins.broken.x]
        [plugins.file_log.y]
        pth = "x"
        timeout = 5
        [[rules]]
        nam = "a"
        events = ["tas_failed"]
        notify = ["file_log.z", "file_log.y",
          "file_log.y"]
        [connection]
        reconnect_attempts = "many"
        """
    )
    catalog = FakeCatalog(broken={"broken": "no module named foo"})
    assert [line.split(":")[0] for line in problems(tmp_path, text, catalog=catalog)] == [
        *("1", "4", "5", "7", "8", "10", "11", "13", "14", "16", "17", "18", "19", "21")
    ]


def test_each_line_of_the_error_begins_with_the_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_text(tmp_path, MINIMAL + "[log]\nlevle = 1\nformta = 2")
    lines = str(caught.value).split("\n")
    assert lines == [
        f"{tmp_path}/config.toml:6: log.levle: unknown key; did you mean level?",
        f"{tmp_path}/config.toml:7: log.formta: unknown key; did you mean format?",
    ]


SYNTAX = [
    ("[orchestrator\n", "1: not TOML: Expected ']' at the end of a table declaration"),
    ("a = 1\na = 2\n", "2: not TOML: Cannot overwrite a value"),
    ("a = 1\nb = [1\n\n", "2: not TOML: Unclosed array"),
    ("a = \n", "1: not TOML: Invalid value; put a text in quotes"),
    ("[a.b]\nx = 1\n[a.b]\n", "3: not TOML: Cannot declare [a.b] twice"),
    ("[a]\n[a]\n", "2: not TOML: Cannot declare [a] twice"),
    ('[a."it\'s"]\n[a."it\'s"]\n', '2: not TOML: Cannot declare [a."it\'s"] twice'),
    ("[\"x') twice ('\"]\n[\"x') twice ('\"]\n", "2: not TOML: Cannot declare [\"x') twice ('\"] twice"),
    ('["\\u00e9\\n"]\n["\\u00e9\\n"]\n', r'2: not TOML: Cannot declare ["\u00e9\n"] twice'),
    ("a = " + "1" * 5000, "not TOML: A number has too many digits"),
    ("a = " + "[" * 5000, "not TOML: Nested too deep"),
]


@pytest.mark.parametrize(("text", "expected"), SYNTAX, ids=[expected for _, expected in SYNTAX])
def test_invalid_toml_has_a_line_and_no_traceback(tmp_path: Path, text: str, expected: str) -> None:
    assert problems(tmp_path, text) == [expected]


@pytest.mark.parametrize("key", ["('" * 300_000, "'" * 600_000, "x" * 600_000, "') twice" * 80_000])
def test_the_error_about_a_long_key_is_short(tmp_path: Path, key: str) -> None:
    (problem,) = problems(tmp_path, f'["{key}"]\n["{key}"]\n')
    assert problem.startswith(
        "2: not TOML: Cannot declare ('" if "'" not in key else '2: not TOML: Cannot declare ("'
    )
    assert len(problem) < 600


def test_invalid_utf_8_names_its_line(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes(b"a = 1\nb = '\xff'\n")
    with pytest.raises(ConfigError, match=r"config\.toml:2: is not UTF-8 text"):
        load_file(path)


@pytest.mark.parametrize(("name", "reason"), [("none.toml", "No such file or directory"), (".", "Is a directory")])
def test_the_error_about_an_unreadable_file_gives_the_reason(tmp_path: Path, name: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=f"cannot be read: {reason}"):
        load_file(tmp_path / name)


@pytest.mark.parametrize("broken", [KeyError, SystemExit, RuntimeError])
def test_a_plugin_whose_own_check_breaks_is_a_problem_of_its_table(
    tmp_path: Path, broken: type[BaseException]
) -> None:
    class Odd(PluginConfig):
        token: str

        @model_validator(mode="after")
        def _check(self) -> Self:
            raise broken(f"no {self.token}")

    catalog = FakeCatalog(types=(FakeType("odd", Odd),))
    reported = problems(tmp_path, MINIMAL + "[plugins.odd.x]\ntoken = 'hunter22'\n[zebra]", catalog=catalog)
    why = "'no …'" if broken is KeyError else "no …"
    assert reported == [
        f"5: plugins.odd.x: the plugin's own check of this table is broken: {broken.__name__}: {why}",
        "7: zebra: unknown table",
    ]
