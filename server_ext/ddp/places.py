"""Where a rank stands: its stacks, or what the kernel says -> one place. Pure.

Guarantees: every list of frames has a place; a rank that runs code of the script or of a model is
never said to be in a collective, however deep below a wrapper of torch.distributed it is: only
what lies between the innermost frame and the script, or the model's forward(), decides.

A function written in C has no frame: `time.sleep(9)` and `work.wait()` stand in the script's own
line, so that line's text (`Frame.text`) and the kernel's wait channel tell them apart.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

COLLECTIVE, BACKWARD, GPU = "collective", "backward", "gpu"
SLEEP, INPUT, DEBUGGER, SOCKET = "sleep", "input", "debugger", "socket"
DATA, LOCK, PROCESS, DISK = "data", "lock", "process", "disk"
STOPPED, OUTSIDE, ELSEWHERE, ENDED = "stopped", "outside", "elsewhere", "ended"
KINDS = frozenset(
    {COLLECTIVE, BACKWARD, GPU, SLEEP, INPUT, DEBUGGER, SOCKET, DATA, LOCK, PROCESS, DISK}
    | {STOPPED, OUTSIDE, ELSEWHERE, ENDED}
)

_LIBRARY = re.compile(r"/(?:site|dist)-packages/|/lib/python3\.\d+/|^<frozen ")
_PACKAGES = re.compile(r".*/(?:site|dist)-packages/")
# what starts the script, and saving: they work, and their callers are not in a collective
_NOT_COLLECTIVE = re.compile(
    r"^torch/distributed/(?:elastic/|launcher/|launch\.py|run\.py|checkpoint/|argparse_util)"
)
_DDP = "torch/nn/parallel/distributed.py"
_WRAPPERS = frozenset({"wrapper", "_wrapper", "decorate_context", "inner", "__call__", "_fn"})
_PASSED_OVER = frozenset({"torch/_ops.py", "torch/utils/_contextlib.py"})
_MODULE_CALLS = frozenset({"_call_impl", "_wrapped_call_impl"})

# the kinds of a file of a library, the telling ones first: a DataLoader waits in a queue
_LIBRARY_KINDS: tuple[tuple[str, re.Pattern[str]], ...] = (
    (DEBUGGER, re.compile(r"(?:^|/)(?:debugpy|ipdb|pudb)/|/(?:pdb|bdb)\.py$|^(?:pdb|bdb)\.py$")),
    (DATA, re.compile(r"torch/utils/data/dataloader\.py$")),
    (GPU, re.compile(r"torch/cuda/(?:__init__|streams)\.py$")),
    (PROCESS, re.compile(r"/subprocess\.py$|/multiprocessing/|torch/multiprocessing/")),
    (SOCKET, re.compile(r"/(?:socket|ssl|socketserver|selectors)\.py$|/(?:http|urllib|asyncio)/")),
    (SOCKET, re.compile(r"(?:^|/)(?:requests|urllib3|httpx|httpcore|aiohttp|botocore)/")),
    (LOCK, re.compile(r"/(?:threading|queue)\.py$|/concurrent/futures/|(?:^|/)filelock/")),
)
# the kinds of a line of the script, for functions without a frame
_LINE_KINDS: tuple[tuple[str, re.Pattern[str]], ...] = (
    (SLEEP, re.compile(r"\bsleep\(")),
    (INPUT, re.compile(r"\binput\(|\bstdin\.")),
    (DEBUGGER, re.compile(r"\bbreakpoint\(|\bset_trace\(")),
    (COLLECTIVE, re.compile(r"\.(?:wait|is_completed)\(")),
    (GPU, re.compile(r"\.(?:item|tolist|cpu|numpy|synchronize)\(")),
    (SOCKET, re.compile(r"\.(?:recv|recv_into|accept|connect)\(")),
    (LOCK, re.compile(r"\.acquire\(|\bflock\(|\blockf\(")),
    (PROCESS, re.compile(r"\bos\.(?:wait|waitpid|system)\(")),
)


@dataclass(frozen=True)
class Frame:
    """One call. text: of its line, where it is the script's and could be read."""

    function: str
    file: str
    line: int
    text: str = ""

    @property
    def name(self) -> str:
        """The function without its class or the function that it is in."""
        return self.function.rpartition(".")[2]

    @property
    def module(self) -> str:
        """The file, from the folder of installed packages on where it is in one."""
        return _PACKAGES.sub("", self.file)


