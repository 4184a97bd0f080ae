"""Scopes of gpucamp: what each party may do, and nothing more.

For jupyterhub_config.py:

    c.JupyterHub.custom_scopes = scopes.CUSTOM_SCOPES
    c.JupyterHub.extra_user_scopes = set(scopes.USER_SCOPES)
    c.Spawner.server_token_scopes = list(scopes.SERVER_TOKEN_SCOPES)
    c.JupyterHub.services = [{"name": scopes.SERVICE_NAME, ...,
        "oauth_client_allowed_scopes": list(scopes.OAUTH_CLIENT_ALLOWED_SCOPES)}]
    c.JupyterHub.load_roles = [
        {"name": "gpucamp-service", "scopes": list(scopes.SERVICE_SCOPES),
         "services": [scopes.SERVICE_NAME]},
        {"name": "gpucamp-instructor", "scopes": list(scopes.INSTRUCTOR_SCOPES),
         "groups": ["instructors"]},
        {"name": "gpucamp-admin", "scopes": list(scopes.ADMIN_SCOPES), "users": [...]},
    ]

Custom scopes are part of neither `self` nor the `admin` role, so admins need a role of their own
(redefining `admin` would replace its list). A scope may carry JupyterHub's filters: `!user=`,
`!server=user/name` and `!group=`.
"""

from __future__ import annotations

SERVICE_NAME = "gpucamp"

ENVIRONMENT_READ = "custom:gpucamp:environment:read"
ENVIRONMENT_RESET = "custom:gpucamp:environment:reset"
ENVIRONMENT_EXAMINE = "custom:gpucamp:environment:examine"
ENVIRONMENT_FILES = "custom:gpucamp:environment:files"
DEVICES_READ = "custom:gpucamp:devices:read"
LEASES_READ = "custom:gpucamp:leases:read"
LEASE_EXTEND = "custom:gpucamp:lease:extend"
HAND = "custom:gpucamp:hand"
ENVIRONMENT_MESSAGE = "custom:gpucamp:environment:message"
DEVICES_MANAGE = "custom:gpucamp:devices:manage"
LEASES_MANAGE = "custom:gpucamp:leases:manage"
IMAGES_READ = "custom:gpucamp:images:read"
IMAGES_MANAGE = "custom:gpucamp:images:manage"
SETTINGS_READ = "custom:gpucamp:settings:read"
SERVERS_MANAGE = "custom:gpucamp:servers:manage"
METRICS_READ = "custom:gpucamp:metrics:read"
ACCESS_SERVERS = "access:servers"  # JupyterHub's own: who may open whose JupyterLab

CUSTOM_SCOPES: dict[str, dict[str, object]] = {
    ENVIRONMENT_READ: {"description": "See a server's environment and lease in gpucamp."},
    ENVIRONMENT_RESET: {"description": "Reset a server's environment, and undo it."},
    ENVIRONMENT_EXAMINE: {
        "description": "Examine a server with GPU doctor, read the report, and tell its verdict."
    },
    ENVIRONMENT_FILES: {"description": "Read files of environments that a server's user has left."},
    DEVICES_READ: {"description": "See all GPUs and who holds them."},
    LEASES_READ: {"description": "See all GPU leases, who waits for one, and who used how much."},
    LEASE_EXTEND: {
        "description": "Extend a server's GPU lease, answer its warnings, and leave the line."
    },
    HAND: {"description": "Raise a hand to ask for help, and lower it."},
    ENVIRONMENT_MESSAGE: {"description": "Write messages that a server's user reads."},
    DEVICES_MANAGE: {"description": "Take GPUs out of use for repair, and give them back."},
    LEASES_MANAGE: {
        "description": "Extend and revoke other people's GPU leases, with a reason that they read."
    },
    IMAGES_READ: {"description": "See the images on this host and which servers run which."},
    IMAGES_MANAGE: {"description": "Pull images, and choose which of them new servers get."},
    SETTINGS_READ: {"description": "See the settings in force, without secrets."},
    SERVERS_MANAGE: {"description": "Start and stop the servers of a whole group."},
    METRICS_READ: {"description": "Read the metrics of gpucamp, for Prometheus."},
}

