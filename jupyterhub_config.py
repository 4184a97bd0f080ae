"""The hub's configuration. `make run` sets the GPUCAMP_* variables read here; `make help` has them.

Your own settings go into `jupyterhub_config.py` in the state folder (.gpucamp), which is read last
and survives updates; `jupyterhub --help-all` and docs/admin.md explain them.
"""

import os
import sys
from pathlib import Path

from hub_ext import scopes
from hub_ext.defaults import (
    answer_promptly,
    check_before_start,
    fair_memory_limit,
    idle_culler,
    refuse_second_hub,
    text_in,
)

c = get_config()  # noqa: F821  (JupyterHub provides it)

env = os.environ
state = Path(env.get("GPUCAMP_STATE_DIR") or Path(__file__).parent / ".gpucamp").resolve()
hub_folder = state / "hub"
hub_address = env.get("GPUCAMP_HUB_ADDRESS", "172.18.0.1")  # gateway of the containers' network
service_port = int(env.get("GPUCAMP_SERVICE_PORT", "8083"))
practice_devices = int(env.get("GPUCAMP_PRACTICE_DEVICES", "2"))
own_config = state / "jupyterhub_config.py"
ledger_url = env.get("GPUCAMP_LEDGER_URL") or f"sqlite:///{hub_folder}/ledger.sqlite"

# Who signs in. Accounts with a password each (`make accounts`); for single sign-on replace the line
# by, for example, c.JupyterHub.authenticator_class = "github" and see oauthenticator.readthedocs.io
c.JupyterHub.authenticator_class = "hub_ext.sign_in.SignIn"
c.Authenticator.admin_users = {"admin"}

# Where to listen: people reach the proxy, containers the hub on their network's gateway.
c.JupyterHub.bind_url = (
    f"http://{env.get('GPUCAMP_BIND', '127.0.0.1')}:{env.get('GPUCAMP_PORT', '8000')}"
)
c.JupyterHub.hub_ip = hub_address
c.JupyterHub.hub_connect_ip = hub_address
c.JupyterHub.hub_port = int(env.get("GPUCAMP_HUB_PORT", "8081"))
c.ConfigurableHTTPProxy.command = [
    env.get("GPUCAMP_PROXY_COMMAND")
    or str(state / "node" / "node_modules" / ".bin" / "configurable-http-proxy")
]
c.ConfigurableHTTPProxy.api_url = f"http://127.0.0.1:{env.get('GPUCAMP_PROXY_API_PORT', '8001')}"
c.ConfigurableHTTPProxy.pid_file = str(hub_folder / "proxy.pid")  # ends that of a killed hub

# What the hub keeps. Servers go on while the hub is stopped; it finds them again.
c.JupyterHub.db_url = f"sqlite:///{hub_folder}/jupyterhub.sqlite"
c.JupyterHub.cookie_secret_file = str(hub_folder / "cookie_secret")
c.JupyterHub.cleanup_servers = False
c.JupyterHub.template_paths = [str(Path(scopes.__file__).parent / "templates")]
c.JupyterHub.template_vars = {"gettext": lambda user: text_in}  # JupyterHub calls it first

# How servers start. Those that wait for a GPU count as starting, so there is no limit on that.
c.JupyterHub.spawner_class = "gpu-docker"
c.JupyterHub.concurrent_spawn_limit = 0
c.GPUDockerSpawner.image = env.get("GPUCAMP_IMAGE", "gpucamp/torch-cuda")
c.GPUDockerSpawner.prefix = env.get("GPUCAMP_PREFIX", "gpucamp")
c.GPUDockerSpawner.network_name = env.get("GPUCAMP_NETWORK", "gpucamp")
c.GPUDockerSpawner.ledger_url = ledger_url
c.GPUDockerSpawner.practice_devices = practice_devices
c.GPUDockerSpawner.service_url = f"http://{hub_address}:{service_port}/services/gpucamp/"
c.GPUDockerSpawner.mem_limit = fair_memory_limit(servers=max(practice_devices, 2))
c.Spawner.default_url = "/lab"
c.Spawner.start_timeout = 120
c.Spawner.poll_interval = 10

# Who may do what; see hub_ext/scopes.py.
c.JupyterHub.custom_scopes = scopes.CUSTOM_SCOPES
c.JupyterHub.extra_user_scopes = set(scopes.USER_SCOPES)
c.Spawner.server_token_scopes = list(scopes.SERVER_TOKEN_SCOPES)
c.JupyterHub.load_groups = {"instructors": {}}
c.JupyterHub.load_roles = [
    {
        "name": "gpucamp-service",
        "scopes": list(scopes.SERVICE_SCOPES),
        "services": [scopes.SERVICE_NAME],
    },
    {
        "name": "gpucamp-instructor",
        "scopes": list(scopes.INSTRUCTOR_SCOPES),
        "groups": ["instructors"],
    },
    {
        "name": "gpucamp-admin",
        "scopes": list(scopes.ADMIN_SCOPES),
        "users": sorted(c.Authenticator.admin_users),
    },
]

# The service at /services/gpucamp/: devices, leases, reset.
c.JupyterHub.services = [
    {
        "name": scopes.SERVICE_NAME,
        "command": [
            *(sys.executable, "-m", "hub_ext.service"),
            *(("--config", str(own_config)) if own_config.exists() else ()),
        ],
        "url": f"http://{hub_address}:{service_port}",
        "oauth_no_confirm": True,
        "oauth_client_allowed_scopes": list(scopes.OAUTH_CLIENT_ALLOWED_SCOPES),
        "display": False,  # the navigation bar has a link of its own
        "timeout": 300,  # seconds; JupyterHub gives up its own start if a service is not up by then
        "environment": {
            **{
                name: value
                for name, value in env.items()
                if name.startswith(("GPUCAMP_", "DOCKER_"))
            },
            "GPUCAMP_LEDGER_URL": ledger_url,
            "GPUCAMP_STATE_DIR": str(state),
        },
    }
]

# Servers that nobody has used for a while are stopped; one that computes is used.
idle_culler(c, minutes=float(env.get("GPUCAMP_CULL_MINUTES") or "240"))

refuse_second_hub(ledger_url)

# Your own settings.
if own_config.exists():
    load_subconfig(str(own_config))  # noqa: F821  (traitlets provides it)

answer_promptly(c)

# Refuses to start with settings of c.GpuPolicy that cannot be; it must stay last.
check_before_start(c, [__file__, own_config])
