"""Live progress on a screen: for ``aintandem-notify tail``. Stands on the library; opens no store, sends nothing.

``board`` knows what runs and what to say of an event, ``looks`` how that reads; both are pure. ``following`` keeps
the connections, ``finding`` asks what was missed, ``writing`` is where it goes: a terminal, plain lines, or JSON.
"""

from aintandem_notify.live_view.follow import Ended, FollowOptions, follow
from aintandem_notify.live_view.output import ReaderGone, Style

__all__ = ["Ended", "FollowOptions", "ReaderGone", "Style", "follow"]
