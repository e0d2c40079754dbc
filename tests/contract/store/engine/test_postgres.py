"""A store on PostgreSQL: opening, losing the connection and reconnecting, and the encoding of texts."""

import re
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import Any, Never

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from aintandem_notify.domain.events import Family
from aintandem_notify.domain.runs import Run, RunRef
from aintandem_notify.errors import StoreError
from aintandem_notify.store import JournalChanges, Store, probe_store
from aintandem_notify.store.engine import database
from aintandem_notify.store.engine.migrations import SCHEMA_VERSION
from aintandem_notify.store.engine.postgres import pooler
from aintandem_notify.store.engine.postgres.errors import message_for
from aintandem_notify.store.engine.postgres.pooler import POOLER_MESSAGE
from aintandem_notify.store.engine.postgres.text_codec import (
    ESCAPE,
    ESCAPED_ESCAPE,
    ESCAPED_NUL,
    decode_text,
    encode_text,
)
from support.outbox import NOW, claim_all, event, inside, queue_up
from support.pgbouncer import pooled
from support.postgres import MAX_WAIT_S, Postgres


def reason(url: str) -> str:
    """The message of the error that opening the store raises."""
    with pytest.raises(StoreError) as caught:
        Store(url)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_is_written_is_there_again(postgres_url: str) -> None:
    with closing(Store(postgres_url)) as store:
        queue_up([event("task_failed")])(store)
    with closing(Store(postgres_url)) as store:
        assert len(claim_all()(store)) == 1


def test_its_name_has_host_and_database_only(postgres_url: str) -> None:
    with closing(Store(postgres_url.replace("postgres:@", "postgres:geheim@"))) as store:
        assert store.name == f"localhost/{postgres_url.split('?')[0].rpartition('/')[2]}"


