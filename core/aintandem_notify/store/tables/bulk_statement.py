"""Statements for thousands of rows: compiled once, with rows that go to the driver unchanged.

Otherwise SQLAlchemy takes longer to process the parameters of each row than SQLite takes to store it.
"""

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Connection, Insert, Update

Row = tuple[Any, ...]


class BulkStatement:
    """``statement`` with the parameters ``names``, in the order of its text.

    Rows are tuples of values for the driver: times as ``schema.to_microseconds`` gives them, enum members as
    values.
    """

    def __init__(self, statement: Insert | Update, names: Sequence[str]) -> None:
        self._statement: Final = statement
        self._names: Final = list(names)
        self._table: Final[str] = getattr(statement.table, "name", "")
        self._text: dict[str, str] = {}

    def run(self, connection: Connection, rows: Sequence[Row]) -> None:
        """Executes the statement for each row; does nothing without rows."""
        if rows and connection.dialect.name == "postgresql" and isinstance(self._statement, Insert):
            self._copy(connection, rows)
        elif rows:
            connection.exec_driver_sql(self._text_for(connection), rows)

    def _copy(self, connection: Connection, rows: Sequence[Row]) -> None:
        """Inserts the rows with COPY, at a third of the cost of as many INSERT statements."""
        driver: Any = connection.connection.driver_connection
        into = f"{self._table} ({', '.join(self._names)})"
        with driver.cursor() as cursor, cursor.copy(f"COPY {into} FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)

    def _text_for(self, connection: Connection) -> str:
        dialect = connection.dialect
        if dialect.name not in self._text:
            keys = self._names if isinstance(self._statement, Insert) else None
            compiled = self._statement.compile(dialect=dialect, column_keys=keys)
            order = getattr(compiled, "positiontup", None)
            if order != self._names:
                raise ValueError(f"the parameters are in the order {order}")
            self._text[dialect.name] = str(compiled)
        return self._text[dialect.name]
