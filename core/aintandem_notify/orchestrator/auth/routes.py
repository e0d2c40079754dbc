"""The orchestrator's ``/auth`` routes. The first answer also shows which of the two API bases is right."""

from typing import Any

from aintandem_notify import log
from aintandem_notify.errors import ApiError, HttpFailed, NotFound
from aintandem_notify.foundation.clock import Clock
from aintandem_notify.http_client import HttpClient
from aintandem_notify.orchestrator.auth.credentials import Login
from aintandem_notify.orchestrator.protocol.address import api_bases
from aintandem_notify.orchestrator.protocol.responses import parse_response

_log = log.get_logger(__name__)


class AuthRoutes:
    """The routes under ``/auth`` of one orchestrator.

    The methods return the JSON value of the answer. They raise ApiError (AuthenticationFailed if it is refused) or
    HttpFailed.
    """

    def __init__(self, url: str, http: HttpClient, clock: Clock) -> None:
        self._bases = api_bases(url)
        self._base_is_known = len(self._bases) == 1
        self._http = http
        self._clock = clock

    @property
    def base(self) -> str:
        """The API's base URL, without a slash at its end; a guess until the first answer."""
        return self._bases[0]

    async def login(self, login: Login) -> Any:
        """Log in; the answer holds the tokens."""
        return await self._post("/auth/login", {"username": login.username, "password": login.password.reveal()})

    async def refresh(self, refresh_token: str) -> Any:
        """Exchange ``refresh_token`` for new tokens; it cannot be used again."""
        return await self._post("/auth/refresh", {"refreshToken": refresh_token})

    async def verify(self, token: str) -> Any:
        """Ask whether ``token`` is valid: ``success`` in the answer."""
        return await self._post("/auth/verify", {"token": token})

    async def logout(self, token: str) -> None:
        """Invalidate ``token``."""
        await self._post("/auth/logout", {}, {"Authorization": f"Bearer {token}"})

    async def find_base(self, token: str) -> None:
        """Find out the API's base, if it is not known. The validity of ``token`` does not matter here."""
        if not self._base_is_known:
            try:
                await self.verify(token)
            except (ApiError, HttpFailed) as error:
                _log.debug("could not verify the token", reason=str(error))

    async def _post(self, path: str, body: dict[str, str], headers: dict[str, str] | None = None) -> Any:
        """POST under the API's base. While the base is not known, a 404 leads to a try under the second one."""
        try:
            content = await self._post_to(self.base + path, body, headers)
        except NotFound:
            if self._base_is_known:
                raise
            content = await self._post_to(self._bases[1] + path, body, headers)
            self._bases = self._bases[1:]
            self._base_is_known = True
        # A notice of maintenance in the place of the answer does not show that the base is right.
        self._base_is_known |= isinstance(content, dict) and "success" in content
        return content

    async def _post_to(self, url: str, body: dict[str, str], headers: dict[str, str] | None) -> Any:
        return parse_response(await self._http.request("POST", url, json=body, headers=headers), self._clock.now())
