"""A hub with stock DockerSpawner, to compare with.

It gets its GPUs as people do it there: a hook before the start takes the first one that no other
server has, or refuses; a hook after the stop gives it back.
"""

from __future__ import annotations

from hub_app import CONFIG

# the hub's part of the configuration is the same
STOCK = (
    CONFIG.partition("from hub_ext.defaults")[0]
    + """
c.JupyterHub.spawner_class = "docker"
c.DockerSpawner.image = "{image}"
c.DockerSpawner.prefix = "{prefix}"
c.DockerSpawner.network_name = "{network}"
c.DockerSpawner.use_internal_ip = True
c.DockerSpawner.name_template = "{{prefix}}-{{username}}"

devices = [f"GPU-5ca1ab1e-0000-4000-8000-{{n:012x}}" for n in range({devices})]
taken = {{}}

def take(spawner):
    from tornado import web
    free = [each for each in devices if each not in taken.values()]
    if not free:
        raise web.HTTPError(503, "no GPU is free")
    taken[spawner.user.name] = free[0]
    spawner.environment = {{"NVIDIA_VISIBLE_DEVICES": free[0]}}

def give_back(spawner):
    taken.pop(spawner.user.name, None)

c.Spawner.pre_spawn_hook = take
c.Spawner.post_stop_hook = give_back
"""
)
