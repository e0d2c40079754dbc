"""Settings that every test shares."""

from hypothesis import HealthCheck, settings

# The same examples on every run: a failure that comes and goes helps nobody. No deadline: CI machines stall.
settings.register_profile(
    "steady", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("steady")
