"""Catches up after a gap: reads a snapshot over REST and reconciles it with the known runs."""
