"""PostgreSQL as the store: connecting through psycopg, its errors, and texts that it cannot hold."""
