"""What all levels share."""

from __future__ import annotations

import gc
import os

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
# `make test-fast` asks for it
settings.register_profile("fast", settings.get_profile("gpucamp"), max_examples=40)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "gpucamp"))


def pytest_collection_finish() -> None:
    """A thousand collected tests stay: do not look through them at each collection of garbage."""
    gc.collect()
    gc.freeze()
