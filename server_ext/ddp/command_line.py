"""`gpucamp-ddp [options] script.py [arguments]`: Launch DDP in a terminal.

The same plan, environment, record, log and diagnosis as in JupyterLab, where the run is listed
too. Ctrl-C ends the run, and leaves no rank behind. Exit status: 0 for success, torchrun's own
for a failure, 130 after Ctrl-C, 2 for a request that is refused.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from ..errors import BadRequest, GpucampServerError
from ..i18n import N_, Gettext, from_environment, gettext_for
from . import logs
from .export import accept, export_notebook, propose_for
from .files import read_module, read_script
from .hang import Hang
from .launch_plan import Plan, Script, make_plan
from .launch_request import LaunchRequest, parse_request
from .machine import kernel_python, read_machine
from .manager import RunManager
from .runs import FAILED, LOG, LOST, STOPPED, SUCCEEDED, Run, RunStore
from .telling import Teller
from .trackers.choice import TENSORBOARD, WANDB
from .trackers.forwarder import FINISH_SECONDS
from .trackers.surroundings import trackers_for

REFUSED, INTERRUPTED = 2, 130
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_ENDINGS = {
    SUCCEEDED: N_("succeeded"),
    FAILED: N_("failed"),
    STOPPED: N_("stopped"),
    LOST: N_("lost"),
}
_TITLES = {TENSORBOARD: "TensorBoard", WANDB: "Weights & Biases"}
_TRACKED = {
    "waiting": N_("no numbers were printed"),
    "open": N_("{where} (the last numbers are still being sent)"),
    "closed": "",  # where it is says all
    "missing": N_("not logged, its package is not installed: {reason}"),
    "failed": N_("not logged: {reason} (see trackers.log in the run's folder)"),
}
_PRINTED_FRAMES = 8  # of each rank; all are in JupyterLab and in run.json
_COLOURS = (36, 33, 35, 32, 34, 31)

TELL_SECONDS = 2.0  # for the last word to the service


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point."""
    gettext = gettext_for(from_environment(os.environ))
    options = _parser().parse_args(argv)
    folder = Path(os.environ.get("GPUCAMP_WORK", Path.home() / "work")) / ".gpucamp" / "runs"
    store = RunStore(str(folder))
    try:
        if options.make_ddp:
            return _make_ddp(options, gettext)
        plan = _plan(options, store, os.environ, gettext)
        return asyncio.run(_run(plan, store, gettext))
    except GpucampServerError as error:
        print(error.render(gettext), file=sys.stderr)
        return REFUSED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="gpucamp-ddp", description="Run a PyTorch script with DistributedDataParallel."
    )
    parser.add_argument("--processes", "-n", type=int, help="default: one per GPU")
    parser.add_argument(
        "--module", "-m", action="store_true", help="the script is the name of a module"
    )
    parser.add_argument(
        "--env", "-e", metavar="NAME=VALUE", action="append", default=[], help="a variable; again"
    )
    parser.add_argument(
        "--make-ddp",
        action="store_true",
        help="write the script with DDP's wrapping beside it (train_ddp.py), and run nothing",
    )
    parser.add_argument("--max-restarts", type=int, help="of all processes when one fails (0)")
    parser.add_argument(
        "--local-ranks-filter", metavar="0,1", help="show the output of these ranks only"
    )
    parser.add_argument(
        "--trackers",
        metavar="NAMES",
        help="none, or tensorboard,wandb (default: those with a log folder or a key)",
    )
    parser.add_argument("script", help="a .py file, a notebook, or with -m a module")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="of the script")
    return parser


def _plan(
    options: argparse.Namespace, store: RunStore, environ: Mapping[str, str], gettext: Gettext
) -> Plan:
    machine = read_machine(environ, str(store.folder), kernel_python())
    request: LaunchRequest = parse_request(
        {
            "module" if options.module else "script": options.script,
            "arguments": options.arguments,
            "processes": options.processes,
            "environment": _variables(options.env),
            "max_restarts": options.max_restarts,
            "local_ranks_filter": _ranks(options.local_ranks_filter),
            "trackers": _names(options.trackers),
        },
        machine.max_processes,
    )
    if request.module:
        script = read_module(request.module, Path.cwd())
    else:
        script = _script(request.script, gettext)
    trackers = trackers_for(request, script, environ)
    return make_plan(request, script, machine, store.new_id(), trackers=trackers)


def _script(name: str, gettext: Gettext) -> Script:
    """Raises BadRequest, Conflict."""
    try:
        path = Path(name).resolve(strict=True)
    except (OSError, RuntimeError):
        raise BadRequest(N_("{name} does not exist."), name=name) from None
    if path.suffix == ".ipynb":
        path = _script_of(path, gettext)
    # as `python script.py` does, a terminal's run stays in the terminal's folder
    return read_script(path, name, Path.cwd())


def _make_ddp(options: argparse.Namespace, gettext: Gettext) -> int:
    """Shows and writes what make_ddp.py proposes. Raises BadRequest, Conflict."""
    path = Path(options.script).absolute()
    made = propose_for(str(path.parent), path.name)
    print(made.diff, end="")
    for note in (*made.proposal.reasons, *made.proposal.remarks):
        told = note.view(gettext)
        print(f"! {path.name}:{told['line'] or ''} {told['message']}", file=sys.stderr)
    if made.proposal.reasons:
        return REFUSED
    print(f"→ {accept(str(path.parent), path.name, made.digest)}", file=sys.stderr)
    return 0


