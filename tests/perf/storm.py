"""Fifty participants press Start at once on eight practice devices: `make storm`.

Fails if a grant was wrong, somebody was overtaken, lost or refused. How fast the hub answered
meanwhile is printed, beside how fast the same hub is when nothing happens, and beside stock
DockerSpawner with as many GPUs, where who is refused presses Start again each second. The aim is
200 ms.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import sys
import tempfile
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TypeVar

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / name) for name in ("fakes", "engine", "faults")] + [str(TESTS.parent)]

import docker
from hub_app import HubApp
from light_image import ensure_light_image
from stock_hub import STOCK
from storming import Figures, Latency, Timing, storm, storm_without_a_queue
from world import check, one_holder_ever

AIM = 0.2  # seconds
NICENESS = 10  # of the participants
EXTRA = """
c.JupyterHub.authenticator_class = "hub_ext.sign_in.SignIn"  # as jupyterhub_config.py has it
c.GPUDockerSpawner.ulimits = {}
"""


def table(figures: Figures, stock: Timing) -> str:
    """The figures in Markdown, for docs/reliability.md."""

    def row(name: str, seen: Latency) -> str:
        values = (seen.median, seen.p99, seen.slowest)
        cells = " | ".join(f"{1000 * value:.0f} ms" for value in values)
        return f"| {name} | {cells} | {seen.count} | {seen.failed} |"

    timing = figures.timing
    ratio = timing.during.p99 / stock.during.p99
    return "\n".join(
        [
            "| GET /hub/health | median | p99 | slowest | answers | without answer |",
            "|---|---|---|---|---|---|",
            row("stock, idle", stock.idle),
            row("stock, storm", stock.during),
            row("gpucamp, idle", timing.idle),
            row("gpucamp, storm", timing.during),
            "",
            f"Served by stock DockerSpawner in {stock.seconds:.0f} s, {len(stock.failed)} failed.",
            f"{len(figures.served)} served by gpucamp in {timing.seconds:.0f} s, "
            f"{len(timing.failed)} failed, {len(figures.overtaken)} overtaken; ledger and Engine "
            f"compared {figures.looks} times; p99 {ratio:.2f} times that of stock "
            f"(aim: {1000 * AIM:.0f} ms throughout).",
        ]
    )


T = TypeVar("T")
Storm = Callable[[argparse.Namespace, list[str]], Coroutine[None, None, T]]


@contextmanager
def place(arguments: argparse.Namespace, folder: Path, **settings: object) -> Iterator[HubApp]:
    """A hub of a storm's own, with its network; `settings` are the hub's."""
    engine = docker.from_env(timeout=120)
    name = f"gpucamp-storm-{os.getpid()}"
    network = engine.networks.create(name, driver="bridge")
    network.reload()
    hub = HubApp(
        folder=folder,
        image=ensure_light_image(engine),
        proxy=arguments.proxy,
        network=name,
        gateway=network.attrs["IPAM"]["Config"][0]["Gateway"],
        prefix=f"gcstorm{os.getpid()}",
        devices=arguments.devices,
        **settings,  # type: ignore[arg-type]
    )
    try:
        yield hub
    finally:
        print(hub.log() if arguments.log else "", end="")
        hub.close()
        network.remove()
        engine.close()


async def ours(arguments: argparse.Namespace, people: list[str]) -> Figures:
    """One storm on gpucamp."""
    with (
        tempfile.TemporaryDirectory() as folder,
        place(arguments, Path(folder), service=True, extra=EXTRA + arguments.config) as hub,
        closing(docker.from_env(timeout=120)) as engine,
    ):
        await hub.start()
        figures = await storm(
            hub, lambda: check(hub, engine), people, heavy=people[:4], niceness=NICENESS
        )
        one_holder_ever(hub)
        return figures


async def stocks(arguments: argparse.Namespace, people: list[str]) -> Timing:
    """The same with stock DockerSpawner."""
    with (
        tempfile.TemporaryDirectory() as folder,
        place(arguments, Path(folder), template=STOCK) as hub,
    ):
        await hub.start()
        return await storm_without_a_queue(hub, people, niceness=NICENESS)


def apart(a_storm: Storm[T], arguments: argparse.Namespace, people: list[str]) -> T:
    """Run it in a process of its own, which has a lower priority when it ends."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        return process.submit(_run, a_storm, arguments, people).result()


def _run(a_storm: Storm[T], arguments: argparse.Namespace, people: list[str]) -> T:
    return asyncio.run(a_storm(arguments, people))


def main() -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--participants", type=int, default=50)
    parser.add_argument("--devices", type=int, default=8)
    parser.add_argument("--proxy", default=os.environ.get("GPUCAMP_PROXY_COMMAND"))
    parser.add_argument("--log", action="store_true", help="print the hub's log, too")
    parser.add_argument("--config", default="", help="lines for the hub's configuration")
    arguments = parser.parse_args()
    if not arguments.proxy:
        parser.error("run it as `make storm`, or give --proxy")
    people = [f"user{number:02d}" for number in range(arguments.participants)]
    stock = apart(stocks, arguments, people)
    figures = apart(ours, arguments, people)
    print(table(figures, stock))
    for name, why in figures.timing.failed.items():
        print(f"{name}: {why}")
    print("\n".join(figures.overtaken[:3]))
    served_once = len(set(figures.served)) == len(figures.served) == arguments.participants
    return 0 if served_once and not figures.timing.failed and not figures.overtaken else 1


if __name__ == "__main__":
    sys.exit(main())
