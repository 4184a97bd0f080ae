"""What is asked of a launch: JSON -> a request whose form is right. Pure.

Guarantees: what is out of bounds is refused with a `BadRequest` that says what is allowed; numbers
are never converted: `True`, `2.0` and `"2"` are not a number of processes; a variable that torchrun
or the server sets itself cannot be set, so that the command shown tells all of what is run.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from ..errors import BadRequest
from ..i18n import N_
from .trackers.choice import parse_trackers

MAXIMUM_ARGUMENTS = 256
MAXIMUM_PATH_BYTES = 4096
MAXIMUM_ARGUMENT_BYTES = 32 * 1024
MAXIMUM_VARIABLES = 64
MAXIMUM_VARIABLE_BYTES = 32 * 1024
MAXIMUM_RESTARTS = 10

RUN_ID = re.compile(r"[0-9]{8}-[0-9]{6}-[0-9a-f]{6}")
MODULE = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

_KEYS = frozenset(
    {
        "script",
        "module",
        "arguments",
        "processes",
        "working_directory",
        "environment",
        "max_restarts",
        "local_ranks_filter",
        "trackers",
        "id",
    }
)

# torchrun gives these to each process; set by hand they would only break the run
_TORCHRUNS = frozenset(
    {
        "GROUP_RANK",
        "GROUP_WORLD_SIZE",
        "LOCAL_RANK",
        "LOCAL_WORLD_SIZE",
        "MASTER_ADDR",
        "MASTER_PORT",
        "RANK",
        "ROLE_NAME",
        "ROLE_RANK",
        "ROLE_WORLD_SIZE",
        "WORLD_SIZE",
    }
)
# PET_: torchrun reads any of its options there, and the command shown would not be what runs
_OTHERS_PREFIXES = ("TORCHELASTIC_", "PET_", "GPUCAMP_", "JUPYTERHUB_", "JPY_")


@dataclass(frozen=True)
class LaunchRequest:
    """A request whose form is checked; its script is still only a name. Either `script` or `module`
    is not "". environment: on top of what the server sets; shown_ranks: whose output gets into the
    log, () for all; trackers: that get its numbers, None for those that are set up.
    """

    script: str = ""
    arguments: tuple[str, ...] = ()
    processes: int | None = None
    working_directory: str | None = None
    run_id: str | None = None
    module: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    max_restarts: int = 0
    shown_ranks: tuple[int, ...] = ()
    trackers: tuple[str, ...] | None = None


def is_torchruns(name: str) -> bool:
    """Whether torchrun sets this variable, or is steered by it."""
    return name in _TORCHRUNS or name.startswith(("TORCHELASTIC_", "PET_"))


def parse_request(body: object, maximum: int) -> LaunchRequest:
    """Check a request's form.

    `body`: the decoded JSON. `maximum`: the largest number of processes.
    Raises BadRequest, which says what is allowed.
    """
    if not isinstance(body, Mapping):
        raise BadRequest(N_("The request must be a JSON object."))
    unknown = sorted(str(key)[:40] for key in body if key not in _KEYS)
    if unknown:
        raise BadRequest(
            N_("Unknown: {unknown}. Allowed are: {allowed}."),
            unknown=", ".join(unknown[:5]),
            allowed=", ".join(sorted(_KEYS)),
        )
    folder = body.get("working_directory")
    module = _module(body.get("module"))
    if module and body.get("script") is not None:
        raise BadRequest(N_("Name a script or a module, not both."))
    processes = check_processes(body.get("processes"), maximum)
    return LaunchRequest(
        script="" if module else _path(body.get("script"), "script"),
        module=module,
        arguments=_arguments(body.get("arguments")),
        processes=processes,
        working_directory=None if folder is None else _path(folder, "working_directory"),
        environment=_environment(body.get("environment")),
        max_restarts=_restarts(body.get("max_restarts")),
        shown_ranks=_ranks(body.get("local_ranks_filter"), processes or maximum),
        trackers=parse_trackers(body.get("trackers")),
        run_id=_run_id(body.get("id")),
    )


def check_processes(value: object, maximum: int) -> int | None:
    """An int from 1 to `maximum`, or None for the default. Raises BadRequest for all else."""
    if value is None:
        return None
    if type(value) is not int or not 1 <= value <= maximum:
        raise BadRequest(
            N_("processes must be a whole number from 1 to {maximum} on this server."),
            maximum=maximum,
        )
    return value


def _text(value: object, name: str) -> str:
    if not isinstance(value, str):
        raise BadRequest(N_("{name} must be text."), name=name)
    if "\0" in value:
        raise BadRequest(N_("{name} must not contain a NUL character."), name=name)
    try:
        value.encode()
    except UnicodeEncodeError:
        raise BadRequest(N_("{name} must be valid Unicode."), name=name) from None
    return value


def _path(value: object, name: str) -> str:
    if value is None:
        raise BadRequest(N_("{name} is missing: name a file below your work folder."), name=name)
    text = _text(value, name)
    if len(text.encode()) > MAXIMUM_PATH_BYTES:
        raise BadRequest(
            N_("{name} is longer than {count} bytes."), name=name, count=MAXIMUM_PATH_BYTES
        )
    return text


def _module(value: object) -> str:
    if value is None:
        return ""
    text = _text(value, "module")
    if len(text.encode()) > MAXIMUM_PATH_BYTES or not MODULE.fullmatch(text):
        raise BadRequest(
            N_("module must be the name of a Python module, such as package.train: {name}"),
            name=text[:100],
        )
    return text


def _arguments(value: object) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, (list, tuple)):
        raise BadRequest(N_("arguments must be a list of texts, one per argument."))
    if len(value) > MAXIMUM_ARGUMENTS:
        raise BadRequest(N_("At most {count} arguments are allowed."), count=MAXIMUM_ARGUMENTS)
    arguments = tuple(_text(item, "arguments") for item in value)
    if sum(len(item.encode()) for item in arguments) > MAXIMUM_ARGUMENT_BYTES:
        raise BadRequest(
            N_("The arguments may have {count} bytes in all."), count=MAXIMUM_ARGUMENT_BYTES
        )
    return arguments


def _environment(value: object) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise BadRequest(N_("environment must be an object of names and texts."))
    if len(value) > MAXIMUM_VARIABLES:
        raise BadRequest(N_("At most {count} variables are allowed."), count=MAXIMUM_VARIABLES)
    found = {}
    for name, text in value.items():
        shown = str(name)[:60]
        if not isinstance(name, str) or not _VARIABLE.fullmatch(name):
            raise BadRequest(
                N_("{name} is no name of a variable: letters, digits and _ are allowed."),
                name=shown,
            )
        if is_torchruns(name) or name.startswith(_OTHERS_PREFIXES):
            raise BadRequest(
                N_("{name} is set by torchrun or by the server, and cannot be set here."),
                name=shown,
            )
        found[name] = _text(text, f"environment.{shown}")
    if sum(len(name) + len(text.encode()) for name, text in found.items()) > MAXIMUM_VARIABLE_BYTES:
        raise BadRequest(
            N_("The variables may have {count} bytes in all."), count=MAXIMUM_VARIABLE_BYTES
        )
    return found


def _restarts(value: object) -> int:
    if value is None:
        return 0
    if type(value) is not int or not 0 <= value <= MAXIMUM_RESTARTS:
        raise BadRequest(
            N_("max_restarts must be a whole number from 0 to {maximum}."),
            maximum=MAXIMUM_RESTARTS,
        )
    return value


def _ranks(value: object, processes: int) -> tuple[int, ...]:
    if value is None:
        return ()
    if not isinstance(value, (list, tuple)) or any(
        type(rank) is not int or not 0 <= rank < processes for rank in value
    ):
        raise BadRequest(
            N_("local_ranks_filter must be a list of ranks from 0 to {last}."), last=processes - 1
        )
    return tuple(sorted(set(value)))


def _run_id(value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not RUN_ID.fullmatch(value):
        raise BadRequest(N_("id must be one that a plan gave, such as 20260131-120000-1a2b3c."))
    return value
