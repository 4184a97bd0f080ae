"""Which distributions are installed where, in the order in which Python looks. Reads names,
imports nothing.

arguments: the base's prefix (its own packages are listed without their modules).
"""

from __future__ import annotations

import os
import sys

_NOT_MODULES = {"__pycache__", "bin", "share", "etc", "include", "..", "."}
_MOST = 2000


def collect(arguments):
    """{directories: [{directory, base, distributions: [{name, version, modules}], strays:
    [...]}]}.
    """
    base = os.path.join(arguments[0], "") if arguments and arguments[0] else None
    stdlib = os.path.dirname(os.__file__)
    directories = []
    for entry in sys.path:
        directory = os.path.abspath(entry) if entry else ""
        inside_stdlib = directory == stdlib or directory.startswith(os.path.join(stdlib, "lib-"))
        if directory and not inside_stdlib and os.path.isdir(directory):
            in_base = base is not None and directory.startswith(base)
            directories.append(_directory(directory, in_base))
    return {"directories": directories}


def _directory(directory, in_base):
    distributions, modules, error = [], set(), None
    try:
        names = sorted(os.listdir(directory))[: 10 * _MOST]
    except OSError as problem:
        names, error = [], str(problem)
    for name in names:
        stem, extension = os.path.splitext(name)
        if extension in (".dist-info", ".egg-info"):
            distribution, _, version = stem.partition("-")
            version = version.partition("-py")[0] if extension == ".egg-info" else version
            entry = {"name": distribution, "version": version}
            if not in_base:
                entry["modules"] = _modules(os.path.join(directory, name))
                modules.update(entry["modules"])
            distributions.append(entry)
    facts = {"directory": directory, "base": in_base, "distributions": distributions[:_MOST]}
    if error:
        facts["error"] = error
    if not in_base:
        facts["strays"] = [
            module
            for module in sorted({_module(name) for name in names} - {None})
            if module not in modules
        ][:_MOST]
    return facts


def _modules(folder):
    """The top-level modules of a distribution, by its RECORD or top_level.txt."""
    found = set()
    for name in ("RECORD", "top_level.txt"):
        try:
            with open(os.path.join(folder, name), encoding="utf-8", errors="replace") as stream:
                for count, line in enumerate(stream):
                    if count > 50000:
                        break
                    path = line.rstrip("\n").rpartition(",")[0].rpartition(",")[0] or line.strip()
                    found.add(_module(path.strip('"').split("/")[0]))
        except OSError:
            continue
        if found:
            break
    return sorted(found - {None})


def _module(name):
    """The module's name that a directory entry gives, or None."""
    stem, extension = os.path.splitext(name)
    if extension in (".dist-info", ".egg-info", ".pth", ".pyc") or name in _NOT_MODULES:
        return None
    if name.startswith((".", "_virtualenv", "~", "__editable__")):
        return None
    if extension in (".py", ".so", ""):
        return stem.partition(".")[0] or None
    return None
