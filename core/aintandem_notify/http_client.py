"""Outgoing HTTP: the only door to httpx, for the orchestrator's REST API and for plugins."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """STUB"""

    status: int
    headers: Mapping[str, str]
    body: bytes


class HttpClient:
    """STUB"""

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        json: Any = None,
        content: bytes | None = None,
        timeout: float = 30.0,
    ) -> HttpAnswer:
        raise NotImplementedError
