"""The other agents that share the store, for the status."""

from datetime import datetime, timedelta

from aintandem_notify.control.schemas import PeerResponse
from aintandem_notify.store import Store


def peers_of(store: Store, now: datetime) -> tuple[PeerResponse, ...]:
    """All but this agent, by name; none where the store has one owner. In a transaction.

    How long ago each was heard of is the database's to say, so that clocks of several machines need not agree.
    """
    member = store.membership
    if member is None:
        return ()
    return tuple(
        PeerResponse(
            name=one.node,
            version=one.version,
            projects=one.projects,
            places=one.places,
            seen_at=now - timedelta(seconds=one.silent_s),
            lost=one.lease_s <= 0,
        )
        for one in sorted(member.peers(), key=lambda peer: peer.node)
        if one.id != member.id
    )
