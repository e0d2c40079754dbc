"""Reads scenario files: TOML to values, with all times, projects and events resolved."""
