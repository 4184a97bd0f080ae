"""Fifty participants press Start at once on eight practice devices: `make storm`.

Fails if a grant was wrong, somebody was overtaken, lost or refused. How fast the hub answered
meanwhile is printed, beside how fast the same hub is when nothing happens: the aim is 200 ms.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / name) for name in ("fakes", "engine", "faults")] + [str(TESTS.parent)]

import docker
from hub_app import HubApp
from light_image import ensure_light_image
from storming import Figures, Latency, storm
from world import check, one_holder_ever

AIM = 0.2  # seconds
EXTRA = """
c.JupyterHub.authenticator_class = "hub_ext.sign_in.SignIn"  # as jupyterhub_config.py has it
c.GPUDockerSpawner.ulimits = {}
"""


def table(figures: Figures) -> str:
    """The figures in Markdown, for docs/reliability.md."""

    def row(name: str, seen: Latency) -> str:
        values = (seen.median, seen.p99, seen.slowest)
        cells = " | ".join(f"{1000 * value:.0f} ms" for value in values)
        return f"| {name} | {cells} | {seen.count} | {seen.failed} |"

    ratio = figures.during.p99 / figures.idle.p99
    return "\n".join(
        [
            "| GET /hub/health | median | p99 | slowest | answers | without answer |",
            "|---|---|---|---|---|---|",
            row("idle", figures.idle),
            row("storm", figures.during),
            "",
            f"{len(figures.served)} served in {figures.seconds:.0f} s, {len(figures.failed)} "
            f"failed, {len(figures.overtaken)} overtaken; ledger and Engine compared "
            f"{figures.looks} times; p99 {ratio:.1f} times that of the idle hub "
            f"(aim: {1000 * AIM:.0f} ms throughout).",
        ]
    )


async def measure(arguments: argparse.Namespace, folder: Path) -> Figures:
    """One storm on a hub of its own."""
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
        service=True,
        extra=EXTRA + arguments.config,
    )
    try:
        await hub.start()
        people = [f"user{number:02d}" for number in range(arguments.participants)]
        figures = await storm(hub, lambda: check(hub, engine), people, heavy=people[:4])
        one_holder_ever(hub)
        return figures
    finally:
        print(hub.log() if arguments.log else "", end="")
        hub.close()
        network.remove()
        engine.close()


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
    with tempfile.TemporaryDirectory() as folder:
        figures = asyncio.run(measure(arguments, Path(folder)))
    print(table(figures))
    for name, why in figures.failed.items():
        print(f"{name}: {why}")
    print("\n".join(figures.overtaken[:3]))
    served_once = len(set(figures.served)) == len(figures.served) == arguments.participants
    return 0 if served_once and not figures.failed and not figures.overtaken else 1


if __name__ == "__main__":
    sys.exit(main())
