"""gpucamp in the user's own server: GPU doctor, DDP launcher, environment reset.

Importing this package costs nothing: Jupyter Server's part is loaded only when the server asks
for it, and `gpucamp-doctor` runs without it.
"""

from __future__ import annotations

from typing import Any

__version__ = "0.1.0"


def _jupyter_server_extension_points() -> list[dict[str, Any]]:
    """What Jupyter Server asks every extension package."""
    from .app import GpucampApp

    return [{"module": "server_ext", "app": GpucampApp}]
