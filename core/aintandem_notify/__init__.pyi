from aintandem_notify.api import *  # noqa: F403  # in a stub this passes on all that __all__ names
from aintandem_notify.client import *  # noqa: F403  # likewise
from aintandem_notify.errors import *  # noqa: F403  # likewise

__version__: str
