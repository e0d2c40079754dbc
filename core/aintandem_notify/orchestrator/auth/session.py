"""One login for all projects: gets tokens, renews them in time and on refusal, one request at a time.

A token that was given is used as it is. Tokens can be kept in a ``TokenStore`` from one start to the next. They
never show: each is announced to the log as a secret.
"""

import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any, Final

import trio

from aintandem_notify import log
from aintandem_notify.config import Secret
from aintandem_notify.domain.events import LoginFailedEvent
from aintandem_notify.errors import ApiError, AuthenticationFailed, HttpFailed, NotLoggedIn, ServerTrouble
from aintandem_notify.foundation.backoff import Chance, stepped_delay
from aintandem_notify.foundation.clock import Clock
from aintandem_notify.http_client import HttpClient
from aintandem_notify.orchestrator.auth.credentials import Credentials, Login, StaticToken
from aintandem_notify.orchestrator.auth.routes import AuthRoutes
from aintandem_notify.orchestrator.auth.shielded import run_to_completion
from aintandem_notify.orchestrator.auth.token_store import SAVE_TIMEOUT_S, StoredTokens, TokenCache, TokenStore
from aintandem_notify.orchestrator.auth.tokens import (
    Token,
    TokenOrigin,
    has_token_length,
    is_token,
    make_stored_token,
    make_token,
)
from aintandem_notify.orchestrator.protocol.address import SocketTarget, socket_target
from aintandem_notify.orchestrator.protocol.responses import error_message

TROUBLE_PAUSES_S: Final = (1.0, 2.0, 4.0, 8.0, 15.0)
"""Seconds after a login that got no answer in which nobody asks again, whatever the number of projects."""
REFUSED_PAUSES_S: Final = (5.0, 15.0, 30.0, 60.0, 300.0)
"""Seconds after a refused login; the last keeps an account from being locked for too many failures."""
_log = log.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Failure:
    error: ApiError | HttpFailed
    until: float


