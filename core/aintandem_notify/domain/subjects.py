"""The subject of a run: the thing that runs again and again, as the task ``nightly import`` of a project."""

from hashlib import blake2b
from typing import Final

_SEPARATOR: Final = "\n"


def subject_of(project_id: str, kind: str, name: str) -> int:
    """The number of a subject, of 64 bits with a sign: the same for all runs of one kind, name and project."""
    return _number(project_id, kind, name)


def templated_subject_of(project_id: str, rule: str, value: str) -> int:
    """As ``subject_of``, for the value that a rule's own ``subject`` gives; only this rule knows it."""
    return _number(project_id, f"rule {rule}", value)


def _number(*parts: str) -> int:
    # Names may be prompts of any length, which no index of a database takes.
    digest = blake2b(_SEPARATOR.join(parts).encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)
