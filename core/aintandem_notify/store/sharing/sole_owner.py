"""The agent that has a store for itself: what ``membership`` answers for one of several, answered for one."""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aintandem_notify.store.sharing.membership import Peer


class SoleOwner:
    """An agent that shares its store with no other; ``Membership`` overrides this for one that may."""

    id: str | None = None

    @property
    def is_shared(self) -> bool:
        """Whether this agent has joined the agents of a shared store."""
        return False

    @property
    def may_send(self) -> bool:
        """Whether no other agent can have taken over this agent's claims."""
        return True

    def fence(self) -> None:
        """Locks this agent's row until the transaction ends; raises MembershipLost if it expired or is gone."""

    def peers(self) -> "Sequence[Peer]":
        """All members that no agent has removed yet, ordered by id."""
        return ()

    def owns(self, project_id: str) -> bool:  # noqa: ARG002
        """Whether this agent may store the project's events."""
        return True

    def placement(self, destination: str) -> tuple[str | None, str | None]:  # noqa: ARG002
        """The hash of the settings and the only agent that a delivery to it is meant for; None for any."""
        return None, None

    def variant(self, destination: str) -> str:  # noqa: ARG002
        """The hash of the destination's settings; empty if the store is not shared, or it is not configured."""
        return ""

    def now(self, fallback: datetime) -> datetime:
        """In a shared store, the database's time at the start of the transaction; else ``fallback``."""
        return fallback
