"""The same faults on stock DockerSpawner and on gpucamp, side by side: `make compare-faults`.

Each scenario has a hub of its own, the same image, and a proxy before the Engine that makes things
go wrong. For the stock hub see stock_hub.py. What is printed was seen: in the hub's API, in the
Engine, in the containers. Exit status 1 if gpucamp failed a scenario.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / name) for name in ("fakes", "engine", "faults")] + [str(TESTS.parent)]

import aiohttp
import docker
from engine_fault_proxy import EngineFaultProxy
from hub_app import CONFIG, HubApp, until
from light_image import ensure_light_image
from stock_hub import STOCK

from setup_host.engine_api import DEFAULT_SOCKET

INSPECT = r"^GET .*/containers/[^/]+/json"
CREATE = r"^POST .*/containers/create"
START = r"^POST .*/containers/[^/]+/start"
SLOW = 8.0  # seconds that one call to the Engine takes, as a pull does

COMMON = "c.Spawner.poll_interval = 1\n"
OURS = COMMON + "c.GPUDockerSpawner.ulimits = {}\nc.GPUDockerSpawner.stop_patience = 1\n"


@dataclass(frozen=True)
class Place:
    """A hub, the proxy before its Engine, and the Engine behind it."""

    hub: HubApp
    faults: EngineFaultProxy
    engine: docker.DockerClient

    async def start(self, user: str, seconds: float = 60) -> bool:
        """Whether the user gets a server."""
        status, _body = await self.hub.request_server(user, {"gpus": 1})
        if status not in (201, 202):
            return False
        return await self.settled(user, seconds)

    async def settled(self, user: str, seconds: float = 60) -> bool:
        """Wait until the user's server is ready or has failed; whether it is ready."""
        ready: list[bool] = []

        async def decided() -> bool:
            model = await self.hub.server(user)
            ready[:] = [model is not None and bool(model["ready"])]
            return model is None or ready[0]

        await until(decided, seconds, self.hub.log)
        return ready[0]

    def holders(self) -> dict[str, list[str]]:
        """Device -> names of the running containers that have it."""
        found: dict[str, list[str]] = {}
        for each in self.engine.containers.list(filters={"name": self.hub.prefix}):
            env = dict(line.split("=", 1) for line in each.attrs["Config"]["Env"])
            device = env.get("NVIDIA_VISIBLE_DEVICES", "void")
            if device != "void":
                found.setdefault(device, []).append(each.name.removeprefix(f"{self.hub.prefix}-"))
        return found

    def shared(self) -> str:
        """Who is on one device together, "" if nobody is."""
        held = (sorted(name.title() for name in names) for names in self.holders().values())
        return "; ".join(" and ".join(names) for names in held if len(names) > 1)

    def runs(self, user: str) -> bool:
        """Whether the user has a running container."""
        return any(user in names for names in self.holders().values())


Outcome = tuple[bool, str]  # whether all is well, and what was seen
Scenario = Callable[[Place], Awaitable[Outcome]]


async def restart_of_an_old_container(place: Place) -> Outcome:
    """Ada stops, Bob starts, Ada starts again"""
    await place.start("ada")
    await place.hub.stop_server("ada")
    await place.start("bob")
    await place.start("ada")
    both = place.shared()
    return not both, f"**{both} on one GPU**" if both else "a GPU each"


async def inspect_errors(place: Place) -> Outcome:
    """The Engine answers inspect with 500 for 6 s; then Bob and Cleo start"""
    await place.start("ada")
    place.faults.fail(INSPECT, "error", status=500)
    await asyncio.sleep(6)
    model = await place.hub.server("ada")
    place.faults.heal()
    await place.start("bob")
    cleo = await place.hub.request_server("cleo", {"gpus": 1})
    await asyncio.sleep(3)
    said = "the hub says that Ada's server runs" if model else "**the hub says that it stopped**"
    both = place.shared()
    then = f"**{both} on one GPU**" if both else "nobody gets her GPU"
    well = model is not None and not both and place.runs("ada") and cleo[0] == 202
    return well, f"{said}; {then}"


async def name_is_taken(place: Place) -> Outcome:
    """A running container, left over, has the name of Ada's"""
    place.engine.containers.run(
        place.hub.image,
        ["sleep", "600"],
        name=place.hub.container("ada"),
        network=place.hub.network,
        detach=True,
    )
    began = time.monotonic()
    served = await place.start("ada")
    took = time.monotonic() - began
    return served, "she gets her server" if served else f"**start fails** after {took:.0f} s"


async def lost_create(place: Place) -> Outcome:
    """The reply to create is lost"""
    place.faults.fail(CREATE, "lost_reply", times=1)
    served = await place.start("ada")
    left = len(place.engine.containers.list(all=True, filters={"name": place.hub.prefix}))
    if served:
        return left == 1, "she gets her server" + ("" if left == 1 else f", {left} containers")
    return False, "**start fails**" + (", and its container is left behind" if left else "")


async def hub_killed(place: Place) -> Outcome:
    """The hub is killed when the container has started; then Bob and Cleo start"""
    hub = place.hub
    await hub.add_user("ada")
    place.faults.fail(START, "lost_reply", times=1, act=hub.kill)
    asked = asyncio.create_task(hub.request_server("ada", {"gpus": 1}))
    await asyncio.wait({asked}, timeout=60)
    asked.exception()  # aiohttp's, or none: the hub was killed in the middle
    place.faults.heal()
    await hub.start()
    await place.settled("ada")
    assert await place.start("bob"), "Bob's start failed"
    await hub.request_server("cleo", {"gpus": 1})
    await asyncio.sleep(5)
    model = await hub.server("ada")
    ready = model is not None and bool(model["ready"]) and await answers(hub, "ada")
    both = place.shared()
    if ready:
        seen = "the container is found again, her server is ready"
    elif place.runs("ada"):
        seen = "**Ada's container runs and cannot be reached**"
    else:
        seen = "Ada may start again"
    well = not both and (ready or not place.runs("ada"))
    return well, seen + (f"; **{both} on one GPU**" if both else "")


