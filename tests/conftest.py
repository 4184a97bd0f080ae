"""What all levels share."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# A busy machine is no failure: time limits are pytest-timeout's business, not hypothesis's.
settings.register_profile(
    "gpucamp", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("gpucamp")
