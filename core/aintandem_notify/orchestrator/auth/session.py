"""One login for all projects: gets tokens, renews them in time and after a refusal, one request at a time.

A static token is used as it is. A ``TokenStore`` can keep tokens from one start to the next. Each token is
registered with the log as a secret, so it never appears there.
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
from aintandem_notify.orchestrator.auth.login_status import LoginStatus
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
from aintandem_notify.orchestrator.protocol.responses import ForeignAnswer, error_message, is_refusal

TROUBLE_PAUSES_S: Final = (1.0, 2.0, 4.0, 8.0, 15.0)
"""Seconds without another request after one that got no answer, for any number of projects."""
REFUSED_PAUSES_S: Final = (5.0, 15.0, 30.0, 60.0, 300.0)
"""Seconds without another request after a refused login. The last one is long, so that the orchestrator does not
lock the account because of too many failures."""
_log = log.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Failure:
    """The last failed request for a token. Its error is raised again until ``until`` (trio's clock, seconds)."""

    error: ApiError | HttpFailed
    until: float


class Session:
    """The login to one orchestrator. Usable by any number of tasks.

    Without ``credentials`` it begins with ``login``, or with tokens that ``restore`` finds in ``store``.
    ``announce`` gets one ``LoginFailedEvent`` for each series of refused logins. Trouble with ``store`` during a
    renewal is logged, not raised: the session goes on without it.
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
        self._cache = TokenCache(url.rstrip("/"), store)
        self._stored: Token | None = None
        self._token: Token | None = None
        self._refused: Token | None = None
        self._refresh_token: str | None = None
        self._request_done: trio.Event | None = None
        self._failure: _Failure | None = None
        self._failures = 0
        self._announced = False
        self._login_status = LoginStatus()

    @property
    def login_status(self) -> LoginStatus:
        """The trouble with the login, if there is any."""
        return self._login_status

    @property
    def base(self) -> str:
        """The API's base URL, without a slash at its end; a guess until ``token`` has returned."""
        return self._routes.base

    @property
    def token_expires_at(self) -> datetime | None:
        """The end of the current token, aware UTC. None if there is no token, or if it has no known end."""
        return None if self._token is None else self._token.expires_at

    @property
    def is_open(self) -> bool:
        """True if there is a token, or a way to get one, that the orchestrator has not refused."""
        if self._failure is not None and is_refusal(self._failure.error):
            return self._token is not None and self._may_be_valid(self._token)
        return self._can_get_token()

    def _can_get_token(self) -> bool:
        is_usable = self._token is not None and self._token is not self._refused
        sources = (self._stored, self._refresh_token, self._credentials)
        return is_usable or any(source is not None for source in sources)

    def socket(self, project_id: str, token: Token) -> SocketTarget:
        """The project's progress socket, opened with ``token``."""
        return socket_target(self.base, project_id, token.text)

    async def token(self) -> Token:
        """A token that should be accepted; a new one if the current one is near its end.

        Raises ApiError (AuthenticationFailed if the login is refused) or HttpFailed. After a failure the same
        error is raised for a while without another request.
        """
        token = self._token
        if token is not None and token is not self._refused and trio.current_time() < token.renew_from:
            return token
        try:
            return await self._obtain()
        except (ApiError, HttpFailed) as error:
            # A token that cannot be renewed now may still be valid for the rest of its life.
            if is_refusal(error) or token is None or not self._may_be_valid(token):
                raise
            return token

    def _may_be_valid(self, token: Token) -> bool:
        return token is not self._refused and trio.current_time() < token.renew_until

    async def renew(self, refused: Token) -> Token:
        """A new token in place of one that the orchestrator refused, by refresh or by login.

        Raises as ``token`` does, and AuthenticationFailed at once for a static token.
        """
        if refused.origin is TokenOrigin.STATIC:
            error = AuthenticationFailed("the orchestrator refused the token that it was given", status=401)
            self._note_refusal(error)
            raise error
        if self._token is refused:
            self._refused = refused
        return await self.token()

    async def refresh(self) -> Token:
        """A new token in place of a valid one, which stays in use if this fails.

        Raises as ``token`` does, and AuthenticationFailed at once for a static token.
        """
        token = await self.token()
        if token.origin is TokenOrigin.STATIC:
            raise AuthenticationFailed("a token that was given cannot be renewed; give another one", status=401)
        return await self._obtain(instead_of=token)

    def note_accepted(self, token: Token) -> None:
        """Record that the orchestrator accepted ``token``: a later refusal of a static one is announced again."""
        if token.origin is TokenOrigin.STATIC:
            self._announced, self._login_status = False, LoginStatus()

    async def restore(self) -> None:
        """Load the tokens of an earlier login to the same url from the store. Raises TokenStoreError."""
        stored = await self._cache.load()
        if stored is not None:
            self._stored = self._adopt(stored)

    def _adopt(self, stored: StoredTokens) -> Token | None:
        """The stored token, None if it has expired. The stored refresh token is used from now on in any case."""
        self._set_refresh_token(stored.refresh_token)
        log.register_secret(stored.token, rotating=True)
        return make_stored_token(stored.token, now=self._clock.now(), current_time=trio.current_time())

    async def login(self, login: Login) -> Any:
        """Log in, in place of any earlier login. Returns the JSON value of the answer.

        Sends the request at once, also after failures. Raises ApiError (AuthenticationFailed if it is refused) or
        HttpFailed; then the earlier login stays in use.
        """
        async with self._exclusive_request():
            answer = await self._routes.login(login)
            token = self._token_from(answer, TokenOrigin.LOGIN)
            self._credentials, self._stored = login, None
            await self._use(token)
        return answer

    async def verify(self) -> bool:
        """True if the orchestrator accepts our token, according to its REST API. Raises ApiError or HttpFailed."""
        token = await self.token()
        try:
            answer = await self._routes.verify(token.text)
        except AuthenticationFailed:
            return False
        return isinstance(answer, dict) and answer.get("success") is True

    async def forget(self) -> None:
        """Log out, and forget the credentials and the stored tokens.

        Raises TokenStoreError if the store cannot be emptied; everything else is done by then.
        """
        async with self._exclusive_request():
            self._token = self._token or self._stored
            self._credentials = self._stored = self._refused = self._failure = None
            self._failures = 0
        try:
            await self.logout()
        finally:
            # Also if cancelled while the server does not answer: the stored tokens would log in again.
            with trio.move_on_after(SAVE_TIMEOUT_S, shield=True):
                await self._cache.clear()

    async def logout(self) -> None:
        """Invalidate the token, unless it is static. Trouble is logged, not raised."""
        token, self._token, self._refresh_token = self._token, None, None
        if token is None or token.origin is TokenOrigin.STATIC:
            return
        try:
            await self._routes.logout(token.text)
        except (ApiError, HttpFailed) as error:
            _log.info("could not log out", reason=str(error))

    async def _obtain(self, instead_of: Token | None = None) -> Token:
        """A new token. Tasks that ask at the same time share one request."""
        while self._request_done is not None:
            request_done = self._request_done
            await request_done.wait()
            token = self._token
            is_new = token is not self._refused and token is not instead_of
            if self._failure is None and token is not None and is_new:
                return token
        if self._failure is not None and trio.current_time() < self._failure.until:
            raise self._failure.error.with_traceback(None)
        if not self._can_get_token():
            raise NotLoggedIn
        async with self._exclusive_request():
            try:
                return await self._request_token()
            except (ApiError, HttpFailed) as error:
                self._note_failure(error)
                raise

    @asynccontextmanager
    async def _exclusive_request(self) -> AsyncIterator[None]:
        """While the block runs, no other task requests a token."""
        while self._request_done is not None:
            await self._request_done.wait()
        request_done = self._request_done = trio.Event()
        try:
            yield
        finally:
            self._request_done = None
            request_done.set()

    async def _use(self, token: Token) -> Token:
        """Use ``token`` from now on, and store it for the next start."""
        self._token, self._failure, self._failures = token, None, 0
        if token.origin is not TokenOrigin.STATIC:
            self._announced, self._login_status = False, LoginStatus()
            await self._cache.save(token, self._refresh_token)
        return token

    def _note_failure(self, error: ApiError | HttpFailed) -> None:
        is_refused = is_refusal(error)
        pauses = REFUSED_PAUSES_S if is_refused else TROUBLE_PAUSES_S
        pause = stepped_delay(self._failures, pauses=pauses, chance=self._chance)
        if isinstance(error, ServerTrouble) and error.retry_after is not None:
            pause = max(pause, error.retry_after)
        self._failures += 1
        self._failure = _Failure(error, trio.current_time() + pause)
        if is_refused:
            self._note_refusal(error)
        else:
            self._login_status = self._login_status.after(error, self._clock.now())

    def _note_refusal(self, error: ApiError | HttpFailed) -> None:
        """Note the refusal, and announce the first one of a series."""
        self._login_status = self._login_status.after(error, self._clock.now())
        if not self._announced:
            self._announced = True
            self._announce(LoginFailedEvent(timestamp=self._clock.now(), reason=str(error)))

    async def _request_token(self) -> Token:
        if (stored := self._stored) is not None:
            await self._routes.find_base(stored.text)
            self._stored = None
            return await self._use(stored)
        match self._credentials:
            case StaticToken(token=secret):
                return await self._use(await self._static_token(secret))
            case Login() as login:
                if (token := await self._try_refresh()) is not None:
                    return token
                return await self._use(self._token_from(await self._routes.login(login), TokenOrigin.LOGIN))
            case None:
                used = self._refresh_token
                return await self._try_refresh() or await self._refresh_of_another_program(used)

    async def _refresh_of_another_program(self, used: str | None) -> Token:
        """The token that another program with the same store has got: of two refreshes only one succeeds."""
        stored = await self._cache.newer_than(used)
        if stored is not None:
            if (token := self._adopt(stored)) is not None:
                return await self._use(token)
            if (token := await self._try_refresh()) is not None:
                return token
        raise AuthenticationFailed("the login has ended; log in again", status=401)

    async def _static_token(self, secret: Secret) -> Token:
        await self._routes.find_base(secret.reveal())
        # It cannot be renewed, so it has no times for that.
        token = self._make_token(secret.reveal(), TokenOrigin.STATIC)
        return replace(token, renew_from=math.inf, renew_until=math.inf)

    async def _try_refresh(self) -> Token | None:
        """A token by refresh, None if only a login can help."""
        if self._refresh_token is None:
            return None
        refused = self._refused
        was_just_refreshed = (
            refused is not None and refused is self._token and refused.origin is TokenOrigin.REFRESH
        )
        if was_just_refreshed and self._credentials is not None:
            return None
        refresh = partial(self._refresh_with, self._refresh_token)
        # The orchestrator accepts a refresh token only once: a cancellation must not leave it in the store.
        return await (run_to_completion(refresh, grace_s=SAVE_TIMEOUT_S) if self._cache.has_store else refresh())

    async def _refresh_with(self, refresh_token: str) -> Token | None:
        try:
            answer = await self._routes.refresh(refresh_token)
            token = self._token_from(answer, TokenOrigin.REFRESH)
        except ApiError as error:
            if not is_refusal(error) and not self._prefers_login():
                raise
            _log.info("could not refresh the token", reason=str(error))
            self._refresh_token = None
            return None
        return await self._use(token)

    def _prefers_login(self) -> bool:
        """True if a login may help after server trouble: some servers answer 500 to an unknown refresh token."""
        may_be_valid = self._token is not None and self._may_be_valid(self._token)
        return self._credentials is not None and not may_be_valid

    def _token_from(self, answer: Any, origin: TokenOrigin) -> Token:
        fields = answer if isinstance(answer, dict) else {}
        text, refresh_token = fields.get("token"), fields.get("refreshToken")
        if fields.get("success") is False or not is_token(text):
            # An answer to a login says whether it succeeded. Any other JSON is a notice in its place.
            kind = AuthenticationFailed if "success" in fields else ForeignAnswer
            raise kind(error_message(fields) or "the answer held no token", status=200)
        self._set_refresh_token(refresh_token)
        return self._make_token(text, origin)

    def _set_refresh_token(self, refresh_token: object) -> None:
        if has_token_length(refresh_token):
            log.register_secret(refresh_token, rotating=True)
            self._refresh_token = refresh_token

    def _make_token(self, text: str, origin: TokenOrigin) -> Token:
        log.register_secret(text, rotating=True)
        return make_token(text, origin, now=self._clock.now(), current_time=trio.current_time())
