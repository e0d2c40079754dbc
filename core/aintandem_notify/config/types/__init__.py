"""The types of the config's values: durations, paths, addresses, secrets; and the context of their validation."""
