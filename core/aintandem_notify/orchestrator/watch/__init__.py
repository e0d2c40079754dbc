"""Watching projects for as long as they are wanted: one supervisor each, over one link after another."""
