"""Where a session's tokens are kept between two starts: the protocol, and the place that ends with the process."""

from dataclasses import dataclass, field
from typing import Final, Protocol

import trio

from aintandem_notify import log
from aintandem_notify.errors import TokenStoreError
from aintandem_notify.orchestrator.auth.tokens import Token, TokenOrigin, is_token

OTHER_WRITER_PAUSES_S: Final = (0.2, 0.5, 1.0)
"""Pauses in which another program, which used a refresh token up, may still save what it got for it."""
SAVE_TIMEOUT_S: Final = 5.0
"""How long a renewal that is cancelled may still take to get its tokens, and as long again to keep them: the old
refresh token is used up."""

_log = log.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class StoredTokens:
    """What is kept of a login. ``url`` is the orchestrator that it is good for: tokens go nowhere else.

    ``refresh_token`` is None where the orchestrator gave none.

    Example::

        tokens = MemoryTokens()
        await tokens.save(StoredTokens("https://api.example", token="eyJ...", refresh_token=None))
    """

    url: str
    token: str = field(repr=False)
    refresh_token: str | None = field(default=None, repr=False)


class TokenStore(Protocol):
    """Keeps the tokens of one login: whatever has these three methods. What may block belongs in a thread.

    All of them raise TokenStoreError; what else they raise comes out as one.

    Example::

        class NoTokens:
            async def load(self) -> StoredTokens | None:
                return None

            async def save(self, tokens: StoredTokens) -> None:
                pass

            async def clear(self) -> None:
                pass

        client = AInTandemClient("https://api.example", tokens=NoTokens())
    """

    async def load(self) -> StoredTokens | None:
        """What was saved last; None when there is nothing that can be used."""
        ...

    async def save(self, tokens: StoredTokens) -> None:
        """Keep these in place of what was there."""
        ...

    async def clear(self) -> None:
        """Forget what was saved; nothing there is no error."""
        ...


class MemoryTokens:
    """Keeps tokens for as long as the object lives. Several clients may share one, one after the other.

    All of its methods raise nothing.

    Example::

        tokens = MemoryTokens()
        client = AInTandemClient("https://api.example", tokens=tokens)
    """

    def __init__(self) -> None:
        self._tokens: StoredTokens | None = None

    async def load(self) -> StoredTokens | None:
        """What was saved last, None before."""
        await trio.lowlevel.checkpoint()
        return self._tokens

    async def save(self, tokens: StoredTokens) -> None:
        """Keep these."""
        await trio.lowlevel.checkpoint()
        self._tokens = tokens

    async def clear(self) -> None:
        """Forget them."""
        await trio.lowlevel.checkpoint()
        self._tokens = None


class TokenCache:
    """A store, if there is one, as a session uses it: for one url, and without harm when it fails."""

    def __init__(self, url: str, store: TokenStore | None) -> None:
        self._url = url
        self._store = store

    @property
    def has_store(self) -> bool:
        """Whether there is a store."""
        return self._store is not None

    async def load(self) -> StoredTokens | None:
        """The tokens of an earlier login to our url; raises TokenStoreError."""
        stored = None if self._store is None else await self._store.load()
        if stored is None or stored.url != self._url or not is_token(stored.token):
            return None
        return stored

    async def newer_than(self, used: str | None) -> StoredTokens | None:
        """What somebody else saved after ``used``, a refresh token, was used up; None when nobody did.

        What is in the store is then of no use to anybody, and removed.
        """
        try:
            stored = await self.load()
            for pause in OTHER_WRITER_PAUSES_S:
                if stored is None or stored.refresh_token not in (None, used):
                    break
                await trio.sleep(pause)
                stored = await self.load()
            if stored is not None and stored.refresh_token in (None, used):
                await self.clear()
                return None
        except TokenStoreError as error:
            _log.warning("the tokens that were kept could not be looked at", reason=str(error))
            return None
        return stored

    async def save(self, token: Token, refresh_token: str | None) -> None:
        """Keep a new token; trouble is logged, and a cancellation waits a moment."""
        if self._store is None or token.origin is TokenOrigin.KEPT:
            return
        with trio.move_on_after(SAVE_TIMEOUT_S, shield=True):
            try:
                await self._store.save(StoredTokens(self._url, token.text, refresh_token))
            except TokenStoreError as error:
                _log.warning("the tokens could not be kept for the next start", reason=str(error))

    async def clear(self) -> None:
        """Leave nothing behind; raises TokenStoreError."""
        if self._store is not None:
            await self._store.clear()
