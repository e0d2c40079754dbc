"""One login for all projects: tokens, where they are stored, and when they are renewed."""
