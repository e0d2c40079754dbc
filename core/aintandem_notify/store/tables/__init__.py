"""The tables of the store as typed questions and changes: journal, outbox, backlog, gates, retention."""
