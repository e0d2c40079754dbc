"""Secrets: read from the config, an environment variable or a file, and never shown."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Self

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from aintandem_notify import log
from aintandem_notify.config.types.context import ValidationContext
from aintandem_notify.config.types.files import read_bounded
from aintandem_notify.config.types.secret_form import tidy

# The usual form of a variable's name; anything else may be the secret itself, written in the wrong place.
_VARIABLE: Final = re.compile(r"[A-Z_][A-Z0-9_]*")

_CREDENTIAL: Final = "$CREDENTIALS_DIRECTORY/"

MAX_SECRET_CHARACTERS: Final = 65_536
"""Characters of a secret from a variable or a file; our limit, so that a wrong file is not read to its end."""


_MARK: Final = "aintandem_notify_secret"


def is_secret(schema: Mapping[str, Any]) -> bool:
    """True if ``schema`` is pydantic's core schema of a ``Secret``."""
    return _MARK in (schema.get("metadata") or {})


class Secret:
    """A text that never shows itself; written inline, as ``{ env = "NAME" }`` or as ``{ file = "PATH" }``.

    Making one registers it with the log, which removes it from every line. A file is read once; its path is
    relative to the config, and ``$CREDENTIALS_DIRECTORY/`` at its start is systemd's folder of credentials.
    ``secret_form`` decides about white space, wherever the secret was written.
    """

    __slots__ = ("_remark", "_value")

    def __init__(self, value: str, remark: str | None = None) -> None:
        self._value = value
        self._remark = remark
        log.register_secret(value)

    @property
    def remark(self) -> str | None:
        """A warning about the form in which it was written, without any part of it; None if fine."""
        return self._remark

    def reveal(self) -> str:
        """The secret itself. Call it only where it is used."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(…)"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._value == other._value

    def __hash__(self) -> int:
        return hash(self._value)

    @classmethod
    def read(cls, value: object, context: ValidationContext, key: str | None = None) -> Self:
        """Read the value of ``key``; raises ValueError with a sentence that does not contain the value."""
        match value:
            case cls():
                return value
            case str():
                return cls._from_text(value, "the secret", key)
            case {"env": str(name), **others} if not others:
                return cls._from_variable(name, context.environ, key)
            case {"file": str(name), **others} if not others:
                return cls._from_file(name, context, key)
            case _:
                raise ValueError('not a secret; write it as "text", { env = "NAME" } or { file = "PATH" }')

    @classmethod
    def _from_variable(cls, name: str, environ: Mapping[str, str], key: str | None) -> Self:
        origin = f"the environment variable {name}" if _VARIABLE.fullmatch(name) else "the environment variable"
        if name not in environ:
            raise ValueError(f"{origin} is not set")
        return cls._from_text(environ[name], origin, key)

    @classmethod
    def _from_file(cls, name: str, context: ValidationContext, key: str | None) -> Self:
        origin = "the secret's file"
        base_dir = context.base_dir
        if name.startswith(_CREDENTIAL):
            folder = context.environ.get("CREDENTIALS_DIRECTORY")
            if not folder:
                raise ValueError("CREDENTIALS_DIRECTORY is not set; systemd sets it where LoadCredential= is used")
            name = f"{folder}/{name.removeprefix(_CREDENTIAL)}"
        try:
            path = base_dir / Path(name).expanduser()
            # A relative name is not quoted: it may be the secret itself, written in the wrong place.
            origin += f" {path}" if name.startswith(("/", "~/")) else f" (relative to {base_dir})"
            text = read_bounded(path, MAX_SECRET_CHARACTERS + 1).decode("utf-8")
        except (OSError, ValueError, RuntimeError) as error:  # RuntimeError: no home directory for "~"
            reason = error.strerror if isinstance(error, OSError) else "it is not a file of UTF-8 text"
            raise ValueError(f"cannot read {origin}: {reason}") from None
        return cls._from_text(text, origin, key)

    @classmethod
    def _from_text(cls, text: str, origin: str, key: str | None) -> Self:
        """The secret in ``text``; ``origin`` names its source in messages."""
        if len(text) > MAX_SECRET_CHARACTERS:
            raise ValueError(
                f"{origin} contains more than {MAX_SECRET_CHARACTERS} characters, too long for a secret"
            )
        if "\0" in text:
            raise ValueError(f"{origin} contains a NUL character, so it is not text")
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ValueError(f"{origin} contains bytes that are not UTF-8 text") from None
        try:
            tidied = tidy(text, key)
        except ValueError as error:
            raise ValueError(f"{origin} {error}") from None
        return cls(tidied.text, tidied.remark and f"{origin} {tidied.remark}")

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.with_info_plain_validator_function(
            lambda value, info: cls.read(value, ValidationContext.of(info), info.field_name),
            metadata={_MARK: True},
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        def table(key: str, description: str) -> JsonSchemaValue:
            return {
                "type": "object",
                "properties": {key: {"type": "string", "description": description}},
                "required": [key],
                "additionalProperties": False,
            }

        return {
            "anyOf": [
                {"type": "string"},
                table("env", "name of an environment variable"),
                table("file", "path of a file, relative to the config"),
            ],
        }
