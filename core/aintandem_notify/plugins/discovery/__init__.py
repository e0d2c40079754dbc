"""Finds plugins by name, imports the requested ones, and checks their conventions."""
