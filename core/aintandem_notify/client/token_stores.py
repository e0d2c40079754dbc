"""Token stores that outlive the process: a file of one's own, or the system's keyring. Both work in a thread."""

import importlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkstemp
from typing import Any, Final, TypeVar

import trio

from aintandem_notify import log
from aintandem_notify.errors import TokenStoreError
from aintandem_notify.foundation.private_folders import make_folder
from aintandem_notify.foundation.untrusted_json import read_json
from aintandem_notify.orchestrator import StoredTokens, TokenStore

FOREIGN_PERMISSIONS: Final = 0o077
"""The permissions that nobody but the owner may have on a file of tokens."""
MAX_CALLS: Final = 4
"""Calls of one store at the same time. They have threads of their own: those that a program shares may all hang,
and a keyring that waits for its user must not take them."""

T = TypeVar("T")
_log = log.get_logger(__name__)


class FileTokens:
    """Keeps tokens in a file that only its owner can read (0600), written anew as a whole each time.

    ``path`` may begin with ``~``; its folder is made when it is missing (0700). One file is for one login.
    Programs that share it share the login. What is no regular file (a folder, a device, a pipe) is left alone:
    every call raises TokenStoreError then.

        client = AInTandemClient("https://api.example", tokens=FileTokens("~/.config/my-tool/tokens.json"))
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path).expanduser()
        self._limiter = trio.CapacityLimiter(MAX_CALLS)

    def __repr__(self) -> str:
        return f"FileTokens({str(self._path)!r})"

    async def load(self) -> StoredTokens | None:
        """What was saved last; None without a file, and, with a warning, for one that is damaged.

        Raises TokenStoreError when it cannot be read.
        """
        return await self._in_thread(self._load, "read")

    async def save(self, tokens: StoredTokens) -> None:
        """Write the file anew. Raises TokenStoreError."""
        await self._in_thread(lambda: self._save(_as_text(tokens)), "write")

    async def clear(self) -> None:
        """Remove the file. Raises TokenStoreError."""
        await self._in_thread(lambda: self._target().unlink(missing_ok=True), "remove")

    async def _in_thread(self, function: Callable[[], T], verb: str) -> T:
        return await trio.to_thread.run_sync(self._run_checked, function, verb, limiter=self._limiter)

    def _run_checked(self, function: Callable[[], T], verb: str) -> T:
        try:
            # Reading a pipe could wait for ever, and a device would be replaced by a file with the tokens in it.
            if self._path.exists() and not self._path.is_file():
                raise TokenStoreError(f"cannot {verb} {self._path}: it is no regular file")
            return function()
        except OSError as error:
            raise TokenStoreError(f"cannot {verb} {self._path}: {error.strerror}") from None

    def _target(self) -> Path:
        """Where the tokens are: behind a link, the file that it leads to."""
        return self._path.resolve()

    def _load(self) -> StoredTokens | None:
        try:
            with self._path.open(encoding="utf-8", errors="replace") as file:
                if os.name == "posix" and os.fstat(file.fileno()).st_mode & FOREIGN_PERMISSIONS:
                    _log.warning("others may read the tokens; chmod 600 mends it", file=str(self._path))
                text = file.read()
        except FileNotFoundError:
            return None
        return _from_text(text, str(self._path))

    def _save(self, text: str) -> None:
        make_folder(self._path.parent)
        target = self._target()
        # mkstemp makes it 0600, and under a name that nobody can have put a link at.
        number, name = mkstemp(prefix=f".{target.name}.", dir=target.parent)
        try:
            with os.fdopen(number, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(target)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise


class KeyringTokens:
    """Keeps tokens in the system's keyring, under a service and a name; needs ``aintandem-notify[keyring]``.

    Raises TokenStoreError at once when the ``keyring`` library is not installed.

        client = AInTandemClient("https://api.example", tokens=KeyringTokens(username="ada"))
    """

    def __init__(self, service: str = "aintandem-notify", username: str = "default") -> None:
        self._service = service
        self._username = username
        self._limiter = trio.CapacityLimiter(MAX_CALLS)
        try:
            self._keyring: Any = importlib.import_module("keyring")
        except ImportError:
            raise TokenStoreError(
                "KeyringTokens needs the keyring library; install it with: pip install 'aintandem-notify[keyring]'"
            ) from None
        except Exception as error:  # the border to a library that looks for its backends as it is imported
            raise TokenStoreError(f"the keyring library cannot be loaded ({type(error).__name__})") from error

    def __repr__(self) -> str:
        return f"KeyringTokens({self._service!r}, {self._username!r})"

    async def load(self) -> StoredTokens | None:
        """What was saved last, None when there is nothing. Raises TokenStoreError."""
        text = await self._call_keyring("read", "get_password", self._service, self._username)
        return None if text is None else _from_text(str(text), f"the keyring's entry {self._service}")

    async def save(self, tokens: StoredTokens) -> None:
        """Put them in place of what was there. Raises TokenStoreError."""
        await self._call_keyring("write", "set_password", self._service, self._username, _as_text(tokens))

    async def clear(self) -> None:
        """Remove the entry. Raises TokenStoreError."""
        if await self.load() is not None:
            await self._call_keyring("remove", "delete_password", self._service, self._username)

    async def _call_keyring(self, verb: str, name: str, *arguments: str) -> Any:
        try:
            # A keyring may ask the user for a password, and wait for it as long as that takes.
            return await trio.to_thread.run_sync(
                getattr(self._keyring, name), *arguments, abandon_on_cancel=True, limiter=self._limiter
            )
        except Exception as error:  # noqa: BLE001  # each backend has errors of its own
            reason = f"{type(error).__name__}: {log.redact(str(error))}".rstrip(": ")
            raise TokenStoreError(f"cannot {verb} the keyring's entry {self._service}: {reason}") from None


class ErrorTranslatingStore:
    """Somebody else's store: whatever it raises comes out as TokenStoreError."""

    def __init__(self, store: TokenStore) -> None:
        self._store = store

    async def load(self) -> StoredTokens | None:
        """As the store's own."""
        with _as_store_errors():
            return await self._store.load()

    async def save(self, tokens: StoredTokens) -> None:
        """As the store's own."""
        with _as_store_errors():
            await self._store.save(tokens)

    async def clear(self) -> None:
        """As the store's own."""
        with _as_store_errors():
            await self._store.clear()


@contextmanager
def _as_store_errors() -> Iterator[None]:
    try:
        yield
    except TokenStoreError:
        raise
    except Exception as error:  # the border of a store that a user wrote
        reason = f"{type(error).__name__}: {log.redact(str(error))}".rstrip(": ")
        raise TokenStoreError(f"the token store raised {reason}") from error


def _as_text(tokens: StoredTokens) -> str:
    content = {"url": tokens.url, "token": tokens.token, "refreshToken": tokens.refresh_token}
    return json.dumps(content, indent=1) + "\n"


def _from_text(text: str, place: str) -> StoredTokens | None:
    try:
        content = read_json(text)
        url, token, refresh_token = content["url"], content["token"], content["refreshToken"]
    except (ValueError, TypeError, KeyError):
        url = token = refresh_token = None
    if not (isinstance(url, str) and isinstance(token, str) and isinstance(refresh_token, str | None)):
        _log.warning("the tokens that were kept cannot be read; a login is needed", place=place)
        return None
    return StoredTokens(url, token, refresh_token)
