"""At the door to each library: every exception inside, expected or not, comes out as our own error.

The HTTP libraries' is in ``http_client/test_client_nasty``, the WebSocket libraries' in
``orchestrator/link/test_websocket``.
"""

import importlib
from pathlib import Path
from typing import Any

import keyring
import pytest
import tree_sitter
import trio
from sqlalchemy import DateTime, Integer, String, bindparam, select

from aintandem_notify.client.token_stores import KeyringTokens
from aintandem_notify.errors import ConfigError, StatementFailed, StoreError, TokenStoreError
from aintandem_notify.ingest.releases import is_store_failure
from aintandem_notify.rules import JinjaRuleLanguage
from aintandem_notify.store import Store
from aintandem_notify_desktop_notify.bus import Bus, BusLost
from support.config_texts import MINIMAL, load_text


class Broken(Exception):
    """An error that no list of a library's errors contains."""


def break_with(error: BaseException) -> Any:
    def breaking(*_: object, **__: object) -> None:
        raise error

    return breaking


# The database


@pytest.fixture
def store(tmp_path: Path) -> Any:
    opened = Store(tmp_path / "store.sqlite3")
    yield opened
    opened.close()


@pytest.mark.parametrize(
    ("kind", "value", "name"),
    [
        (Integer(), 2**70, "OverflowError"),
        (String(), "canary\ud800", "UnicodeEncodeError"),
        (DateTime(), "canary", "StatementError"),
    ],
)
def test_a_statement_that_breaks_the_driver(store: Store, kind: Any, value: object, name: str) -> None:
    with pytest.raises(StatementFailed) as caught, store.transaction():
        store._connection.execute(select(bindparam("x", type_=kind)), {"x": value})
    assert str(caught.value) == f"the database library failed on a statement ({name})"
    assert not is_store_failure(caught.value)
    assert store.status.is_well
    store.touch()


@pytest.mark.parametrize("error", [Broken("canary"), KeyError("canary"), AssertionError("canary")], ids=repr)
def test_a_fault_of_the_database_library(store: Store, error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    with store.transaction():
        monkeypatch.setattr(store._connection.dialect, "do_execute", break_with(error))
        with pytest.raises(StatementFailed, match=type(error).__name__) as caught:
            store._connection.execute(select(1))
        monkeypatch.undo()
    assert "canary" not in str(caught.value)
    store.touch()


def test_exceptions_of_our_own_code_are_no_errors_of_the_store(store: Store) -> None:
    with pytest.raises(Broken), store.transaction():
        raise Broken


def test_an_error_of_the_store_is_one() -> None:
    assert is_store_failure(StoreError("full"))
    assert not is_store_failure(Broken())


# The keyring


@pytest.mark.parametrize("error", [Broken("canary"), OSError("canary"), AttributeError("canary")], ids=repr)
def test_a_keyring_library_that_breaks_as_it_is_imported(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib, "import_module", break_with(error))
    with pytest.raises(TokenStoreError) as caught:
        KeyringTokens()
    assert str(caught.value) == f"the keyring library cannot be loaded ({type(error).__name__})"


@pytest.mark.parametrize("error", [Broken("odd"), KeyError("odd"), ValueError()], ids=repr)
async def test_a_keyring_that_breaks(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyring, "get_password", break_with(error))
    with pytest.raises(TokenStoreError, match=f"cannot read the keyring's entry tests: {type(error).__name__}"):
        await KeyringTokens("tests").load()


@pytest.mark.parametrize("value", [b"bytes", 7, [], {"url": 1}])
async def test_a_keyring_that_returns_no_str(value: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyring, "get_password", lambda *_: value)
    assert await KeyringTokens("tests").load() is None


# The parsers of the config


@pytest.mark.parametrize("error", [Broken("canary"), ValueError("Incompatible Language version 15")], ids=repr)
def test_mistakes_are_reported_without_lines_if_the_parser_for_lines_fails(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tree_sitter, "Language", break_with(error))
    with pytest.raises(ConfigError) as caught:
        load_text(tmp_path, f"{MINIMAL}[log]\nlevl = 'debug'")
    (problem,) = caught.value.problems
    assert (problem.key, problem.line) == ("log.levl", None)


@pytest.mark.parametrize(
    "expression",
    [
        "event.error|default(boolean=1, boolean=2)",
        "event.error|default(x=1, x=2) == 1",
        "1 if " + "9" * 5000 + " else 2",
    ],
)
def test_an_expression_that_only_python_finds_wrong(expression: str) -> None:
    problem = JinjaRuleLanguage().expression_problem(expression)
    assert problem is not None
    assert problem.startswith("no Jinja2 expression: ")


# The session bus


@pytest.mark.parametrize(
    "output",
    [
        b"",
        b"nonsense\r\n",
        b"OK\r\n",
        b"OK \xff\xfe\r\n",
        b"REJECTED EXTERNAL\r\n",
        b"ERROR\r\n",
        b"OK 0123\r\n" + b"\0" * 64,
        b"OK 0123\r\n" + b"l\x02\x00\x01\xff\xff\xff\x7f\x01\x00\x00\x00" + b"\xff" * 64,
        b"OK 0123\r\nl\x02\x00\x01\x00\x00\x00\x00\x01\x00\x00\x00\x04\x00\x00\x00\x09\x01z\x00" + b"\0" * 64,
        b"OK 0123\r\n" + b"B" * 200,
    ],
)
async def test_a_session_bus_that_speaks_something_else(output: bytes, tmp_path: Path) -> None:
    path = str(tmp_path / "bus")

    async def serve() -> None:
        connection, _ = await listener.accept()
        stream = trio.SocketStream(connection)
        async with stream:
            await stream.receive_some()
            # The greeting and the bytes behind it, in the two pieces that a bus would send.
            greeting, end, following = output.partition(b"\n")
            await stream.send_all(greeting + end)
            if following:
                await stream.receive_some()
                await stream.send_all(following)

    with trio.socket.socket(trio.socket.AF_UNIX) as listener:
        await listener.bind(path)
        listener.listen()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            with pytest.raises(BusLost):
                await Bus.connect({"DBUS_SESSION_BUS_ADDRESS": f"unix:path={path}"})


@pytest.mark.parametrize(
    "address", ["", "x", "unix:", "unix:path=%zz", "unix:path=\ud800", "tcp:host=;port=", "=,=;"]
)
async def test_an_odd_address_of_the_session_bus(address: str) -> None:
    with pytest.raises(BusLost):
        await Bus.connect({"DBUS_SESSION_BUS_ADDRESS": address})
