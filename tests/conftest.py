"""What all levels share."""

from __future__ import annotations

from hypothesis import HealthCheck, Phase, settings

# A busy machine is no failure: time limits are pytest-timeout's business, not hypothesis's.
# No explain phase: it traces every line, which for a state machine takes longer than the test may.
settings.register_profile(
    "gpucamp",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    print_blob=True,
    phases=(Phase.explicit, Phase.reuse, Phase.generate, Phase.target, Phase.shrink),
)
settings.load_profile("gpucamp")
