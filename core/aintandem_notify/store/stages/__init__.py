"""The notifications that the stages of the rules hold, and the silences."""
