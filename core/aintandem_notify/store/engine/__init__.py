"""The databases: opening SQLite and PostgreSQL, their schema and migrations, and their errors in our words."""