def _script_of(notebook: Path, gettext: Gettext) -> Path:
    """The script beside a notebook; says what is not in it. Raises BadRequest, Conflict."""
    made = export_notebook(str(notebook.parent), notebook.name)
    for remark in made.converted.obstacles or made.converted.left_out:
        told = remark.view(gettext)
        print(
            f"! [{told['cell']}:{told['line']}] {told['code']}\n  {told['message']}",
            file=sys.stderr,
        )
    if made.converted.obstacles:
        raise BadRequest(
            N_("No script was made of {name}: the lines above (cell:line) are in the way."),
            name=notebook.name,
        )
    return notebook.parent / made.script


def _variables(words: Sequence[str]) -> dict[str, str]:
    found = {}
    for word in words:
        name, sign, text = word.partition("=")
        if not sign:
            raise BadRequest(N_("--env needs NAME=VALUE, not {word}"), word=word[:100])
        found[name] = text
    return found


def _ranks(text: str | None) -> list[int] | None:
    if text is None:
        return None
    try:
        return [int(word) for word in text.split(",")]
    except ValueError:
        raise BadRequest(
            N_("--local-ranks-filter needs numbers, such as 0,1, not {word}"), word=text[:100]
        ) from None


def _names(text: str | None) -> list[str] | None:
    if text is None:
        return None
    return [] if text == "none" else text.split(",")


async def _run(plan: Plan, store: RunStore, gettext: Gettext) -> int:
    for advice in plan.advice:
        print(f"! {advice.render(gettext)}", file=sys.stderr)
    print(f"$ {plan.command}", file=sys.stderr)
    # a terminal is no place for the log
    quiet = logging.Logger("gpucamp-ddp")  # noqa: LOG001 - without a parent that would print it
    quiet.addHandler(logging.NullHandler())
    teller = Teller(os.environ, quiet)
    manager = RunManager(store, os.environ, changed=teller.changed)
    run = await manager.start(plan)
    loop = asyncio.get_running_loop()
    stops: set[asyncio.Task[Run]] = set()

    def end() -> None:
        stops.add(loop.create_task(manager.stop(run.id)))

    for number in _SIGNALS:
        loop.add_signal_handler(number, end)

    async def is_over() -> bool:
        return not (await manager.get(run.id)).alive

    printer = _Printer(sys.stdout.isatty())
    telling = loop.create_task(_tell_hangs(manager, run.id, gettext))
    async for pieces in logs.follow(str(store.path(run.id, LOG)), 0, is_over):
        for piece in pieces:
            await asyncio.to_thread(printer.write, piece)
    run = await manager.wait(run.id)
    telling.cancel()
    await asyncio.gather(*stops, return_exceptions=True)
    _report(run, gettext)
    if plan.trackers:
        sending = loop.create_task(manager.sent(run.id, FINISH_SECONDS))
        for number in _SIGNALS:  # who does not wait loses nothing: it is sent all the same
            loop.add_signal_handler(number, sending.cancel)
        await asyncio.wait([sending])
        _tell_trackers(await manager.trackers(run.id), gettext)
    await teller.flush(TELL_SECONDS)
    await teller.close()
    if run.state == SUCCEEDED:
        return 0
    if run.state == STOPPED:
        return INTERRUPTED
    code = run.exit_code
    return 1 if code is None or code == 0 else 128 - code if code < 0 else code


async def _tell_hangs(manager: RunManager, run_id: str, gettext: Gettext) -> None:
    """Says once that the run hangs, and why, and once that it goes on. Until it is over."""
    told = None
    while (run := await manager.get(run_id)).alive:
        if run.hang != told:
            await asyncio.to_thread(_print_hang, run.hang, gettext)
            told = run.hang
        await asyncio.sleep(1)


def _print_hang(hang: Hang | None, gettext: Gettext) -> None:
    if hang is None:
        print(gettext(N_("The run goes on.")), file=sys.stderr)
        return
    seen = hang.view(gettext)
    begun = datetime.fromtimestamp(hang.since).strftime("%H:%M:%S")
    lines = [
        "",
        gettext(N_("This run hangs: nothing has moved since {time}.")).format(time=begun),
        f"✗ {seen['cause']}",
        f"→ {seen['fix']}",
    ]
    for rank in seen["ranks"]:
        name = gettext(N_("rank {rank} {doing}")).format(rank=rank["rank"], doing=rank["doing"])
        lines.append(f"  {name}")
        lines += [f"      {frame}" for frame in rank["frames"][:_PRINTED_FRAMES]]
    lines.append(gettext(N_("Ctrl-C ends the run.")))
    print("\n".join(lines), file=sys.stderr)


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


def _tell_trackers(states: Sequence[Mapping[str, str]], gettext: Gettext) -> None:
    for one in states:
        message = _TRACKED[one["state"]]
        told = gettext(message).format(**one) if message else one["where"]
        print(f"  {_TITLES[one['name']]}: {told}", file=sys.stderr)


def _report(run: Run, gettext: Gettext) -> None:
    if run.diagnosis is None:
        print(f"{run.id}: {gettext(_ENDINGS.get(run.state, run.state))}", file=sys.stderr)
        for remark in run.view(gettext)["remarks"]:
            print(f"! {remark['message']}", file=sys.stderr)
        return
    told = run.diagnosis.view(gettext)
    print(f"\n✗ {told['cause']}", file=sys.stderr)
    print(f"→ {told['fix']}", file=sys.stderr)
