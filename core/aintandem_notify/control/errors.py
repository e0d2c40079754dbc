"""The error of the control API and of the commands that use it."""

from aintandem_notify.errors import AInTandemNotifyError


class RequestRefused(AInTandemNotifyError):
    """The request cannot be fulfilled. ``sentence`` is shown to people as it is; ``status`` is the HTTP status."""

    def __init__(self, sentence: str, *, status: int = 400) -> None:
        self.status = status
        super().__init__(sentence)
