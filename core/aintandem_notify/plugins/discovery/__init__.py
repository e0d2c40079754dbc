"""Finding plugins by name, importing those that are asked for, and checking their conventions."""
