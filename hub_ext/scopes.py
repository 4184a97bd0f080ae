"""Custom scopes of gpucamp, for `c.JupyterHub.custom_scopes` and for roles."""

from __future__ import annotations

ENVIRONMENT_READ = "custom:gpucamp:environment:read"
ENVIRONMENT_RESET = "custom:gpucamp:environment:reset"
DEVICES_READ = "custom:gpucamp:devices:read"
LEASES_READ = "custom:gpucamp:leases:read"

CUSTOM_SCOPES: dict[str, dict[str, object]] = {
    ENVIRONMENT_READ: {"description": "See a server's environment and lease in gpucamp."},
    ENVIRONMENT_RESET: {"description": "Reset a server's environment, and undo it."},
    DEVICES_READ: {"description": "See all GPUs and who holds them."},
    LEASES_READ: {"description": "See all GPU leases."},
}
