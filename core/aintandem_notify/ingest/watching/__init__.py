"""Applies the watches inside the transactions of the ingest: timers begin and end with runs, and are looked at."""
