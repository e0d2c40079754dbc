"""Live progress in a terminal, for ``aintandem-notify tail``. It uses the client library and opens no store.

``follow`` keeps the connections and ``catch_up`` asks REST for ends that were missed. ``model`` knows which runs
are in progress and which lines an event makes, and ``labels`` names them. ``activity`` says how the watching
stands, and ``render`` turns all of these into text. These four are pure. ``reports`` knows when to say how it
stands where no status line does. ``output`` writes the text: to a terminal, as plain lines, or as JSON.
"""

from aintandem_notify.live_view.follow import FollowError, FollowOptions, follow
from aintandem_notify.live_view.output import ReaderGone, Style

__all__ = ["FollowError", "FollowOptions", "ReaderGone", "Style", "follow"]
