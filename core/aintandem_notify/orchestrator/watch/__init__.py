"""Watches projects: one supervisor for each, which opens one link after another."""
