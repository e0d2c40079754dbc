"""The ``[plugins.<type>.<name>]`` tables: each is read with the model of its plugin type."""
