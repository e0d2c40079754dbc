"""Lists the other agents that share the store, for the status."""

from datetime import datetime, timedelta

from aintandem_notify.control.schemas import PeerResponse
from aintandem_notify.store import Store


def peers_of(store: Store, now: datetime) -> tuple[PeerResponse, ...]:
    """Returns all agents but this one, by name; empty if the store belongs to one agent. In a transaction.

    The database measures how long each has been silent, so that the clocks of the machines need not agree.
    """
    member = store.membership
    return tuple(
        PeerResponse(
            name=peer.node,
            version=peer.version,
            projects=peer.projects,
            places=peer.places,
            seen_at=now - timedelta(seconds=peer.silent_s),
            lost=peer.lease_s <= 0,
        )
        for peer in sorted(member.peers(), key=lambda peer: peer.node)
        if peer.id != member.id
    )
