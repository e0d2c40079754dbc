"""``python -m benchmarks.apprise_peer PORT COUNT``: sends notifications with Apprise to a webhook at the port."""

import importlib
import sys


def main(port: int, count: int) -> None:
    """Send them one after the other, as a program does that uses Apprise."""
    sender = importlib.import_module("apprise").Apprise()  # only the benchmarks need it, and not all of them
    sender.add(f"json://127.0.0.1:{port}/")
    for number in range(count):
        if not sender.notify(title='Task "nightly-report" failed', body=f"no such table: sales_{number}"):
            raise SystemExit(f"Apprise could not send notification {number}")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
