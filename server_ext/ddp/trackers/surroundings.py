"""Looks for what trackers need: a log folder beside the script, a key. Blocking, milliseconds.

Guarantees: a key is never returned, only whether there is one; what cannot be read is not there.
"""

from __future__ import annotations

import netrc
import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from ..launch_plan import Script, servers_environment
from ..launch_request import LaunchRequest
from .choice import Surroundings, Tracker, choose, wandb_mode

# as SummaryWriter and Lightning call theirs
_LOG_FOLDERS = ("runs", "tb_logs", "tensorboard")
_WANDB = "https://api.wandb.ai"


def trackers_for(
    request: LaunchRequest, script: Script, server: Mapping[str, str]
) -> tuple[Tracker, ...]:
    """The trackers of a launch. server: the environment of the server, or of a terminal.

    Raises BadRequest, as choose does.
    """
    environ = {**servers_environment(server), **request.environment}
    around = look(environ, script.working_directory, script.shown)
    return choose(request.trackers, around, script.trackers)


def look(environ: Mapping[str, str], folder: str, script: str) -> Surroundings:
    """environ: of the run; folder: it runs in, absolute; script: its name, for a project's."""
    named = environ.get("TENSORBOARD_LOG_DIR", "").strip()
    found = [name for name in _LOG_FOLDERS if os.path.isdir(os.path.join(folder, name))]
    log_folder = named or (found[0] if found else "")
    return Surroundings(
        log_folder=os.path.normpath(os.path.join(folder, log_folder)) if log_folder else "",
        new_log_folder=os.path.join(folder, _LOG_FOLDERS[0]),
        wandb=wandb_mode(environ, key=_has_key(environ)),
        wandb_project=environ.get("WANDB_PROJECT", "").strip() or Path(script).stem or "gpucamp",
    )


def _has_key(environ: Mapping[str, str]) -> bool:
    if environ.get("WANDB_API_KEY", "").strip():
        return True
    path = environ.get("NETRC") or os.path.join(environ.get("HOME", ""), ".netrc")
    try:
        kept = netrc.netrc(os.path.expanduser(path)).authenticators(_host(environ))
    except (OSError, netrc.NetrcParseError, UnicodeDecodeError):
        return False
    return kept is not None and bool(kept[2])


def _host(environ: Mapping[str, str]) -> str:
    try:
        return urlsplit(environ.get("WANDB_BASE_URL", "").strip() or _WANDB).hostname or ""
    except ValueError:
        return ""
