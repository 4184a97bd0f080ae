"""Files that become scripts: a notebook, and a plain script that gets DDP's wrapping.

Guarantees: both are only read; what is written is written beside them (beside.py).
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

from ..errors import BadRequest, Conflict
from ..i18n import N_
from .beside import write_beside
from .files import below, read_file
from .make_ddp import Proposal, diff, propose
from .notebook import Converted, convert

READ_AT_MOST = 64 * 2**20  # a notebook has its pictures in it
SCRIPT_AT_MOST = 2**20


@dataclass(frozen=True)
class Exported:
    """script: relative to the root, "" where there are obstacles; written: False where it was there
    already, the same.
    """

    script: str
    converted: Converted
    written: bool = False


def export_notebook(root: str, notebook: str) -> Exported:
    """The script of a notebook, both below `root`. Blocking I/O.

    Raises BadRequest where there can be none, Conflict where it cannot be written.
    """
    path = below(root, notebook, "notebook")
    if path.suffix != ".ipynb":
        raise BadRequest(N_("{name} is not a notebook: choose an .ipynb file."), name=notebook)
    converted = convert(_json(_read(path, notebook, READ_AT_MOST), notebook), path.name)
    if converted.obstacles:
        return Exported("", converted)
    target, written = write_beside(path, path.stem, converted.script)
    return Exported(str(target.relative_to(os.path.realpath(root))), converted, written)


@dataclass(frozen=True)
class Proposed:
    """A proposal for a script. digest: of the text, for whoever accepts it; diff: unified."""

    proposal: Proposal
    digest: str
    diff: str


def propose_for(root: str, script: str) -> Proposed:
    """What would make a DDP script of `script`, below `root`. Blocking I/O. Raises BadRequest."""
    path = below(root, script, "script")
    if path.suffix != ".py":
        raise BadRequest(N_("{name} is not a Python script: choose a .py file."), name=script)
    try:
        source = _read(path, script, SCRIPT_AT_MOST).decode()
    except UnicodeDecodeError as error:
        raise BadRequest(N_("{name} is not text: choose a Python script."), name=script) from error
    proposal = propose(source)
    digest = hashlib.sha256(proposal.text.encode()).hexdigest()
    told = diff(source, proposal.text, path.name, f"{path.stem}_ddp.py") if proposal.text else ""
    return Proposed(proposal, digest, told)


def accept(root: str, script: str, digest: str) -> str:
    """Writes the proposal with this digest beside the script; where, relative to `root`.

    Raises BadRequest, and Conflict where the proposal is another by now.
    """
    proposed = propose_for(root, script)
    if not proposed.proposal.text or proposed.digest != digest:
        raise Conflict(N_("{name} has changed meanwhile: look at the proposal again."), name=script)
    path = below(root, script, "script")
    target, _ = write_beside(path, f"{path.stem}_ddp", proposed.proposal.text)
    return str(target.relative_to(os.path.realpath(root)))


def _read(path: Path, shown: str, at_most: int) -> bytes:
    data = read_file(path, shown, at_most + 1)
    if len(data) > at_most:
        raise BadRequest(
            N_("{name} is larger than {count} MB."), name=shown, count=at_most // 2**20
        )
    return data


def _json(data: bytes, shown: str) -> object:
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise BadRequest(N_("{name} is damaged: it is no JSON."), name=shown) from error
