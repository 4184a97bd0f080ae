"""The hub as a detached process: started, watched until it answers, ended.

Guarantees: one hub per state folder; only processes that were started for this state folder are
ended, and none is taken for ours by its id alone; users' containers survive the end of the hub,
however it ended, and are removed only by `stop`.
"""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from . import ledger, preflight, processes
from .engine_api import Engine, EngineError
from .environment import tool_environ
from .errors import SetupError
from .progress import Progress
from .settings import Settings

# command lines of what the hub starts beside the users' containers
CHILDREN = ("configurable-http-proxy", "hub_ext.service", "jupyterhub")
_START_SECONDS = 90
_LOG_BYTES = 10 * 2**20
_STOP_SECONDS = 10


def record_file(settings: Settings) -> Path:
    return settings.hub_folder / "hub.pid"


def log_file(settings: Settings) -> Path:
    return settings.hub_folder / "hub.log"


def running(settings: Settings) -> processes.Record | None:
    """The hub of this state folder, while it lives."""
    return processes.load(record_file(settings))


def answers(settings: Settings, seconds: float = 3) -> bool:
    """Whether the hub answers through its proxy."""
    return _answers(settings.local_url, seconds)


def _answers(url: str, seconds: float) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/hub/api/", timeout=seconds) as answer:  # noqa: S310
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError, http.client.HTTPException, ValueError):
        return False


def environ_for(settings: Settings, image: str, gateway: str) -> dict[str, str]:
    """What jupyterhub_config.py reads, over the caller's environment."""
    return {
        **tool_environ(settings, os.environ),
        "GPUCAMP_STATE_DIR": str(settings.state),
        "GPUCAMP_IMAGE": image,
        "GPUCAMP_PORT": str(settings.port),
        "GPUCAMP_BIND": settings.bind,
        "GPUCAMP_NETWORK": settings.network,
        "GPUCAMP_PREFIX": settings.prefix,
        "GPUCAMP_HUB_ADDRESS": gateway,
        "GPUCAMP_HUB_PORT": str(settings.hub_port),
        "GPUCAMP_SERVICE_PORT": str(settings.service_port),
        "GPUCAMP_PROXY_API_PORT": str(settings.proxy_api_port),
        "GPUCAMP_PROXY_COMMAND": str(settings.proxy_command),
        "GPUCAMP_LEDGER_URL": settings.ledger_url,
        "GPUCAMP_PRACTICE_DEVICES": str(settings.practice_devices),
        "GPUCAMP_CULL_MINUTES": str(settings.cull_minutes),
        "PYTHONUNBUFFERED": "1",
    }


def end_leftovers(settings: Settings) -> int:
    """End proxy and service of a hub that was killed; how many there were.

    The users' containers and their routes are not touched: the next hub finds them again.
    """
    left = processes.of_installation(settings.state, CHILDREN)
    with ThreadPoolExecutor(max_workers=8) as pool:
        list(pool.map(processes.end, left))
    return len(left)


def start(settings: Settings, progress: Progress, image: str, gateway: str) -> None:
    """Start the hub and wait until it answers. Raises SetupError; then nothing of it is left."""
    if left := end_leftovers(settings):
        progress.say(f"* ended {left} process(es) that an earlier hub left behind")
    preflight.port_free(settings.bind, settings.port, "GPUCAMP_PORT")
    preflight.port_free("127.0.0.1", settings.proxy_api_port, "GPUCAMP_PROXY_API_PORT")
    preflight.port_free(gateway, settings.hub_port, "GPUCAMP_HUB_PORT")
    preflight.port_free(gateway, settings.service_port, "GPUCAMP_SERVICE_PORT")
    log = log_file(settings)
    _rotate(log)
    with progress.step("starting the hub"):
        old_mask = os.umask(0o077)
        try:
            with log.open("ab") as out:
                start_at = out.tell()
                process = subprocess.Popen(
                    [
                        *(str(settings.python), "-m", "jupyterhub"),
                        *("-f", str(settings.root / "jupyterhub_config.py")),
                    ],
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=subprocess.STDOUT,
                    env=environ_for(settings, image, gateway),
                    cwd=settings.hub_folder,
                    start_new_session=True,
                )
        finally:
            os.umask(old_mask)
        try:
            record = processes.record_of(process.pid)
            if record is not None:
                processes.save(record_file(settings), record)
            # first the hub itself: the proxy would log an error for each question until then
            for url in (f"http://{gateway}:{settings.hub_port}", settings.local_url):
                _wait(url, process, log, start_at)
        except BaseException:
            # a hub that does not answer is of no use; the next run starts afresh
            _end(settings)
            raise


def _wait(url: str, process: subprocess.Popen[bytes], log: Path, start_at: int) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not _answers(url, 3):
        if process.poll() is not None or time.monotonic() > deadline:
            with log.open("rb") as written:
                written.seek(start_at)
                said = written.read().decode(errors="replace").strip().splitlines()[-15:]
            raise SetupError(
                "The hub did not start."
                if process.returncode is not None
                else f"The hub did not answer on {url} in {_START_SECONDS} s.",
                f"the cause is likely above, or earlier in {log}.",
                "\n".join(said),
            )
        time.sleep(0.2)


def _rotate(log: Path) -> None:
    if log.exists() and log.stat().st_size > _LOG_BYTES:
        log.replace(log.with_name(log.name + ".1"))


def _end(settings: Settings) -> bool:
    known = processes.load(record_file(settings))
    if known is not None:
        processes.end(known, grace=20)
    end_leftovers(settings)
    record_file(settings).unlink(missing_ok=True)
    return known is not None


def stop(settings: Settings, progress: Progress) -> None:
    """End the hub, its proxy and its service."""
    if running(settings) is None and not processes.of_installation(settings.state, CHILDREN):
        progress.say("* the hub is not running")
        record_file(settings).unlink(missing_ok=True)
        return
    with progress.step("stopping the hub"):
        _end(settings)


def user_containers(engine: Engine, settings: Settings) -> list[tuple[str, str]]:
    """(id, name) of the users' containers of this installation."""
    identity = ledger.hub_id(settings)
    if not identity:
        return []
    filters = {"label": [f"gpucamp.hub={identity}"]}
    query = {"all": "1", "filters": json.dumps(filters)}
    found = engine.request("GET", "/containers/json", query=query)
    return [(item["Id"], item["Names"][0].lstrip("/")) for item in found]


def remove_containers(engine: Engine, settings: Settings, progress: Progress) -> None:
    """Stop and remove the users' containers; their volumes stay."""
    containers = user_containers(engine, settings)
    if not containers:
        return

    def remove(identity: str) -> None:
        try:
            engine.request("POST", f"/containers/{identity}/stop", query={"t": str(_STOP_SECONDS)})
            engine.request("DELETE", f"/containers/{identity}", query={"force": "1", "v": "1"})
        except EngineError as error:
            if error.status not in (404, 409):  # gone, or being removed already
                raise

    with progress.step(f"stopping {len(containers)} user server(s); their volumes stay"):
        with ThreadPoolExecutor(max_workers=8) as pool:
            list(pool.map(remove, [identity for identity, _ in containers]))
