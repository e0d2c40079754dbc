"""Notices a pooler that lends its connections to the database out for single transactions.

The agent's lock on its name, its time limits and its prepared statements belong to a session. Behind such a pooler
they end up in the sessions of others, and the second agent fails on them with errors that do not name the cause.
"""

import selectors
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any, Final

import psycopg
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGconn, PGresult

POOLER_MESSAGE: Final = (
    "PostgreSQL answers through a pooler in transaction mode (such as PgBouncer), and the agent needs a session;"
    " use pool_mode = session, or connect directly"
)

ROUNDS: Final = 3
"""Comparisons. One is enough unless other clients of the pooler take connections in between."""

ANSWER_TIMEOUT_S: Final = 2.0
"""Seconds for the second connection to get a session. A pooler whose sessions are all taken lets it wait."""

_BACKEND: Final = "SELECT pg_backend_pid()"

Connection = psycopg.Connection[Any]


def lends_out_sessions(first: Connection, connect: Callable[[], Connection]) -> bool:
    """Whether the transactions of ``first`` run in sessions that other connections get, too.

    ``connect`` opens a second connection, and is called only if a pooler is in between. Then both begin
    transactions, and the process ids of the sessions tell: either the second gets the session that the first has
    just used, or it holds another one, and the first may get a third. False if there is no second connection now.
    """
    usual = _session_of(first)
    if usual == first.info.backend_pid:  # a pooler makes a number of its own up
        return False
    try:
        second = connect()
    except psycopg.OperationalError:  # no more connections
        return False
    with closing(second):
        for _ in range(ROUNDS):
            other = _begin(second.pgconn)
            if other is None:
                return False
            if other == usual or _session_of(first) != usual:
                return True
            second.rollback()
    return False


def _session_of(connection: Connection) -> int:
    """The process id of the session in which a transaction runs."""
    session = connection.execute(_BACKEND).fetchall()[0][0]
    connection.rollback()
    return int(session)


def _begin(connection: PGconn) -> int | None:
    """Begins a transaction and returns the process id of its session; None without an answer in time."""
    connection.send_query(f"BEGIN; {_BACKEND}".encode())
    deadline = time.monotonic() + ANSWER_TIMEOUT_S
    results: list[PGresult] = []
    with selectors.DefaultSelector() as selector:
        selector.register(connection.socket, selectors.EVENT_READ)
        while True:
            while connection.is_busy():
                if not selector.select(deadline - time.monotonic()):
                    return None
                connection.consume_input()
            result = connection.get_result()
            if result is None:
                break
            results.append(result)
    value = results[-1].get_value(0, 0) if results and results[-1].status == ExecStatus.TUPLES_OK else None
    return None if value is None else int(value)