class Session:
    """Our standing with one orchestrator. Usable by any number of tasks.

    Without ``credentials`` it begins with ``login``, or with what ``restore`` finds in ``store``. ``announce``
    gets one ``LoginFailedEvent`` for each spell of refused logins; nothing else tells of them. Trouble with
    ``store`` while tokens are renewed is logged, not raised: the session goes on without it.
    """

    def __init__(
        self,
        url: str,
        credentials: Credentials | None,
        *,
        http: HttpClient,
        clock: Clock,
        chance: Chance,
        announce: Callable[[LoginFailedEvent], None],
        store: TokenStore | None = None,
    ) -> None:
        self._routes = AuthRoutes(url, http, clock)
        self._credentials = credentials
        self._clock = clock
        self._chance = chance
        self._announce = announce
        self._keeper = TokenCache(url.rstrip("/"), store)
        self._kept: Token | None = None
        self._token: Token | None = None
        self._refused: Token | None = None
        self._refresh_token: str | None = None
        self._flight: trio.Event | None = None
        self._failure: _Failure | None = None
        self._failures = 0
        self._announced = False

    @property
    def base(self) -> str:
        """The API's base URL, without a slash at its end; known for sure once a token was handed out."""
        return self._routes.base

    @property
    def token_expires_at(self) -> datetime | None:
        """When the present token expires, aware UTC; None when there is none or it does not say."""
        return None if self._token is None else self._token.expires_at

    @property
    def is_open(self) -> bool:
        """Whether there is a token, or a way to one, that the orchestrator has not refused."""
        if self._failure is not None and _is_refusal(self._failure.error):
            return self._token is not None and self._may_be_good(self._token)
        return self._has_means()

    def _has_means(self) -> bool:
        usable = self._token is not None and self._token is not self._refused
        return usable or any(means is not None for means in (self._kept, self._refresh_token, self._credentials))

    def socket(self, project_id: str, token: Token) -> SocketTarget:
        """The project's progress socket, opened with ``token``."""
        return socket_target(self.base, project_id, token.text)

    async def token(self) -> Token:
        """A token that should be accepted; a new one when the present one is near its end.

        Raises ApiError (AuthenticationFailed when the login is refused) or HttpFailed. After a failure the
        same error is raised for a while without asking again.
        """
        token = self._token
        if token is not None and token is not self._refused and trio.current_time() < token.renew_from:
            return token
        try:
            return await self._obtain()
        except (ServerTrouble, HttpFailed):
            # What cannot be renewed right now may still be good for the rest of its life.
            if token is None or not self._may_be_good(token):
                raise
            return token

    def _may_be_good(self, token: Token) -> bool:
        return token is not self._refused and trio.current_time() < token.renew_until

    async def renew(self, refused: Token) -> Token:
        """A token in place of one that the orchestrator refused: refreshed, or by a new login.

        Raises as ``token`` does; AuthenticationFailed at once when the token was given.
        """
        if refused.origin is TokenOrigin.GIVEN:
            error = AuthenticationFailed("the orchestrator refused the token that it was given", status=401)
            self._announce_once(error)
            raise error
        if self._token is refused:
            self._refused = refused
        return await self.token()

    async def refresh(self) -> Token:
        """A new token in place of one that is good, which stays in use when there is no new one.

        Raises as ``token`` does; AuthenticationFailed at once when the token was given.
        """
        token = await self.token()
        if token.origin is TokenOrigin.GIVEN:
            raise AuthenticationFailed("a token that was given cannot be renewed; give another one", status=401)
        return await self._obtain(instead_of=token)

    def accepted(self, token: Token) -> None:
        """The orchestrator took ``token``: that a given one is refused later is news again."""
        if token.origin is TokenOrigin.GIVEN:
            self._announced = False

    async def restore(self) -> None:
        """Take up what the store kept of an earlier login to the same url. Raises TokenStoreError."""
        stored = await self._keeper.load()
        if stored is not None:
            self._kept = self._take_up(stored)

    def _take_up(self, stored: StoredTokens) -> Token | None:
        """The stored token, None when it is over; what it can be refreshed with is held in any case."""
        self._hold_refresh_token(stored.refresh_token)
        log.register_secret(stored.token, rotating=True)
        return make_stored_token(stored.token, now=self._clock.now(), current_time=trio.current_time())

    async def login(self, login: Login) -> Any:
        """Log in, in place of any login before; the JSON value that the orchestrator answers.

        Asks at once, whatever failed before. Raises ApiError (AuthenticationFailed when it is refused) or
        HttpFailed; the login before is then as it was.
        """
        async with self._own_flight():
            answer = await self._routes.login(login)
            token = self._from_answer(answer, TokenOrigin.LOGIN)
            self._credentials, self._kept = login, None
            await self._settle(token)
        return answer

    async def verify(self) -> bool:
        """Whether the orchestrator accepts our token, asked over REST. Raises ApiError or HttpFailed."""
        token = await self.token()
        try:
            answer = await self._routes.verify(token.text)
        except AuthenticationFailed:
            return False
        return isinstance(answer, dict) and answer.get("success") is True

    async def forget(self) -> None:
        """Log out for good: nothing is left to log in again with, and nothing in the store.

        Raises TokenStoreError when the store cannot be emptied; the rest is done then.
        """
        async with self._own_flight():
            self._token = self._token or self._kept
            self._credentials = self._kept = self._refused = self._failure = None
            self._failures = 0
        try:
            await self.logout()
        finally:
            # Also when we are cancelled over a server that does not answer: what is kept would log in again.
            with trio.move_on_after(SAVE_TIMEOUT_S, shield=True):
                await self._keeper.clear()

    async def logout(self) -> None:
        """Give the token back, if it came from a login; trouble is logged, not raised."""
        token, self._token, self._refresh_token = self._token, None, None
        if token is None or token.origin is TokenOrigin.GIVEN:
            return
        try:
            await self._routes.logout(token.text)
        except (ApiError, HttpFailed) as error:
            _log.info("could not log out", reason=str(error))

    async def _obtain(self, instead_of: Token | None = None) -> Token:
        """A new token out of one request, however many ask for it."""
        while self._flight is not None:
            flight = self._flight
            await flight.wait()
            token = self._token
            is_wanted = token is not self._refused and token is not instead_of
            if self._failure is None and token is not None and is_wanted:
                return token
        if self._failure is not None and trio.current_time() < self._failure.until:
            raise self._failure.error.with_traceback(None)
        if not self._has_means():
            raise NotLoggedIn
        async with self._own_flight():
            try:
                return await self._fly()
            except (ApiError, HttpFailed) as error:
                self._note_failure(error)
                raise

    @asynccontextmanager
    async def _own_flight(self) -> AsyncIterator[None]:
        """While the block runs, nobody else asks for a token."""
        while self._flight is not None:
            await self._flight.wait()
        flight = self._flight = trio.Event()
        try:
            yield
        finally:
            self._flight = None
            flight.set()

    async def _settle(self, token: Token) -> Token:
        """This is our token from now on, also after the next start."""
        self._token, self._failure, self._failures = token, None, 0
        if token.origin is not TokenOrigin.GIVEN:
            self._announced = False
            await self._keeper.save(token, self._refresh_token)
        return token

    def _note_failure(self, error: ApiError | HttpFailed) -> None:
        refused = _is_refusal(error)
        pauses = REFUSED_PAUSES_S if refused else TROUBLE_PAUSES_S
        pause = stepped_delay(self._failures, pauses=pauses, chance=self._chance)
        if isinstance(error, ServerTrouble) and error.retry_after is not None:
            pause = max(pause, error.retry_after)
        self._failures += 1
        self._failure = _Failure(error, trio.current_time() + pause)
        if refused:
            self._announce_once(error)

    def _announce_once(self, error: Exception) -> None:
        if not self._announced:
            self._announced = True
            self._announce(LoginFailedEvent(timestamp=self._clock.now(), reason=str(error)))

    async def _fly(self) -> Token:
        if (kept := self._kept) is not None:
            await self._routes.find_base(kept.text)
            self._kept = None
            return await self._settle(kept)
        match self._credentials:
            case StaticToken(token=secret):
                return await self._settle(await self._given(secret))
            case Login() as login:
                if (token := await self._refreshed()) is not None:
                    return token
                return await self._settle(self._from_answer(await self._routes.login(login), TokenOrigin.LOGIN))
            case None:
                used = self._refresh_token
                return await self._refreshed() or await self._refreshed_by_another(used)

    async def _refreshed_by_another(self, used: str | None) -> Token:
        """What another program that shares our store has got meanwhile: of two refreshes only one succeeds."""
        stored = await self._keeper.newer_than(used)
        if stored is not None:
            if (token := self._take_up(stored)) is not None:
                return await self._settle(token)
            if (token := await self._refreshed()) is not None:
                return token
        raise AuthenticationFailed("the login has ended; log in again", status=401)

    async def _given(self, secret: Secret) -> Token:
        await self._routes.find_base(secret.reveal())
        # Whoever gave it has to give another one: asking for it again would only bring the same.
        given = self._made(secret.reveal(), TokenOrigin.GIVEN)
        return replace(given, renew_from=math.inf, renew_until=math.inf)

    async def _refreshed(self) -> Token | None:
        """A token by refresh; None when only a login can help."""
        if self._refresh_token is None:
            return None
        refused = self._refused
        fresh = refused is not None and refused is self._token and refused.origin is TokenOrigin.REFRESH
        if fresh and self._credentials is not None:
            return None
        refresh = partial(self._refresh_with, self._refresh_token)
        # The old refresh token is used up as soon as the orchestrator has read it: whoever cancels must not leave
        # the store with that one.
        return await (run_to_completion(refresh, grace_s=SAVE_TIMEOUT_S) if self._keeper.has_store else refresh())

    async def _refresh_with(self, refresh_token: str) -> Token | None:
        try:
            answer = await self._routes.refresh(refresh_token)
            token = self._from_answer(answer, TokenOrigin.REFRESH)
        except ApiError as error:
            if isinstance(error, ServerTrouble) and not self._logs_in_rather():
                raise
            _log.info("could not refresh the token", reason=str(error))
            self._refresh_token = None
            return None
        return await self._settle(token)

    def _logs_in_rather(self) -> bool:
        """Whether a login may help where a refresh met trouble: some servers fail inside over an unknown token."""
        still_good = self._token is not None and self._may_be_good(self._token)
        return self._credentials is not None and not still_good

    def _from_answer(self, answer: Any, origin: TokenOrigin) -> Token:
        fields = answer if isinstance(answer, dict) else {}
        text, refresh_token = fields.get("token"), fields.get("refreshToken")
        if fields.get("success") is False or not is_token(text):
            raise AuthenticationFailed(error_message(fields) or "the answer held no token", status=200)
        self._hold_refresh_token(refresh_token)
        return self._made(text, origin)

    def _hold_refresh_token(self, refresh_token: object) -> None:
        if has_token_length(refresh_token):
            log.register_secret(refresh_token, rotating=True)
            self._refresh_token = refresh_token

    def _made(self, text: str, origin: TokenOrigin) -> Token:
        log.register_secret(text, rotating=True)
        return make_token(text, origin, now=self._clock.now(), current_time=trio.current_time())


def _is_refusal(error: ApiError | HttpFailed) -> bool:
    return isinstance(error, ApiError) and not isinstance(error, ServerTrouble)
