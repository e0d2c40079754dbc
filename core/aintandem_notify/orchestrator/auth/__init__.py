"""One login for all projects: gets tokens, stores them, and renews them in time."""
