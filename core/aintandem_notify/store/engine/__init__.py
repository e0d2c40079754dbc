"""Opens SQLite and PostgreSQL, upgrades their schema, and translates their errors."""
