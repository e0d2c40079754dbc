"""Several agents on one PostgreSQL: membership, and an outbox and backlog that store claims."""
