"""`gpucamp-ddp [--processes N] script.py [arguments]`: Launch DDP in a terminal.

The same plan, environment, record, log and diagnosis as in JupyterLab, where the run is listed
too. Ctrl-C ends the run, and leaves no rank behind. Exit status: 0 for success, torchrun's own
for a failure, 130 after Ctrl-C, 2 for a request that is refused.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..errors import BadRequest, GpucampServerError
from ..i18n import N_, Gettext, from_environment, gettext_for
from . import logs
from .files import read_script
from .launch_plan import LaunchRequest, Plan, make_plan, parse_request
from .machine import kernel_python, read_machine
from .manager import RunManager
from .runs import FAILED, LOG, LOST, STOPPED, SUCCEEDED, Run, RunStore

REFUSED, INTERRUPTED = 2, 130
_ENDINGS = {
    SUCCEEDED: N_("succeeded"),
    FAILED: N_("failed"),
    STOPPED: N_("stopped"),
    LOST: N_("lost"),
}
_COLOURS = (36, 33, 35, 32, 34, 31)


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point."""
    gettext = gettext_for(from_environment(os.environ))
    options = _parser().parse_args(argv)
    folder = Path(os.environ.get("GPUCAMP_WORK", Path.home() / "work")) / ".gpucamp" / "runs"
    store = RunStore(str(folder))
    try:
        plan = _plan(options, store, os.environ)
        return asyncio.run(_run(plan, store, gettext))
    except GpucampServerError as error:
        print(error.render(gettext), file=sys.stderr)
        return REFUSED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="gpucamp-ddp", description="Run a PyTorch script with DistributedDataParallel."
    )
    parser.add_argument("--processes", "-n", type=int, help="default: one per GPU")
    parser.add_argument("script", help="a .py file")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="of the script")
    return parser


def _plan(options: argparse.Namespace, store: RunStore, environ: Mapping[str, str]) -> Plan:
    machine = read_machine(environ, str(store.folder), kernel_python())
    request: LaunchRequest = parse_request(
        {
            "script": options.script,
            "arguments": options.arguments,
            "processes": options.processes,
        },
        machine.max_processes,
    )
    try:
        path = Path(request.script).resolve(strict=True)
    except (OSError, RuntimeError):
        raise BadRequest(N_("{name} does not exist."), name=request.script) from None
    # as `python script.py` does, a terminal's run stays in the terminal's folder
    script = read_script(path, request.script, Path.cwd())
    return make_plan(request, script, machine, store.new_id())


async def _run(plan: Plan, store: RunStore, gettext: Gettext) -> int:
    for advice in plan.advice:
        print(f"! {advice.render(gettext)}", file=sys.stderr)
    print(f"$ {plan.command}", file=sys.stderr)
    manager = RunManager(store, os.environ)
    run = await manager.start(plan)
    loop = asyncio.get_running_loop()
    stops: set[asyncio.Task[Run]] = set()

    def end() -> None:
        stops.add(loop.create_task(manager.stop(run.id)))

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, end)

    async def is_over() -> bool:
        return not (await manager.get(run.id)).alive

    printer = _Printer(sys.stdout.isatty())
    async for pieces in logs.follow(str(store.path(run.id, LOG)), 0, is_over):
        for piece in pieces:
            await asyncio.to_thread(printer.write, piece)
    run = await manager.wait(run.id)
    await asyncio.gather(*stops, return_exceptions=True)
    _report(run, gettext)
    if run.state == SUCCEEDED:
        return 0
    if run.state == STOPPED:
        return INTERRUPTED
    code = run.exit_code
    return 1 if code is None or code == 0 else 128 - code if code < 0 else code


class _Printer:
    """Puts the rank before each line; a reader that has gone (`| head`) does not stop the run."""

    def __init__(self, colour: bool) -> None:
        self._colour = colour
        self._gone = False
        self._half: int | None | bool = False  # whose line is not finished; False: none is

    def write(self, piece: logs.Piece) -> None:
        if self._gone:
            return
        lines = piece.text.split("\n")
        prefix = self._prefix(piece.rank)
        parts = []
        if self._half is not False and self._half != piece.rank:
            parts.append("\n")
            self._half = False
        for index, line in enumerate(lines):
            last = index == len(lines) - 1
            if last and not line:
                break
            parts.append(line if self._half is not False else prefix + line)
            self._half = piece.rank if last else False
            if not last:
                parts.append("\n")
        try:
            sys.stdout.write("".join(parts))
            sys.stdout.flush()
        except BrokenPipeError:
            self._gone = True

    def _prefix(self, rank: int | None) -> str:
        if rank is None:
            return ""
        name = f"[rank {rank}] "
        return f"\x1b[{_COLOURS[rank % len(_COLOURS)]}m{name}\x1b[0m" if self._colour else name


def _report(run: Run, gettext: Gettext) -> None:
    if run.diagnosis is None:
        print(f"{run.id}: {gettext(_ENDINGS.get(run.state, run.state))}", file=sys.stderr)
        return
    told = run.diagnosis.view(gettext)
    print(f"\n✗ {told['cause']}", file=sys.stderr)
    print(f"→ {told['fix']}", file=sys.stderr)
