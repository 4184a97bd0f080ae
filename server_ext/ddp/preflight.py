"""Advice about a script before it runs, read from its syntax tree.

Guarantees: advice only, never a block; the script is never imported or run; any bytes are an
acceptable input. What the script leaves to modules of its own folder is looked for there
(helper_modules.py), and where not all of them could be read, nothing is called missing.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..i18n import N_
from .fixed_ports import FixedPort, is_free
from .helper_modules import Helpers, read_helpers
from .launch_plan import Advice
from .script_facts import Facts, read_facts
from .trackers.choice import own_trackers


@dataclass(frozen=True)
class Reading:
    """What the text of a script told. trackers: that it logs to itself; see trackers/choice.py."""

    advice: tuple[Advice, ...] = ()
    trackers: frozenset[str] = frozenset()


def unread() -> Reading:
    """For a script that is too long to be read."""
    message = N_("The script is too long to be checked before the start.")
    return Reading((Advice("not-read", message),))


def examine(
    source: bytes,
    helpers: Callable[[ast.Module], Helpers] | None = None,
    free: Callable[[int], bool] = lambda port: True,
    name: str = "train.py",
) -> Reading:
    """What would go wrong with DDP, as far as the text of the script tells. Pure but for what it is
    given. helpers: reads the modules that a tree imports; free: whether a port is; name: of the
    script.
    """
    try:
        tree = ast.parse(source)
    except SyntaxError as error:
        unreadable = Advice(
            "syntax-error",
            N_("Python cannot read the script: {reason} (line {line})."),
            {"reason": error.msg, "line": error.lineno or 0},
        )
        return Reading((unreadable,))
    except (ValueError, RecursionError, MemoryError):
        return unread()
    found = Helpers() if helpers is None else helpers(tree)
    facts = read_facts((tree, *found.trees), found.names)
    shown = (name, *found.shown)
    advice = list(_ports(facts, shown, free))
    if not facts.framework:
        # what was not read may have what would be missed
        partly = facts.foreign or not found.complete
        advice += [*(_saves(facts, shown) if partly else _advice(facts, shown))]
        advice += _loggers(facts, shown)
    return Reading(tuple(advice), own_trackers(facts.names, facts.framework))


def examine_file(
    source: bytes, path: Path, folder: Path, top: Path | None, *, module: bool = False
) -> Reading:
    """The same for a file: with the modules beside it, and with ports tried. folder: it runs in;
    top: what files must be below, None: these folders. Blocking I/O, about a second at most.
    """

    def helpers(tree: ast.Module) -> Helpers:
        # python puts the script's folder on its path, python -m the one that it runs in
        folders = [folder] if module else list(dict.fromkeys((path.parent, folder)))
        return read_helpers(tree, path, folders, top, path.parent if module else None)

    return examine(source, helpers, is_free, path.name)


def _ports(facts: Facts, shown: Sequence[str], free: Callable[[int], bool]) -> Iterator[Advice]:
    """One advice for the first port that is fixed in vain, or is taken."""
    for file, one in facts.ports:
        if not one.served and not _spawns(facts):
            yield fixed_port(one, shown[file])
            return
    for file, one in facts.ports:
        if not free(one.port):
            yield Advice(
                "port-taken",
                N_(
                    "Port {port} ({place}, line {line}) is in use on this machine, perhaps by an "
                    "older run: stop that, or use another port."
                ),
                {"port": one.port, "place": shown[file], "line": one.line},
            )
            return


def fixed_port(one: FixedPort, place: str) -> Advice:
    """A port that nobody will serve. place: of the line, as people know it."""
    return Advice(
        "fixed-port",
        N_(
            "Port {port} is fixed in {place}, line {line}: torchrun chooses a free one itself, and "
            "the processes would wait for this one until they time out. Remove MASTER_PORT and "
            "init_method, and call init_process_group() without them."
        ),
        {"port": one.port, "place": place, "line": one.line},
    )


def _advice(facts: Facts, shown: Sequence[str]) -> Iterator[Advice]:
    if not facts.names & {"init_process_group", "init_device_mesh"}:
        yield Advice(
            "no-process-group",
            N_(
                "The script does not call torch.distributed.init_process_group(): every process "
                "would train a model of its own. See examples/train_ddp.py."
            ),
        )
        return
    if _spawns(facts):
        yield Advice(
            "spawns-itself",
            N_(
                "The script starts processes of its own (torch.multiprocessing.spawn), and "
                "torchrun starts it several times: take the rank from LOCAL_RANK instead, or run "
                "it with python in a terminal."
            ),
        )
        return
    if "DataLoader" in facts.names and not facts.shards:
        yield Advice(
            "no-distributed-sampler",
            N_(
                "The script loads data without a DistributedSampler: every process would see all "
                "of it, and more GPUs would not be faster."
            ),
        )
    if facts.shuffles and not facts.sets_epoch:
        yield Advice(
            "no-set-epoch",
            N_(
                "Call sampler.set_epoch(epoch) at the start of each epoch, or the data comes in "
                "the same order every time."
            ),
        )
    if facts.cuda and not _reads_local_rank(facts):
        yield Advice(
            "no-local-rank",
            N_(
                "The script uses CUDA but never reads LOCAL_RANK: all processes would use GPU 0. "
                'Call torch.cuda.set_device(int(os.environ["LOCAL_RANK"])) first.'
            ),
        )
    yield from _saves(facts, shown)
    if "destroy_process_group" not in facts.names:
        yield Advice(
            "no-destroy",
            N_("Call torch.distributed.destroy_process_group() at the end."),
        )


def _spawns(facts: Facts) -> bool:
    """Whether it starts its ranks itself, under torchrun, too."""
    return facts.spawns and not {"RANK", "LOCAL_RANK"} & facts.texts


def _reads_local_rank(facts: Facts) -> bool:
    """On one machine the rank is the local rank; a device mesh chooses the device itself."""
    if "LOCAL_RANK" in facts.texts or facts.names & {"get_node_local_rank", "init_device_mesh"}:
        return True
    return facts.device_by_rank and ("get_rank" in facts.names or "RANK" in facts.texts)


def _saves(facts: Facts, shown: Sequence[str]) -> Iterator[Advice]:
    for save in facts.saves[:1]:
        if save.file == 0:
            yield Advice(
                "all-ranks-save",
                N_(
                    "torch.save in line {line} runs in every process, and they overwrite each "
                    "other: put it under `if rank == 0:`."
                ),
                {"line": save.line},
            )
        else:
            yield Advice(
                "all-ranks-save",
                N_(
                    "torch.save in {file}, line {line} runs in every process, and they overwrite "
                    "each other: put it under `if rank == 0:`."
                ),
                {"file": shown[save.file], "line": save.line},
            )


def _loggers(facts: Facts, shown: Sequence[str]) -> Iterator[Advice]:
    for site in facts.loggers[:1]:
        yield Advice(
            "all-ranks-log",
            N_(
                "Every process opens a log of its own ({file}, line {line}), and the same run is "
                "logged several times: open it on rank 0 only, under `if rank == 0:`."
            ),
            {"file": shown[site.file], "line": site.line},
        )
