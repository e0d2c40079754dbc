"""What is refused, in a sentence that people read as it is."""

from aintandem_notify.errors import AInTandemNotifyError


class RequestRefused(AInTandemNotifyError):
    """What was asked cannot be done; ``status`` is the HTTP status that says the same."""

    def __init__(self, sentence: str, *, status: int = 400) -> None:
        self.status = status
        super().__init__(sentence)
