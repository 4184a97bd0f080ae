"""`make run`, `stop` and `status`: the order of the steps.

Guarantees: what cannot work is found out before what takes long; every step skips itself when it
has nothing to do; whoever asks twice gets the same answer.
"""

from __future__ import annotations

import os

from . import (
    accounts,
    engine,
    front_end,
    hub_process,
    image,
    ledger,
    network,
    preflight,
    processes,
    python_env,
    stamps,
    wheel,
)
from .engine_api import Engine
from .errors import SetupError
from .progress import Progress
from .settings import Settings


def run(settings: Settings, progress: Progress) -> None:
    """Set up whatever is missing, start the hub, say how to sign in. Raises SetupError."""
    if hub_process.running(settings) is not None:
        if hub_process.answers(settings, seconds=10):
            progress.say("* gpucamp is running already")
            _say_how_to_sign_in(settings, progress)
            return
        progress.say("* the hub is there and does not answer; starting it anew")
        hub_process.stop(settings, progress)
    hub_process.end_leftovers(settings)
    preflight.node()
    preflight.port_free(settings.bind, settings.port, "GPUCAMP_PORT")
    preflight.port_free("127.0.0.1", settings.proxy_api_port, "GPUCAMP_PROXY_API_PORT")
    the_engine = engine.ensure(settings, progress)
    gateway = network.ensure(the_engine, settings.network, settings.subnet)
    for port, name in (
        (settings.hub_port, "GPUCAMP_HUB_PORT"),
        (settings.service_port, "GPUCAMP_SERVICE_PORT"),
    ):
        preflight.port_free(gateway, port, name)
    image_id = prepare(settings, progress)
    ledger.ensure(settings)
    accounts.ensure(settings, progress)
    hub_process.start(settings, progress, image_id, gateway)
    _say_how_to_sign_in(settings, progress)


def prepare(settings: Settings, progress: Progress, *, dev: bool = False) -> str:
    """Everything between a checkout and a start, except the Engine; the image's id."""
    image.check(settings)
    python_env.ensure(settings, progress, dev=dev)
    front_end.ensure_proxy(settings, progress)
    front_end.ensure_built(settings, progress)
    built = wheel.ensure(settings, progress)
    # the front end may have been built just now: its files are part of the installation
    python_env.ensure(settings, progress, dev=dev)
    return image.ensure_image(settings, progress, built)


def _say_how_to_sign_in(settings: Settings, progress: Progress) -> None:
    people = accounts.read_passwords(accounts.password_file(settings))
    first = accounts.still_first(settings, list(people))
    lines = ["", f"gpucamp is running: {settings.local_url}", "", "  Sign in as"]
    for name, (_, role) in people.items():
        password = first.get(name, "(changed by its owner)")
        lines.append(f"    {role:<12} {name:<16} {password}")
    lines += [
        "",
        f"  first passwords  {accounts.password_file(settings)}",
        f"  change one       {settings.local_url}/hub/change-password",
        '  more people      make accounts NAMES="ada lin"',
        f"  log              {hub_process.log_file(settings)}",
        "  stop             make stop",
    ]
    progress.say("\n".join(lines))


def stop(settings: Settings, progress: Progress) -> None:
    """End the hub, its parts and the users' containers; volumes stay. Raises SetupError."""
    hub_process.stop(settings, progress)
    the_engine = Engine.from_environ(os.environ)
    if the_engine.answers():
        hub_process.remove_containers(the_engine, settings, progress)
    if (dockerd := engine.ours(settings)) is not None:
        progress.say(
            f"* the Docker Engine that `make run` started (process {dockerd.pid}) goes on; "
            "`make stop-engine` ends it"
        )


def stop_engine(settings: Settings, progress: Progress) -> None:
    """End the Engine, if we started it and nothing runs in it. Raises SetupError."""
    if engine.ours(settings) is None:
        progress.say("* no Docker Engine was started from here; nothing to end")
        return
    the_engine = Engine.from_environ(os.environ)
    if the_engine.answers() and (running := the_engine.request("GET", "/containers/json")):
        names = ", ".join(item["Names"][0].lstrip("/") for item in running)
        raise SetupError(
            f"Containers run in the Docker Engine: {names}.",
            "`make stop` ends those of gpucamp; end the others yourself, then try again.",
        )
    with progress.step("stopping the Docker Engine"):
        engine.stop_ours(settings)


def status(settings: Settings, progress: Progress) -> int:
    """Print what is there; 0 where the hub answers, else 3."""
    hub = hub_process.running(settings)
    up = hub is not None and hub_process.answers(settings)
    state = "not running" if hub is None else f"process {hub.pid}"
    if hub is not None and not up:
        state += ", does not answer"
    the_engine = Engine.from_environ(os.environ)
    engine_up = the_engine.answers()
    dockerd = engine.ours(settings)
    engine_state = "answers" if engine_up else "does not answer"
    if dockerd is not None:
        engine_state += f", started from here (process {dockerd.pid})"
    progress.say(f"hub      {state}")
    progress.say(f"address  {settings.local_url}")
    progress.say(f"engine   {the_engine.address} {engine_state}")
    progress.say(f"image    {stamps.read(settings.state / 'image') or 'none yet'}")
    if engine_up:
        names = [name for _, name in hub_process.user_containers(the_engine, settings)]
        progress.say(f"servers  {', '.join(names) or 'none'}")
    left = processes.of_installation(settings.state, hub_process.CHILDREN) if hub is None else []
    if left:
        progress.say(f"leftover {', '.join(str(record.pid) for record in left)} (of a killed hub)")
    return 0 if up else 3
