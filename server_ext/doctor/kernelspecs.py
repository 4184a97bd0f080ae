"""Finds a kernel spec without loading jupyter_client, which takes longer than most probes.

Guarantees: the same answer as jupyter_client's KernelSpecManager without configuration, for every
name. The plain case (a folder with a kernel.json that says what it should) is answered here;
whatever is out of the ordinary (no such kernel, broken JSON, a provisioner) is left to
KernelSpecManager itself, whose answers and errors are then passed on.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from jupyter_core.paths import jupyter_path

_NAME = re.compile(r"^[a-z0-9._-]+$", re.IGNORECASE)
# what a plain spec may have, and of which type
_FIELDS: Mapping[str, type] = {
    "argv": list,
    "display_name": str,
    "env": dict,
    "interrupt_mode": str,
    "kernel_protocol_version": str,
    "language": str,
    "metadata": dict,
    "mimetype": str,
    "name": str,
}


@dataclass(frozen=True)
class PlainSpec:
    """What is needed of a kernel.json. argv: the command line; resource_dir: its folder."""

    argv: list[str]
    resource_dir: str
    env: dict[str, Any] = field(default_factory=dict)


class KernelSpecs:
    """Like KernelSpecManager(), as far as kernel.py asks. Reads files."""

    def get_kernel_spec(self, kernel_name: str) -> Any:
        """The spec. Raises what KernelSpecManager raises."""
        folder = find_folder(kernel_name, jupyter_path("kernels"))
        spec = read_plain(folder) if folder else None
        return spec if spec is not None else self._manager().get_kernel_spec(kernel_name)

    def find_kernel_specs(self) -> Mapping[str, str]:
        """Names to folders."""
        found: Mapping[str, str] = self._manager().find_kernel_specs()
        return found

    def _manager(self) -> Any:
        # loaded late: it takes a good part of a second, and is not needed for a kernel that is well
        from jupyter_client.kernelspec import KernelSpecManager

        return KernelSpecManager()


def find_folder(kernel_name: str, folders: list[str]) -> str | None:
    """The kernel's folder, if it is in one of these; None also if that is not certain."""
    if not _NAME.match(kernel_name):
        return None
    for folder in folders:
        try:
            names = os.listdir(folder)
        except FileNotFoundError:
            continue
        except OSError:
            return None
        for name in names:
            path = os.path.join(folder, name)
            if name.lower() == kernel_name.lower() and os.path.isfile(
                os.path.join(path, "kernel.json")
            ):
                return path
    return None


def read_plain(folder: str) -> PlainSpec | None:
    """The spec in this folder, or None when anything about it is unusual."""
    try:
        with open(os.path.join(folder, "kernel.json"), encoding="utf-8") as stream:
            spec = json.load(stream)
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(spec, dict) or any(
        not isinstance(value, _FIELDS.get(key, ())) for key, value in spec.items()
    ):
        return None
    argv, metadata = spec.get("argv", []), spec.get("metadata", {})
    if not all(isinstance(word, str) for word in argv) or "kernel_provisioner" in metadata:
        return None
    if spec.get("interrupt_mode", "signal") not in ("signal", "message"):
        return None
    return PlainSpec(argv, folder, spec.get("env", {}))
