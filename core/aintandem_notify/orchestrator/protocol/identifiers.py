"""Validates ids of projects, tasks, executions, sandboxes and operations."""

from aintandem_notify.domain.events import DOT_SEGMENTS, MAX_ID_CHARACTERS


class InvalidId(ValueError):
    """The id cannot be part of a URL, so nothing can have it."""


def validate_id(value: object, name: str = "the id") -> str:
    """``value``, if it is a valid id; ``name`` begins the error's message.

    Raises TypeError if it is not a str. Raises InvalidId if it is empty, ``.``, ``..``, longer than an id in an
    event, or holds a lone surrogate.
    """
    if not isinstance(value, str):
        raise TypeError(f"{name} should be a str, not {type(value).__name__}")
    if not value:
        raise InvalidId(f"{name} is empty")
    if len(value) > MAX_ID_CHARACTERS:
        raise InvalidId(f"{name} has {len(value)} characters; at most {MAX_ID_CHARACTERS} are allowed")
    if value in DOT_SEGMENTS:
        raise InvalidId(f"{name} cannot be {value!r}: in a URL that means another folder")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidId(f"{name} holds a lone surrogate, which cannot be sent: {value!a}") from None
    return value
