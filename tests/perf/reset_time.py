"""How long a reset takes beside a plain start of the same server: `make perf-reset`.

A real hub, the service, the Engine and the real image on this host; environments without anything
of their own and with several GB of real files. In turn, so that a slow minute of the host falls on
all alike:

    start            a stopped server: from POST .../server until its own /api/status answers
                     through the proxy
    reset, start     a stopped server: from POST .../reset; when the service says that it is done,
                     POST .../server, until the new server answers
    stop, start      a running server: from DELETE .../server until the hub says that it is gone,
                     and a start as above
    reset            a running server: from POST .../reset; when the service says that it is done,
                     until the new server answers

A stop is no part of a reset's price, nor may it be hidden in it: a reset of a stopped server is
compared with its start, a reset of a running one with its stop and start. The ratio is of medians;
that of the fastest beside it says more on a host that has other things to do.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import secrets
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / name) for name in ("fakes", "engine")] + [str(TESTS.parent)]

import aiohttp
import docker
from hub_app import HubApp, until

AIM = 1.15
USER = "bench"
POLL = 0.02  # seconds
REST = 30.0
SERVICE = "/services/gpucamp/api/v1"
# how long the hub lets those wait who ask it for a start or a stop: its default, as in
# jupyterhub_config.py (the tests' hub is less patient)
EXTRA = """
c.JupyterHub.tornado_settings = {"slow_spawn_timeout": 10}
c.JupyterHub.load_roles.append({"name": "resetter", "services": ["tester"], "scopes":
    ["custom:gpucamp:environment:read", "custom:gpucamp:environment:reset"]})
