"""What a repair is: its steps, and what a person is told before they are done. Pure.

Guarantees: values without behaviour, apart from `command`: what would be done, as one would type
it, on one line. What a person is told is made of msgids without placeholders, so that it can be
kept and translated later.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

SHARED_MEMORY = "/dev/shm"  # noqa: S108 - the name of a file system
BACKUP = ".before"  # at the end of the name of what a file was before it was changed

# "here": the doctor does it; "kernel": Jupyter Server restarts the kernel that was examined; else
# where one is led: a new server, "Remove what I installed" of a reset, the list of kernels
Kind = Literal["here", "kernel", "restart", "packages", "kernels"]


@dataclass(frozen=True)
class Run:
    """A program that ends by itself."""

    argv: tuple[str, ...]

    @property
    def command(self) -> str:
        """As one would type it."""
        return shlex.join(self.argv)


@dataclass(frozen=True)
class EndRanks:
    """Ranks without their torchrun: {pid: command line}."""

    ranks: Mapping[int, str]

    @property
    def command(self) -> str:
        """As one would type it."""
        return "kill -9 " + " ".join(str(pid) for pid in self.ranks)


@dataclass(frozen=True)
class DeleteShared:
    """Files in shared memory that nobody uses."""

    names: tuple[str, ...]

    @property
    def command(self) -> str:
        """As one would type it."""
        return shlex.join(["rm", "-f", "--", *(f"{SHARED_MEMORY}/{name}" for name in self.names)])


@dataclass(frozen=True)
class SetAside:
    """A file or a folder gets another name."""

    path: str

    @property
    def command(self) -> str:
        """As one would type it."""
        return shlex.join(["mv", "-n", self.path, f"{self.path}.set-aside"])


@dataclass(frozen=True)
class UnsetInKernel:
    """A variable leaves the settings of a kernel. settings: the path of its kernel.json."""

    variable: str
    settings: str
    kernel: str
    code: str

    @property
    def command(self) -> str:
        """As one would type it: no plain tool edits JSON, so this is the doctor itself."""
        return shlex.join(["gpucamp-doctor", "--kernel", self.kernel, "--repair", self.code])


@dataclass(frozen=True)
class Line:
    """A line of a shell's start-up file that sets a variable. number: from 1; text: as it was
    read; entries: the parts of its value that it names itself.
    """

    file: str
    number: int
    text: str
    entries: tuple[str, ...] = ()


@dataclass(frozen=True)
class Silence:
    """Lines of one start-up file do nothing any more: they stay as comments behind the shell's
    null command, which is allowed wherever a command is.
    """

    variable: str
    file: str
    lines: tuple[Line, ...]

    @property
    def command(self) -> str:
        """As one would type it."""
        edits = ";".join(f"{line.number}s/^/: # /" for line in self.lines)
        return shlex.join(["sed", f"-i{BACKUP}", edits, self.file])


@dataclass(frozen=True)
class Unset:
    """A variable is not passed on any more to what this process starts. keep: the part of its value
    that is the image's own, which stays.
    """

    variable: str
    keep: str = ""

    @property
    def command(self) -> str:
        """As one would type it."""
        if self.keep:
            return f"export {self.variable}={shlex.quote(self.keep)}"
        return f"unset {self.variable}"


@dataclass(frozen=True)
class RestartKernel:
    """A kernel of this Jupyter Server gets a new process. process: (pid, start in ticks) of the one
    that was examined, None where that is not known; busy: whether a cell ran when it was.
    """

    kernel_id: str
    process: tuple[int, int] | None = None
    busy: bool = False

    @property
    def command(self) -> str:
        """As Jupyter Server is asked for it: there is no program that does it."""
        return f"POST api/kernels/{self.kernel_id}/restart"


TEXTS = ("says", "loses", "undo", "then")

Step = Run | EndRanks | DeleteShared | SetAside | UnsetInKernel | Silence | Unset | RestartKernel


@dataclass(frozen=True)
class Repair:
    """What would mend a finding.

    steps: in order; () where one is led elsewhere, or to the kernel's own menu. says, loses, undo,
    then: msgids: what is done, what is lost by it, how it is taken back, what is left to do.
    """

    kind: Kind
    steps: tuple[Step, ...] = ()
    says: tuple[str, ...] = ()
    loses: tuple[str, ...] = ()
    undo: tuple[str, ...] = field(default=())
    then: tuple[str, ...] = field(default=())

    @property
    def command(self) -> str:
        """All that would be done, as one would type it; "" where one is led elsewhere."""
        commands = [step.command for step in self.steps]
        return " && ".join(dict.fromkeys(commands))

    def describe(self, gettext: Callable[[str], str]) -> dict[str, object]:
        """As the REST API and the report show it."""
        return {
            "kind": self.kind,
            "command": self.command,
            **{name: [gettext(text) for text in getattr(self, name)] for name in TEXTS},
        }


def translated(described: object, gettext: Callable[[str], str]) -> dict[str, object] | None:
    """What `describe` gave in English and a file kept, in another language; None: none was."""
    if not isinstance(described, Mapping):
        return None
    texts = {name: described.get(name) for name in TEXTS}
    return {
        "kind": str(described.get("kind")),
        "command": str(described.get("command")),
        **{
            name: [gettext(str(text)) for text in (value if isinstance(value, list) else ())]
            for name, value in texts.items()
        },
    }
