"""Keeps a session's tokens between two starts: the protocol of a store, a store in memory, and ``TokenCache``."""

from dataclasses import dataclass, field
from typing import Final, Protocol

import trio

from aintandem_notify import log
from aintandem_notify.errors import TokenStoreError
from aintandem_notify.orchestrator.auth.tokens import Token, TokenOrigin, is_token

OTHER_WRITER_PAUSES_S: Final = (0.2, 0.5, 1.0)
"""Seconds between reads of the store while another program, which used our refresh token, may save a new one."""
SAVE_TIMEOUT_S: Final = 5.0
"""Seconds that a cancelled renewal may still take to get its tokens, and as many again to save them: the old
refresh token cannot be used again."""

_log = log.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class StoredTokens:
    """The stored tokens of a login to the orchestrator at ``url``. They are sent to no other url.

    ``refresh_token`` is None if the orchestrator gave none.

    Example::

        tokens = MemoryTokens()
        await tokens.save(StoredTokens("https://api.example", token="eyJ...", refresh_token=None))
    """

    url: str
    token: str = field(repr=False)
    refresh_token: str | None = field(default=None, repr=False)


class TokenStore(Protocol):
    """Stores the tokens of one login: any object with these three methods. Blocking work belongs in a thread.

    All methods raise TokenStoreError; other exceptions are turned into one.

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
        """The tokens that were saved last, None if there are none that can be used."""
        ...

    async def save(self, tokens: StoredTokens) -> None:
        """Save these tokens in place of earlier ones."""
        ...

    async def clear(self) -> None:
        """Delete the saved tokens; an empty store is no error."""
        ...


class MemoryTokens:
    """Stores tokens for as long as the object lives. Several clients may share one, one after the other.

    Its methods raise nothing.

    Example::

        tokens = MemoryTokens()
        client = AInTandemClient("https://api.example", tokens=tokens)
    """

    def __init__(self) -> None:
        self._tokens: StoredTokens | None = None

    async def load(self) -> StoredTokens | None:
        """The tokens that were saved last, None before the first ``save``."""
        await trio.lowlevel.checkpoint()
        return self._tokens

    async def save(self, tokens: StoredTokens) -> None:
        """Save these tokens."""
        await trio.lowlevel.checkpoint()
        self._tokens = tokens

    async def clear(self) -> None:
        """Delete the saved tokens."""
        await trio.lowlevel.checkpoint()
        self._tokens = None


class TokenCache:
    """A session's access to its store, if it has one. It ignores tokens for another url.

    During a renewal, failures of the store are logged, not raised.
    """

    def __init__(self, url: str, store: TokenStore | None) -> None:
        self._url = url
        self._store = store

    @property
    def has_store(self) -> bool:
        """True if the session has a store."""
        return self._store is not None

    async def load(self) -> StoredTokens | None:
        """The tokens of an earlier login to our url, None if there are none. Raises TokenStoreError."""
        stored = None if self._store is None else await self._store.load()
        if stored is None or stored.url != self._url or not is_token(stored.token):
            return None
        return stored

    async def newer_than(self, used: str | None) -> StoredTokens | None:
        """Tokens that another program saved after the refresh token ``used`` was used up.

        None if there are none; the tokens in the store are then useless, and are deleted.
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
            _log.warning("the stored tokens could not be read", reason=str(error))
            return None
        return stored

    async def save(self, token: Token, refresh_token: str | None) -> None:
        """Save a new token. Trouble is logged; a cancellation waits at most ``SAVE_TIMEOUT_S``."""
        if self._store is None or token.origin is TokenOrigin.STORED:
            return
        with trio.move_on_after(SAVE_TIMEOUT_S, shield=True):
            try:
                await self._store.save(StoredTokens(self._url, token.text, refresh_token))
            except TokenStoreError as error:
                _log.warning("the tokens could not be stored for the next start", reason=str(error))

    async def clear(self) -> None:
        """Delete the saved tokens. Raises TokenStoreError."""
        if self._store is not None:
            await self._store.clear()
