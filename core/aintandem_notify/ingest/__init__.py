"""Turns events into stored deliveries: journal, runs and rules in one transaction for each batch."""

from aintandem_notify.ingest.plan import EventRouter
from aintandem_notify.ingest.writer import Ingest, open_ingest

__all__ = ["EventRouter", "Ingest", "open_ingest"]
