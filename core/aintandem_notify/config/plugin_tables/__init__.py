"""Reads the ``[plugins.<type>.<name>]`` tables, each with the model of its plugin type."""
