"""Answers "why?": the fate of an event and its reasons, and that of one which happened now."""
