"""Gives the REST calls checked values from a request's path, query and body."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from starlette.datastructures import QueryParams

from aintandem_notify.domain.events import event_time
from aintandem_notify.errors import ApiError
from aintandem_notify.simulator.simulation import Simulator
from aintandem_notify.simulator.world.plans import PlannedOutcome

_NO_TIME: Final = datetime.fromtimestamp(0, UTC)


class ApiRequest:
    """One request: the simulator, the path parameters, the query, the body and the bearer token."""

    def __init__(
        self,
        simulator: Simulator,
        path: Mapping[str, str],
        query: QueryParams,
        body: Mapping[str, Any],
        token: str | None,
    ) -> None:
        self.simulator = simulator
        self.path = path
        self.query = query
        self.body = body
        self.token = token

    def text(self, name: str) -> str | None:
        """A text of the body, None if it is absent. Raises ApiError for another type."""
        value: str | None = self._field(name, str)
        return value

    def required(self, name: str) -> str:
        """A text of the body. Raises ApiError if it is absent."""
        if (value := self.text(name)) is None:
            raise ApiError(f"{name} is required", status=400, code="MISSING_REQUIRED_FIELD")
        return value

    def number(self, name: str) -> float | None:
        """A number of the body, finite and at least 0; None if it is absent."""
        value: float | None = self._field(name, int | float)
        if value is not None and not 0 <= value < math.inf:
            raise ApiError(f"{name} is out of range", status=400, code="INVALID_VALUE", details={"field": name})
        return value

    def flag(self, name: str) -> bool | None:
        """A boolean of the body, None if it is absent."""
        value: bool | None = self._field(name, bool)
        return value

    def object(self, name: str) -> dict[str, Any] | None:
        """A JSON object of the body, None if it is absent."""
        value: dict[str, Any] | None = self._field(name, dict)
        return value

    def outcome(self) -> PlannedOutcome | None:
        """The requested outcome of a task or execution; our extension, for tests in another process."""
        value = self.text("outcome")
        if value is not None and value not in set(PlannedOutcome):
            raise ApiError("outcome must be completed or failed", status=400, code="INVALID_VALUE")
        return PlannedOutcome(value) if value is not None else None

    def moment(self, name: str) -> datetime | None:
        """A time of the query, None if it is absent."""
        value = self.query.get(name)
        moment = event_time(value, _NO_TIME) if value is not None else None
        if moment is _NO_TIME:
            raise ApiError(f"{name} is no time", status=400, code="INVALID_VALUE")
        return moment

    def all(self, name: str) -> list[str]:
        """All values of the name in the query, as in ``?status=failed&status=cancelled``."""
        return self.query.getlist(name)

    def whole(self, name: str, default: int) -> int:
        """A whole number of the query, at least 0."""
        value = self.query.get(name, str(default))
        if not value.isascii() or not value.isdigit():
            raise ApiError(f"{name} must be a whole number", status=400, code="INVALID_VALUE")
        return int(value[:9])

    def _field(self, name: str, kind: Any) -> Any:
        return self.value(self.body, name, kind)

    @staticmethod
    def value(content: Mapping[str, Any], name: str, kind: Any) -> Any:
        """A value of the type ``kind``, None if it is absent. Raises ApiError for another type."""
        value = content.get(name)
        if value is not None and (not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool)):
            raise ApiError(f"{name} has the wrong type", status=400, code="INVALID_VALUE", details={"field": name})
        return value
