"""Default texts by kind of event, for the table in ``default_texts``."""
