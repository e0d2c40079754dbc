"""Several agents on one PostgreSQL: membership, and the outbox and backlog whose claims hold."""
