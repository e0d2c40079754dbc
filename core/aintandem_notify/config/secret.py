"""Secrets: read from the config, a variable or a file, and never shown."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Self

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from aintandem_notify import log
from aintandem_notify.config.surroundings import Surroundings

# What a variable is called by custom; anything else may be the secret itself, written in the wrong place.
_VARIABLE: Final = re.compile(r"[A-Z_][A-Z0-9_]*")

_CREDENTIAL: Final = "$CREDENTIALS_DIRECTORY/"


_MARK: Final = "aintandem_notify_secret"


def is_secret(schema: Mapping[str, Any]) -> bool:
    """Whether it is pydantic's core schema of a ``Secret``."""
    return _MARK in (schema.get("metadata") or {})


class Secret:
    """A text that never shows itself; written inline, as ``{ env = "NAME" }`` or as ``{ file = "PATH" }``.

    Reading one announces it to the log, which keeps it out of every line. A file is read once, relative to
    the config, without its trailing line break; a name that begins with ``$CREDENTIALS_DIRECTORY/`` is one of
    systemd's credentials.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value
        log.hide(value)

    def reveal(self) -> str:
        """The secret itself, for the one place that needs it."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(…)"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._value == other._value

    def __hash__(self) -> int:
        return hash(self._value)

    @classmethod
    def read(cls, value: object, surroundings: Surroundings) -> Self:
        """Raises ValueError with a sentence that does not hold the value."""
        match value:
            case cls():
                return value
            case str():
                return cls._checked(value, "the secret is empty")
            case {"env": str(name), **others} if not others:
                return cls._from_variable(name, surroundings.environ)
            case {"file": str(name), **others} if not others:
                return cls._from_file(name, surroundings)
            case _:
                raise ValueError('not a secret; write it as "text", { env = "NAME" } or { file = "PATH" }')

    @classmethod
    def _from_variable(cls, name: str, environ: Mapping[str, str]) -> Self:
        called = f"the environment variable {name}" if _VARIABLE.fullmatch(name) else "the environment variable"
        if name not in environ:
            raise ValueError(f"{called} is not set")
        return cls._checked(environ[name], f"{called} is empty")

    @classmethod
    def _from_file(cls, name: str, surroundings: Surroundings) -> Self:
        called = "the secret's file"
        base_dir = surroundings.base_dir
        if name.startswith(_CREDENTIAL):
            folder = surroundings.environ.get("CREDENTIALS_DIRECTORY")
            if not folder:
                raise ValueError("CREDENTIALS_DIRECTORY is not set; systemd sets it where LoadCredential= is used")
            name = f"{folder}/{name.removeprefix(_CREDENTIAL)}"
        try:
            path = base_dir / Path(name).expanduser()
            # A relative name is not repeated: it may be the secret itself, written in the wrong place.
            called += f" {path}" if name.startswith(("/", "~/")) else f" (relative to {base_dir})"
            text = path.read_text(encoding="utf-8")
        except (OSError, ValueError, RuntimeError) as error:  # RuntimeError: no home directory for "~"
            reason = error.strerror if isinstance(error, OSError) else "it is no file of UTF-8 text"
            raise ValueError(f"cannot read {called}: {reason}") from None
        return cls._checked(text.rstrip("\r\n"), f"{called} is empty")

    @classmethod
    def _checked(cls, text: str, if_empty: str) -> Self:
        if not text:
            raise ValueError(if_empty)
        return cls(text)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.with_info_plain_validator_function(
            lambda value, info: cls.read(value, Surroundings.of(info)), metadata={_MARK: True}
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
