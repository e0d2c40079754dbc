"""The standard streams of the process. Imports nothing, because the first lines of ``__main__`` use it."""