def test_every_session_has_its_limits(postgres: Postgres) -> None:
    """Checks the limits of an agent; the fixture ``postgres_url`` raises them."""
    names = ("application_name", "statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
    with closing(Store(postgres.new_database())) as store, store.transaction():
        values = [store._connection.execute(text(f"SHOW {name}")).scalar_one() for name in names]
    assert values == ["aintandem-notify", "5s", "3s", "5s"]


def test_several_agents_that_start_together_create_the_schema_once(postgres_url: str) -> None:
    opened: list[Store] = []
    starters = [threading.Thread(target=lambda: opened.append(Store(postgres_url))) for _ in range(6)]
    for starter in starters:
        starter.start()
    for starter in starters:
        starter.join()
    assert len(opened) == 6
    for store in opened:
        store.close()


def test_a_newer_schema(postgres_url: str) -> None:
    with closing(Store(postgres_url)) as store, store.transaction():
        store._connection.execute(text("UPDATE meta SET value = '99' WHERE key = 'schema_version'"))
    assert f"its schema has version 99 and this aintandem-notify knows version {SCHEMA_VERSION}" in reason(
        postgres_url
    )


def test_a_database_that_cannot_hold_every_text(postgres: Postgres, postgres_url: str) -> None:
    with postgres.admin() as admin:
        admin.execute("CREATE DATABASE odd TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'")
    name = postgres_url.split("?")[0].split("/")[-1]
    assert "create the database with ENCODING 'UTF8'" in reason(postgres_url.replace(name, "odd"))


def test_a_database_that_is_not_there(postgres_url: str) -> None:
    assert "there is no such database" in reason(postgres_url.replace("/test_", "/test_no_"))


def test_a_user_that_is_not_there(postgres_url: str) -> None:
    url = postgres_url.replace("postgres:@", "nobody:geheim@")
    assert "it refused the login" in reason(url)
    assert "geheim" not in reason(url)


def test_a_server_that_is_not_there() -> None:
    message = reason("postgresql://u:geheim@127.0.0.1:1/db")
    assert "store 127.0.0.1:1/db: it cannot be reached" in message
    assert "geheim" not in message


def test_an_unknown_parameter() -> None:
    message = reason("postgresql://u:geheim@127.0.0.1:1/db?sslmod=require")
    assert message == 'store 127.0.0.1:1/db: [store] url has a parameter that PostgreSQL does not know: "sslmod"'


def test_without_the_driver_the_error_names_the_package_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    # Loaded only if an earlier test has opened such a store.
    monkeypatch.delitem(sys.modules, "aintandem_notify.store.engine.postgres.database", raising=False)
    monkeypatch.delitem(sys.modules, "aintandem_notify.store.engine.postgres.errors")
    monkeypatch.setitem(sys.modules, "psycopg", None)
    assert reason("postgresql://u:geheim@h/db") == f"store h/db: {database.NEEDS_EXTRA}"


def test_a_database_that_restarts_fails_the_current_transaction_and_is_reconnected(own_postgres: Postgres) -> None:
    with closing(Store(own_postgres.new_database())) as store:
        queue_up([event("task_started")])(store)
        own_postgres.stop()
        with pytest.raises(StoreError, match="the connection was lost"):
            claim_all()(store)
        with pytest.raises(StoreError, match="it cannot be reached"):
            claim_all()(store)
        own_postgres.start()
        assert len(claim_all()(store)) == 1


def test_a_connection_that_is_cut_in_a_transaction_undoes_it(postgres: Postgres, postgres_url: str) -> None:
    def cut(store: Store) -> None:
        queue = [event("task_started")]
        store.journal.write(JournalChanges(events=queue), NOW)
        pid = store._connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
        with postgres.admin() as admin:
            admin.execute("SELECT pg_terminate_backend(%s)", [pid])

    with closing(Store(postgres_url)) as store:
        with pytest.raises(StoreError, match="the connection was lost"):
            inside(cut)(store)
        lost = [event("task_started")]
        assert inside(lambda store: store.journal.journaled_keys(lost))(store) == set()


def test_a_transaction_need_not_wait_for_the_disk(postgres_url: str) -> None:
    with closing(Store(postgres_url)) as store:
        for durable, expected in ((False, "off"), (True, "on")):
            with store.transaction(durable=durable):
                values = store._connection.execute(text("SHOW synchronous_commit")).scalar_one()
            assert values == expected


ONE_SESSION = {"pool_size": 1}
IN_TURNS = {"pool_size": 3, "round_robin": True}


@contextmanager
def busy(url: str, clients: int) -> Iterator[None]:
    """So many other clients have each been served by a session of their own, and rest now."""
    with ExitStack() as stack:
        others = [stack.enter_context(psycopg.connect(url)) for _ in range(clients)]
        for other in others:
            other.execute("SELECT 1")
        for other in others:
            other.rollback()
        yield


@pytest.mark.parametrize(
    ("pool_mode", "clients", "settings"),
    [
        ("transaction", 0, {}),
        ("transaction", 3, {}),
        ("transaction", 0, ONE_SESSION),
        ("transaction", 1, ONE_SESSION),
        ("transaction", 3, IN_TURNS),
        ("statement", 0, {}),
    ],
)
def test_a_pooler_that_lends_sessions_out_is_named(
    pool_mode: str, clients: int, settings: dict[str, Any], postgres_url: str
) -> None:
    with pooled(postgres_url, pool_mode, **settings) as url, busy(url, clients):
        messages = [reason(url)]
        with pytest.raises(StoreError) as caught:
            probe_store(url)
        messages.append(str(caught.value))
    for message in messages:
        assert re.fullmatch(rf"store localhost/test_\d+: {re.escape(POOLER_MESSAGE)}", message)


@pytest.mark.parametrize("settings", [{}, ONE_SESSION, IN_TURNS])
def test_a_pooler_that_gives_each_client_a_session_is_as_good_as_none(
    settings: dict[str, Any], postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # With one session for all there is none for a second connection, which waits for it.
    monkeypatch.setattr(pooler, "ANSWER_TIMEOUT_S", 0.01 if settings is ONE_SESSION else MAX_WAIT_S)
    with pooled(postgres_url, "session", **settings) as url, closing(Store(url)) as store:
        queue_up([event("task_failed")])(store)
        for _ in range(10):  # the driver prepares statements that it sees often
            assert inside(lambda store: store.journal.journaled_keys([event("task_failed")]))(store)


def test_without_a_pooler_one_connection_is_enough(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[psycopg.Connection[Any]] = []
    connect = psycopg.connect

    def record(*arguments: Any, **options: Any) -> psycopg.Connection[Any]:
        opened.append(connect(*arguments, **options))
        return opened[-1]

    monkeypatch.setattr(psycopg, "connect", record)
    with closing(Store(postgres_url)):
        assert len(opened) == 1


def test_a_second_connection_that_is_refused_is_no_reason_to_refuse_the_store(postgres_url: str) -> None:
    def refused() -> Never:
        raise psycopg.OperationalError("too many connections")

    with pooled(postgres_url, "session") as url, psycopg.connect(url) as first:
        assert not pooler.lends_out_sessions(first, refused)


@given(
    st.lists(
        st.text(st.characters(codec="utf-8"))
        | st.sampled_from(["\0", ESCAPE, ESCAPED_NUL, ESCAPED_ESCAPE, "0", "1"])
    )
)
def test_every_text_comes_back_as_it_was(parts: list[str]) -> None:
    example = "".join(parts)
    assert decode_text(encode_text(example)) == example
    assert b"\0" not in encode_text(example)


@given(st.text(st.characters(categories=["Cs", "Lu"])))
def test_lone_surrogates_are_replaced(example: str) -> None:
    assert len(decode_text(encode_text(example)).encode()) >= len(example)


@pytest.mark.parametrize("odd", ["a\0b", f"{ESCAPE}{ESCAPED_NUL}\0", "\ud800", "\U0001f600\u2028"])
def test_odd_texts_in_every_place(postgres_url: str, odd: str) -> None:
    ref = RunRef(odd, Family.TASK, odd)
    run = Run(*ref, name=odd, output_tail=odd, step=odd)
    with closing(Store(postgres_url)) as store:
        inside(lambda store: store.journal.write(JournalChanges(new_runs=[run], new_projects={odd: NOW}), NOW))(
            store
        )
        values = inside(lambda store: store.journal.latest_runs([ref]))(store)
        progress = inside(lambda store: store.journal.watch_progress([odd]))(store)
    mended = odd.replace("\ud800", "\ufffd")
    assert list(progress) == [mended]
    assert [(row.project_id, row.id, row.name, row.output_tail, row.step) for row in values.values()] == [
        (mended,) * 5
    ]


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (psycopg.errors.InvalidPassword(), "refused the login"),
        (psycopg.errors.DiskFull(), "disk is full"),
        (psycopg.errors.TooManyConnections(), "no more connections"),
        (psycopg.errors.ConfigurationLimitExceeded(), "out of resources"),
        (psycopg.errors.ReadOnlySqlTransaction(), "standby"),
        (psycopg.errors.InsufficientPrivilege(), "may not do that"),
        (psycopg.errors.QueryCanceled(), "too long"),
        (psycopg.errors.LockNotAvailable(), "lock"),
        (psycopg.errors.IdleInTransactionSessionTimeout(), "connection was lost"),
        (psycopg.errors.CrashShutdown(), "connection was lost"),
        (psycopg.errors.ConnectionFailure(), "connection was lost"),
        (psycopg.errors.DataCorrupted(), "damaged"),
        (psycopg.errors.UniqueViolation("words"), "the database refused: UniqueViolation"),
        (psycopg.errors.DuplicatePreparedStatement(), "pool_mode = session"),
        (psycopg.errors.InvalidSqlStatementName(), "pool_mode = session"),
        (psycopg.OperationalError("server closed the connection unexpectedly"), "connection was lost"),
        (psycopg.OperationalError("the connection is closed"), "connection was lost"),
        (
            psycopg.OperationalError("connection failed: \nrefused"),
            "cannot be reached: connection failed: refused",
        ),
        (None, "the database refused"),
    ],
)
def test_errors_of_the_database_become_sentences(error: psycopg.Error | None, says: str) -> None:
    assert says in message_for(error)