@dataclass(frozen=True)
class Thread:
    """A thread of a rank; frames: the innermost first."""

    main: bool
    frames: tuple[Frame, ...]


@dataclass(frozen=True)
class Place:
    """kind: one of KINDS. collective: its name where the rank waits in one. file, line, function:
    of the script (or what stands for it); "" and 0 where it is not known.
    """

    kind: str
    collective: str = ""
    file: str = ""
    line: int = 0
    function: str = ""

    @property
    def where(self) -> str:
        """For people: train.py:12 in main."""
        if not self.file:
            return ""
        inside = "" if self.function in ("", "<module>") else f" in {self.function}"
        return f"{self.file.rpartition('/')[2]}:{self.line}{inside}"


def is_library(file: str) -> bool:
    """Whether a file belongs to Python or to an installed package."""
    return _LIBRARY.search(file) is not None


def place_of(threads: Sequence[Thread], state: str, channel: str) -> Place:
    """The place of a rank.

    threads: none where the stacks could not be read. state: of /proc/<pid>/stat, one letter.
    channel: of /proc/<pid>/wchan, "" or "0" where it is not told.
    """
    if state in ("T", "t"):
        return replace(_main(threads, channel), kind=STOPPED, collective="")
    if not threads:
        return Place(_kind_of_channel(state, channel))
    place = _main(threads, channel)
    if place.kind in (LOCK, OUTSIDE):
        # the main thread may wait for the one that trains
        for thread in threads:
            found = _place(thread.frames, "")
            if not thread.main and found.kind == COLLECTIVE:
                return found
    if place.kind == ELSEWHERE and state == "D":
        return replace(place, kind=DISK)
    return place


def _main(threads: Sequence[Thread], channel: str) -> Place:
    main = next((thread for thread in threads if thread.main), None)
    return Place(OUTSIDE) if main is None else _place(main.frames, channel)


def _place(frames: Sequence[Frame], channel: str) -> Place:
    if not frames:
        return Place(OUTSIDE)
    own = next((frame for frame in frames if not is_library(frame.file)), frames[-1])
    block = _inner(frames)
    kind, collective = _kind(frames[0], block, channel)
    return Place(kind, collective, own.file, own.line, own.function)


def _inner(frames: Sequence[Frame]) -> list[Frame]:
    """The frames of libraries below the script, or below the call of a model."""
    block: list[Frame] = []
    for frame in frames:
        if not is_library(frame.file):
            break
        if frame.module == "torch/nn/modules/module.py" and frame.name in _MODULE_CALLS:
            break
        block.append(frame)
    return block


def _kind(innermost: Frame, block: Sequence[Frame], channel: str) -> tuple[str, str]:
    if not block:
        return _kind_of_line(innermost, channel)
    if block[-1].name in ("_shutdown", "_exit_function", "_run_exitfuncs"):
        return OUTSIDE, ""
    torch = [f for f in block if f.module.startswith("torch/") and f.module not in _PASSED_OVER]
    if torch and _is_collective(torch[0]):
        return COLLECTIVE, _collective(torch)
    if any(f.name == "backward" and f.module.startswith("torch/") for f in torch):
        return BACKWARD, "backward()"
    for kind, pattern in _LIBRARY_KINDS:
        if any(pattern.search(frame.module) for frame in block):
            return kind, ""
    return (SLEEP if "nanosleep" in channel else ELSEWHERE), ""


def _is_collective(frame: Frame) -> bool:
    if frame.module == _DDP:
        return True
    return frame.module.startswith("torch/distributed/") and not _NOT_COLLECTIVE.match(frame.module)


def _collective(torch: Sequence[Frame]) -> str:
    """The outermost call, which is the one that the script knows."""
    named = [f for f in torch if _is_collective(f) and f.name not in _WRAPPERS]
    if not named:
        return "torch.distributed"
    outermost = named[-1]
    if outermost.module == _DDP:
        made = outermost.name == "__init__"
        return "DistributedDataParallel()" if made else "DistributedDataParallel.forward()"
    return f"{outermost.name.lstrip('_')}()"


def _kind_of_line(frame: Frame, channel: str) -> tuple[str, str]:
    if "nanosleep" in channel:
        return SLEEP, ""
    for kind, pattern in _LINE_KINDS:
        if pattern.search(frame.text):
            return kind, "wait()" if kind == COLLECTIVE else ""
    return ELSEWHERE, ""


def _kind_of_channel(state: str, channel: str) -> str:
    if state == "D":
        return DISK
    return SLEEP if "nanosleep" in channel else ELSEWHERE