"""
START, RESET_START, STOP_START, RESET = "start", "reset, start", "stop, start", "reset"
# what is measured, and beside what
COMPARED = ((RESET_START, START), (RESET, STOP_START))


class Bench:
    """One participant's server on one hub."""

    def __init__(self, hub: HubApp, session: aiohttp.ClientSession) -> None:
        self._hub, self._session = hub, session

    async def ask(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """Status and JSON of an answer; (0, None) where there is none."""
        try:
            async with self._session.request(method, self._hub.url + path, json=body) as answer:
                kind = answer.headers.get("Content-Type", "")
                return answer.status, await answer.json() if "json" in kind else None
        except aiohttp.ClientError:
            return 0, None

    async def started(self) -> str:
        """When the server that answers was started, by itself; "" where none answers."""
        status, body = await self.ask("GET", f"/user/{USER}/api/status")
        return str(body["started"]) if status == 200 else ""

    async def until_another(self, before: str) -> None:
        """Wait for a server that is not the one of before."""
        deadline = time.monotonic() + 180
        while await self.started() in ("", before):
            if time.monotonic() > deadline:
                raise TimeoutError(f"no new server\n{self._hub.log()[-3000:]}")
            await asyncio.sleep(POLL)

    async def start(self) -> None:
        status, body = await self.ask("POST", f"/hub/api/users/{USER}/server", {"gpus": 1})
        if status not in (201, 202):
            raise RuntimeError(f"the start is refused: {status} {body}")
        await self.until_another("")

    async def stop(self) -> None:
        status, body = await self.ask("DELETE", f"/hub/api/users/{USER}/server")
        if status not in (202, 204):
            raise RuntimeError(f"the stop is refused: {status} {body}")
        while True:
            _, user = await self.ask("GET", f"/hub/api/users/{USER}")
            if not user["servers"]:
                return
            await asyncio.sleep(POLL)

    async def begin_reset(self) -> str:
        """The operation's id."""
        path = f"{SERVICE}/users/{USER}/server/reset"
        status, body = await self.ask("POST", path, {"reason": "a measurement"})
        if status != 202:
            raise RuntimeError(f"the reset is refused: {status} {body}")
        return str(body["operation"]["id"])

    async def until_done(self, operation: str) -> None:
        while True:
            _, body = await self.ask("GET", f"{SERVICE}/operations/{operation}")
            step = body["step"]
            if step == "failed":
                raise RuntimeError(str(body))
            if step == "done":
                return
            await asyncio.sleep(POLL)

    async def until_tidy(self) -> None:
        """Wait until the environments that nobody can go back to are deleted: the disk is busy with
        it, in whatever turn that falls.
        """
        engine = docker.from_env(timeout=600)
        name = f"{self._hub.prefix}-env-"

        async def deleted() -> bool:
            found = await asyncio.to_thread(engine.volumes.list, filters={"name": name})
            return len(found) <= 3  # the present one, and two to go back to

        await until(deleted, 180)
        engine.close()

    async def fill(self, gigabytes: int) -> None:
        """Real files in the environment of the server that runs."""
        if gigabytes == 0:
            return
        container = docker.from_env(timeout=600).containers.get(self._hub.container(USER))
        line = (
            "mkdir -p ~/.cache/fill; for n in $(seq 64); do"
            f" head -c $(({gigabytes} << 24)) /dev/zero > ~/.cache/fill/$n || exit 1; done; sync"
        )
        done = await asyncio.to_thread(container.exec_run, ["bash", "-c", line])
        if done.exit_code:
            raise RuntimeError(done.output.decode(errors="replace"))
        await asyncio.sleep(REST)  # what is measured is the size, not how busy the disk still is

    async def turn(self, gigabytes: int) -> dict[str, float]:
        """Each measurement once. The server runs before and after it."""
        seconds = {}

        async def measured(name: str, *steps: Any) -> None:
            begun = time.perf_counter()
            for step in steps:
                await step()
            seconds[name] = time.perf_counter() - begun

        async def reset_stopped() -> None:
            await self.until_done(await self.begin_reset())

        async def reset_running() -> None:
            before = await self.started()
            # the hub is not asked meanwhile, as it is not while a start or a stop is awaited: its
            # answers for a server that is away are pages, and 50 of them a second slow it down
            await self.until_done(await self.begin_reset())
            await self.until_another(before)

        await self.fill(gigabytes)
        await measured(STOP_START, self.stop, self.start)
        await self.stop()
        await measured(START, self.start)
        await self.stop()
        await measured(RESET_START, reset_stopped, self.start)
        await self.until_tidy()
        await self.fill(gigabytes)
        await measured(RESET, reset_running)
        await self.until_tidy()
        return seconds


async def measure(options: argparse.Namespace, hub: HubApp) -> dict[int, dict[str, list[float]]]:
    """Size of the environment in GB -> name -> seconds."""
    found: dict[int, dict[str, list[float]]] = {
        size: defaultdict(list) for size in (0, options.gigabytes)
    }
    await hub.start()
    await until(hub.service_answers, 60)
    await hub.add_user(USER)
    headers = {"Authorization": f"token {hub.token}"}
    async with aiohttp.ClientSession(headers=headers) as session:
        bench = Bench(hub, session)
        await bench.start()
        await bench.turn(0)  # warms up
        for number in range(1, options.turns + 1):
            for size, names in found.items():
                seconds = await bench.turn(size)
                for name, value in seconds.items():
                    names[name].append(value)
                shown = "  ".join(f"{name} {value:.2f} s" for name, value in seconds.items())
                print(f"{number:>3}  {size:>2} GB  {shown}", flush=True)
        await bench.stop()
    return found


def report(found: dict[int, dict[str, list[float]]]) -> bool:
    """Print medians and ratios; True if the aim is met by all of them."""
    met = True
    print(f"\n{'':8}{'':14}{'median':>8}{'min':>8}{'max':>8}")
    for size, names in found.items():
        for name, values in names.items():
            print(
                f"{size:>5} GB {name:14}{statistics.median(values):7.2f}s{min(values):7.2f}s"
                f"{max(values):7.2f}s"
            )
    print()
    for size, names in found.items():
        for name, beside in COMPARED:
            ratio = statistics.median(names[name]) / statistics.median(names[beside])
            fastest = min(names[name]) / min(names[beside])
            met = met and ratio <= AIM
            print(f"{size:>5} GB  ({name}) / ({beside}) = {ratio:.2f}, fastest {fastest:.2f}")
    print(f"aim: at most {AIM}")
    return met


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--image", default=os.environ.get("GPUCAMP_IMAGE"))
    parser.add_argument("--proxy", default=os.environ.get("GPUCAMP_PROXY_COMMAND"))
    parser.add_argument("--turns", type=int, default=5, help="of each size")
    parser.add_argument("--gigabytes", type=int, default=4, help="of the larger environment")
    options = parser.parse_args()
    if not options.image or not options.proxy:
        parser.error("run it as `make perf-reset`, or give --image and --proxy")
    engine = docker.from_env(timeout=600)
    network = engine.networks.create(f"gpucamp-perf-{secrets.token_hex(4)}", driver="bridge")
    network.reload()
    try:
        with tempfile.TemporaryDirectory() as folder:
            hub = HubApp(
                folder=Path(folder),
                image=options.image,
                proxy=options.proxy,
                network=str(network.name),
                gateway=network.attrs["IPAM"]["Config"][0]["Gateway"],
                prefix=f"gcperf{secrets.token_hex(4)}",
                service=True,
                extra=EXTRA,
                engine=engine,
            )
            try:
                found = asyncio.run(measure(options, hub))
            finally:
                hub.close()
    finally:
        network.remove()
        engine.close()
    return 0 if report(found) else 1


if __name__ == "__main__":
    sys.exit(main())
