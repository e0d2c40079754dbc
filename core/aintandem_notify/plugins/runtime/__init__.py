"""Runs plugin instances: a supervisor for each, hook calls with deadlines, and queues for live hooks."""
