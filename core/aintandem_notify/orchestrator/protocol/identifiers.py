"""What may be the id of a project, task, execution, sandbox or operation, wherever somebody asks for one."""

from aintandem_notify.domain.events import DOT_SEGMENTS, MAX_ID_LENGTH


class InvalidId(ValueError):
    """No address can hold the id, so it is nothing's."""


def validate_id(value: object, what: str = "the id") -> str:
    """``value``, if it may be an id; ``what`` says whose.

    Raises TypeError when it is no text, and UnusableId when it is empty, ``.``, ``..``, longer than events may
    name it, or no Unicode (half of a surrogate pair).
    """
    if not isinstance(value, str):
        raise TypeError(f"{what} should be a str, not {type(value).__name__}")
    if not value:
        raise InvalidId(f"{what} is empty")
    if len(value) > MAX_ID_LENGTH:
        raise InvalidId(f"{what} has {len(value)} characters, and {MAX_ID_LENGTH} are the most")
    if value in DOT_SEGMENTS:
        raise InvalidId(f"{what} cannot be {value!r}: in an address that is a step to another one")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidId(f"{what} holds half of a character, which cannot be sent: {value!a}") from None
    return value
