"""aintandem-notify: tells the right people what happens to AInTandem tasks, workflows and sandboxes."""

__version__ = "0.1.0"
