"""The standard streams of the process. Imports nothing: the very start of the process needs a part of it."""