async def answers(hub: HubApp, user: str) -> bool:
    """Whether the user's server answers through the proxy."""
    return (await hub.through_proxy(user))[0] == 200


async def removed_outside(place: Place) -> Outcome:
    """Somebody removes Ada's container"""
    await place.start("ada")
    place.engine.containers.get(place.hub.container("ada")).remove(force=True)

    async def noticed() -> bool:
        return await place.hub.server("ada") is None

    await until(noticed, 30, place.hub.log)
    served = [await place.start("bob"), await place.start("cleo")]
    return all(served), "noticed, her GPU is free again" if all(served) else "**her GPU is lost**"


async def one_slow_call(place: Place) -> Outcome:
    """One Engine call of Ada's start takes 8 s; Bob starts meanwhile"""
    slow = place.faults.fail(CREATE, "slow", seconds=SLOW, times=1)
    await place.hub.add_user("bob")
    ada = asyncio.create_task(place.start("ada"))

    async def stuck() -> bool:
        return slow.seen == 1

    await until(stuck, 30, place.hub.log)
    await place.start("bob")
    first = not ada.done()
    await ada
    return first, "Bob is served meanwhile" if first else "**Bob waits until Ada's call is done**"


async def more_requests_than_devices(place: Place) -> Outcome:
    """Three ask for two GPUs; then one stops"""
    await place.start("ada")
    await place.start("bob")
    status, body = await place.hub.request_server("cleo", {"gpus": 1})
    await asyncio.sleep(2)
    waits = await place.hub.server("cleo") is not None
    await place.hub.stop_server("ada")
    served = waits and await place.settled("cleo")
    if served:
        return True, "the third waits in line and gets the GPU"
    return False, f"**the third is refused** ({status}) and must try again by hand"


SCENARIOS: tuple[Scenario, ...] = (
    restart_of_an_old_container,
    inspect_errors,
    name_is_taken,
    lost_create,
    hub_killed,
    removed_outside,
    one_slow_call,
    more_requests_than_devices,
)


async def run(
    scenario: Scenario, contender: str, proxy: str, network: tuple[str, str], folder: Path
) -> Outcome:
    """One scenario on a fresh hub."""
    engine = docker.from_env(timeout=120)
    own = folder / f"{contender}-{scenario.__name__}"
    own.mkdir()
    socket = (os.environ.get("DOCKER_HOST") or DEFAULT_SOCKET).removeprefix("unix://")
    faults = EngineFaultProxy(own / "engine.sock", socket)
    faults.start()
    hub = HubApp(
        folder=own,
        image=ensure_light_image(engine),
        proxy=proxy,
        network=network[0],
        gateway=network[1],
        prefix=f"gccmp{os.getpid()}{contender}{SCENARIOS.index(scenario)}",
        docker_host=faults.address,
        template=STOCK if contender == "stock" else CONFIG,
        extra=COMMON if contender == "stock" else OURS,
    )
    try:
        await hub.start()
        return await scenario(Place(hub, faults, engine))
    except (AssertionError, aiohttp.ClientError, docker.errors.APIError) as error:
        print(hub.log()[-3000:], file=sys.stderr)
        return False, f"**{str(error).splitlines()[0]}**"
    finally:
        faults.heal()
        hub.close()
        faults.stop()
        engine.close()


def table(rows: list[tuple[Scenario, Outcome, Outcome]]) -> str:
    """In Markdown, for docs/reliability.md."""
    lines = ["| what happens | stock DockerSpawner 14 | gpucamp |", "|---|---|---|"]
    for scenario, stock, ours in rows:
        lines.append(f"| {scenario.__doc__} | {stock[1]} | {ours[1]} |")
    well = [sum(row[each][0] for row in rows) for each in (1, 2)]
    lines += ["", f"All is well in {well[0]} and {well[1]} of {len(rows)}."]
    return "\n".join(lines)


async def compare(proxy: str, chosen: list[Scenario]) -> list[tuple[Scenario, Outcome, Outcome]]:
    """All chosen scenarios on both."""
    engine = docker.from_env()
    name = f"gpucamp-compare-{os.getpid()}"
    network = engine.networks.create(name, driver="bridge")
    network.reload()
    place = (name, network.attrs["IPAM"]["Config"][0]["Gateway"])
    rows = []
    try:
        with tempfile.TemporaryDirectory() as folder:
            for scenario in chosen:
                outcomes = [
                    await run(scenario, contender, proxy, place, Path(folder))
                    for contender in ("stock", "gpucamp")
                ]
                rows.append((scenario, *outcomes))
                print(f"{scenario.__doc__}: {outcomes[0][1]} | {outcomes[1][1]}", file=sys.stderr)
    finally:
        network.remove()
        engine.close()
    return rows


def main() -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--proxy", default=os.environ.get("GPUCAMP_PROXY_COMMAND"))
    names = [each.__name__ for each in SCENARIOS]
    parser.add_argument("--only", choices=names, action="append", default=[])
    arguments = parser.parse_args()
    if not arguments.proxy:
        parser.error("run it as `make compare-faults`, or give --proxy")
    chosen = [each for each in SCENARIOS if each.__name__ in (arguments.only or names)]
    rows = asyncio.run(compare(arguments.proxy, chosen))
    print(table(rows))
    return 0 if all(ours[0] for _, _, ours in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
