"""Catching up after a gap: a snapshot over REST, compared with the runs that are known."""
