"""``python -m aintandem_notify`` is the command ``aintandem-notify``."""

from aintandem_notify.cli.main import main

if __name__ == "__main__":
    main()