# Without it JupyterHub lets nobody near the service.
ACCESS_SERVICE = f"access:services!service={SERVICE_NAME}"

# Added to the default role `user` (c.JupyterHub.extra_user_scopes): everyone, for themselves.
USER_SCOPES: tuple[str, ...] = (
    ACCESS_SERVICE,
    f"{ENVIRONMENT_READ}!user",
    f"{ENVIRONMENT_RESET}!user",
    f"{ENVIRONMENT_EXAMINE}!user",
    f"{ENVIRONMENT_FILES}!user",
    f"{LEASE_EXTEND}!user",
    f"{HAND}!user",
)

# JUPYTERHUB_API_TOKEN of a user's server. Any code in a notebook can read it, so it can neither
# start nor stop servers (`servers` would accept arbitrary user_options): it asks the service for a
# reset of that one server, for more time for its lease or for help, and tells of GPU doctor.
# Naming scopes replaces JupyterHub's default list, so that comes first.
SERVER_TOKEN_SCOPES: tuple[str, ...] = (
    "users:activity!user",
    "access:servers!server",
    ACCESS_SERVICE,
    f"{ENVIRONMENT_READ}!server",
    f"{ENVIRONMENT_RESET}!server",
    f"{ENVIRONMENT_EXAMINE}!server",
    f"{LEASE_EXTEND}!server",
    f"{HAND}!server",
)

# What a visitor's browser session at the service may carry, of what the visitor holds. The service
# opens nobody's server with ACCESS_SERVERS; it tells whose the visitor may open.
OAUTH_CLIENT_ALLOWED_SCOPES: tuple[str, ...] = (
    ACCESS_SERVERS,
    ENVIRONMENT_READ,
    ENVIRONMENT_RESET,
    ENVIRONMENT_EXAMINE,
    ENVIRONMENT_FILES,
    DEVICES_READ,
    LEASES_READ,
    LEASE_EXTEND,
    HAND,
    ENVIRONMENT_MESSAGE,
    DEVICES_MANAGE,
    LEASES_MANAGE,
    IMAGES_READ,
    IMAGES_MANAGE,
    SETTINGS_READ,
    SERVERS_MANAGE,
    METRICS_READ,
)

# The service's own token: it stops and starts servers (reset, groups, ends of leases, starts that a
# restart of the hub interrupted), reads their user_options, resolves `!group=` filters of those who
# ask, and reads who is in a group. It cannot read auth state or change users.
SERVICE_SCOPES: tuple[str, ...] = (
    "servers",
    "read:users:name",
    "read:users:groups",
    "list:groups",
    "read:groups",
)

# An instructor of the whole event. For the instructor of one class, end all but the first with
# `!group=<class>`.
INSTRUCTOR_SCOPES: tuple[str, ...] = (
    ACCESS_SERVICE,
    ENVIRONMENT_READ,
    ENVIRONMENT_RESET,
    ENVIRONMENT_EXAMINE,
    LEASE_EXTEND,
    LEASES_MANAGE,
    SERVERS_MANAGE,
    HAND,
    ENVIRONMENT_MESSAGE,
)

# What JupyterHub's own role `admin` lacks. Devices and leases, with who holds them, are for admins.
ADMIN_SCOPES: tuple[str, ...] = (
    *INSTRUCTOR_SCOPES,
    ENVIRONMENT_FILES,
    DEVICES_READ,
    DEVICES_MANAGE,
    LEASES_READ,
    IMAGES_READ,
    IMAGES_MANAGE,
    SETTINGS_READ,
    METRICS_READ,
)

# A Prometheus that scrapes this service and the hub itself (`read:metrics` is JupyterHub's).
PROMETHEUS_SCOPES: tuple[str, ...] = (ACCESS_SERVICE, METRICS_READ, "read:metrics")
