"""Token stores that outlive the process: a private file, or the system's keyring. Both work in a thread."""

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
"""Mode bits that give others access; a token file must have none of them."""
MAX_CALLS: Final = 4
"""Concurrent calls of one store. They have threads of their own. A keyring that waits for its user must not take
the threads that the program shares, and those may all hang."""

T = TypeVar("T")
_log = log.get_logger(__name__)


class FileTokens:
    """Stores tokens in a file that only its owner can read (0600). Each save replaces the whole file.

    ``path`` may begin with ``~``. A missing folder is created (0700). A file holds one login; programs that share
    the file share the login. If ``path`` is not a regular file but a folder, a device or a pipe, every call raises
    TokenStoreError and leaves it alone.

        client = AInTandemClient("https://api.example", tokens=FileTokens("~/.config/my-tool/tokens.json"))
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path).expanduser()
        self._limiter = trio.CapacityLimiter(MAX_CALLS)

    def __repr__(self) -> str:
        return f"FileTokens({str(self._path)!r})"

    async def load(self) -> StoredTokens | None:
        """Returns the tokens of the last ``save``; None without a file, and, with a warning, for a damaged one.

        Raises TokenStoreError when the file cannot be read.
        """
        return await self._in_thread(self._load, "read")

    async def save(self, tokens: StoredTokens) -> None:
        """Replace the file. Raises TokenStoreError."""
        await self._in_thread(lambda: self._save(_as_text(tokens)), "write")

    async def clear(self) -> None:
        """Remove the file. Raises TokenStoreError."""
        await self._in_thread(lambda: self._target().unlink(missing_ok=True), "remove")

    async def _in_thread(self, function: Callable[[], T], verb: str) -> T:
        return await trio.to_thread.run_sync(self._run_checked, function, verb, limiter=self._limiter)

    def _run_checked(self, function: Callable[[], T], verb: str) -> T:
        try:
            # Reading a pipe could block for ever, and saving would replace a device by a file with the tokens.
            if self._path.exists() and not self._path.is_file():
                raise TokenStoreError(f"cannot {verb} {self._path}: it is no regular file")
            return function()
        except OSError as error:
            raise TokenStoreError(f"cannot {verb} {self._path}: {error.strerror}") from None

    def _target(self) -> Path:
        """The file that holds the tokens, with symbolic links resolved."""
        return self._path.resolve()

    def _load(self) -> StoredTokens | None:
        try:
            with self._path.open(encoding="utf-8", errors="replace") as file:
                if os.name == "posix" and os.fstat(file.fileno()).st_mode & FOREIGN_PERMISSIONS:
                    _log.warning("others may read the tokens; run chmod 600 on the file", file=str(self._path))
                text = file.read()
        except FileNotFoundError:
            return None
        return _from_text(text, str(self._path))

    def _save(self, text: str) -> None:
        make_folder(self._path.parent)
        target = self._target()
        # mkstemp creates it with 0600, under a name at which nobody can have placed a link.
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
    """Stores tokens in the system's keyring, under a service and a name. Needs ``aintandem-notify[keyring]``.

    Raises TokenStoreError at once if the ``keyring`` library is not installed.

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
        except Exception as error:  # border to a library that searches its backends during the import
            raise TokenStoreError(f"the keyring library cannot be loaded ({type(error).__name__})") from error

    def __repr__(self) -> str:
        return f"KeyringTokens({self._service!r}, {self._username!r})"

    async def load(self) -> StoredTokens | None:
        """Returns the tokens of the last ``save``, or None. Raises TokenStoreError."""
        text = await self._call_keyring("read", "get_password", self._service, self._username)
        return None if text is None else _from_text(str(text), f"the keyring's entry {self._service}")

    async def save(self, tokens: StoredTokens) -> None:
        """Replace the entry. Raises TokenStoreError."""
        await self._call_keyring("write", "set_password", self._service, self._username, _as_text(tokens))

    async def clear(self) -> None:
        """Remove the entry. Raises TokenStoreError."""
        if await self.load() is not None:
            await self._call_keyring("remove", "delete_password", self._service, self._username)

    async def _call_keyring(self, verb: str, name: str, *arguments: str) -> Any:
        try:
            # A keyring may prompt the user for a password and wait without limit.
            return await trio.to_thread.run_sync(
                getattr(self._keyring, name), *arguments, abandon_on_cancel=True, limiter=self._limiter
            )
        except Exception as error:  # noqa: BLE001  # each backend has its own errors
            reason = f"{type(error).__name__}: {log.redact(str(error))}".rstrip(": ")
            raise TokenStoreError(f"cannot {verb} the keyring's entry {self._service}: {reason}") from None


class ErrorTranslatingStore:
    """Wraps a store of the user, and raises every exception of it as TokenStoreError."""

    def __init__(self, store: TokenStore) -> None:
        self._store = store

    async def load(self) -> StoredTokens | None:
        """As the wrapped store."""
        with _as_store_errors():
            return await self._store.load()

    async def save(self, tokens: StoredTokens) -> None:
        """As the wrapped store."""
        with _as_store_errors():
            await self._store.save(tokens)

    async def clear(self) -> None:
        """As the wrapped store."""
        with _as_store_errors():
            await self._store.clear()


@contextmanager
def _as_store_errors() -> Iterator[None]:
    try:
        yield
    except TokenStoreError:
        raise
    except Exception as error:  # border of a store that a user wrote
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
        _log.warning("the stored tokens cannot be read; a login is needed", place=place)
        return None
    return StoredTokens(url, token, refresh_token)
