"""The commands that ask a running agent or its store, one per module."""
