"""The tests, and what they stand on."""

from hypothesis import HealthCheck, settings

# How long an example takes says how busy the machine is, and is no promise of ours.
settings.register_profile("ours", settings.default, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("ours")
