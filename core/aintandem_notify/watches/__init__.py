"""Decides which runs a watch is about, when to look at them, and if there is trouble. Pure functions of values."""
