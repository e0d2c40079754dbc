"""Typed queries and changes of the store's tables: journal, outbox, backlog, gates, delivery admin, retention."""
