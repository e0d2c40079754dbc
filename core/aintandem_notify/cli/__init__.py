"""The command line: reads arguments, calls other packages and prints the result. It has no logic of its own.

``main`` is the entry; ``commands`` has one module per command.
"""
