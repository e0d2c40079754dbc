"""Validators for the addresses in a config. No message quotes an address: it may contain a login."""

import ipaddress
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from pydantic import ValidationInfo

from aintandem_notify import log
from aintandem_notify.config.findings import toml_type
from aintandem_notify.config.types.context import ValidationContext
from aintandem_notify.config.types.outbound import Proxy, ProxyExemption, is_web_address, parse_network
from aintandem_notify.config.types.secret import Secret
from aintandem_notify.config.types.secret_form import tidy, trim
from aintandem_notify.foundation.postgres_urls import is_postgres_url

SIMULATOR: Final = "simulator"
"""The ``url`` that starts the embedded simulator."""


OFF: Final = "off"
"""The ``listen`` that turns the control API off."""

_HOST_AND_PORT: Final = re.compile(r"(?P<host>\[[0-9a-fA-F:.]+\]|[^:\[\]\s]+):(?P<port>[0-9]{1,5})")


def orchestrator_url(url: str) -> str:
    """``url`` without a trailing slash; raises ValueError if it is neither a web address nor the simulator."""
    url = tidy_text(url, "the address", "url")
    if url == SIMULATOR:
        return url
    return web_address(url, f'begin with http:// or https://, or be "{SIMULATOR}"').rstrip("/")


def tidy_text(text: str, noun: str, key: str | None = None) -> str:
    """``text`` without white space at its ends; raises ValueError if it is empty or has some inside."""
    try:
        return tidy(text, key).text
    except ValueError as error:
        raise ValueError(f"{noun} {error}") from None


def user_name(name: str) -> str:
    """``name`` without white space at its ends; raises ValueError if it is empty, or has a line break."""
    return tidy_text(name, "the name")


def web_address(url: str, expectation: str) -> str:
    """``url`` if it is a plain http or https URL; raises ValueError with a message that does not quote it."""
    if not is_web_address(url):
        raise ValueError(f"should {expectation}")
    return url


def base_address(url: str) -> str:
    """``url`` as it is; raises ValueError if it has a login, a query or a fragment."""
    parts = urlsplit(url)
    if "@" in parts.netloc:
        raise ValueError("should not hold a login; use the keys username and password")
    if parts.query or parts.fragment:
        raise ValueError("should end before the ? or #; the API's paths are added to it")
    return url


def console_address(template: str) -> str:
    """``template`` without white space at its ends; raises ValueError if it cannot render to a web address."""
    template = trim(template)
    if not template.startswith(("http://", "https://", "{")):
        raise ValueError("should begin with http:// or https://")
    return template


def proxy_address(value: Secret | None) -> Secret | None:
    """``value`` as it is, its password registered as a secret; raises ValueError if it is no HTTP proxy."""
    if value is not None:
        credentials = Proxy.parse(value.reveal()).credentials or b""
        _, _, password = credentials.decode().partition(":")
        if password:
            log.register_secret(password)
    return value


def proxy_exemptions(entries: tuple[str, ...]) -> tuple[str, ...]:
    """``entries`` as they are; raises ValueError for an entry that names no host."""
    for entry in entries:
        ProxyExemption.parse(entry)
    return entries


def address_ranges(entries: tuple[str, ...]) -> tuple[str, ...]:
    """``entries`` as they are; raises ValueError for an entry that is neither an address nor a range."""
    for entry in entries:
        parse_network(entry)
    return entries


def heartbeat_address(value: Secret | None) -> Secret | None:
    """``value`` as it is; raises ValueError if it is no web address."""
    if value is not None:
        web_address(value.reveal(), "be an address that begins with http:// or https://")
    return value


def loopback_address(listen: str) -> str:
    """``listen`` as it is; raises ValueError if it is neither ``off`` nor a loopback address with a port."""
    if listen == OFF:
        return listen
    match = _HOST_AND_PORT.fullmatch(listen)
    if match is None or int(match["port"]) > 65535:
        raise ValueError(f'should be an address and a port, as "127.0.0.1:0" or "[::1]:9901", or "{OFF}"')
    if match["host"] != "localhost" and not _is_loopback(match["host"].strip("[]")):
        raise ValueError("should be a loopback address, as 127.0.0.1: anybody who reaches it may try tokens")
    return listen


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def certificates(path: Path | None) -> Path | None:
    """``path`` as it is; raises ValueError if the file cannot be read."""
    if path is not None:
        try:
            if not stat.S_ISREG(path.stat().st_mode):  # reading a pipe would block, and empty it
                raise ValueError("cannot read the file: it is no regular file")
            path.open("rb").close()
        except OSError as error:
            raise ValueError(f"cannot read the file: {error.strerror}") from None
    return path


def store_url(value: object, info: ValidationInfo[Any]) -> str | Secret | None:
    """The URL of the store, also from { env = … } and { file = … }; raises ValueError.

    A relative SQLite path starts at the config's folder. A PostgreSQL URL may contain a password, so it is a
    Secret.
    """
    context = ValidationContext.of(info)
    if value is None or isinstance(value, Secret):
        return value
    if not isinstance(value, str | Mapping):
        raise ValueError(f"should be a text, not {toml_type(value)}")
    url = Secret.read(value, context).reveal() if isinstance(value, Mapping) else tidy_text(value, "the address")
    if is_postgres_url(url):
        return _postgres_url(url)
    scheme, _separator, location = url.partition("://")
    if scheme != "sqlite" or not location.startswith("/") or location == "/":
        raise ValueError("should be sqlite:/// and a path, or postgresql://user@host/dbname")
    path = location[1:]
    return url if path == ":memory:" else f"sqlite:///{context.base_dir / Path(path).expanduser()}"


def _postgres_url(url: str) -> Secret:
    try:
        parts = urlsplit(url)
        usable = len(parts.path) > 1 and (parts.port or 1) > 0
    except ValueError:
        usable = False
    if not usable or not url.isprintable() or " " in url:
        raise ValueError("should look like postgresql://user@host/dbname")
    if parts.password:
        log.register_secret(unquote(parts.password))
    return Secret(url)
