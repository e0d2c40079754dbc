"""The types of the config's values: durations, paths, addresses, secrets, and where a config stands."""
