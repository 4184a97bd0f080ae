"""Which distributions are installed where, in the order in which Python looks. Reads names,
imports nothing.

Of what is not the base's: its modules, whether it is compiled, which of torch and NumPy it needs.

arguments: the base's prefix (its own packages are listed without their modules).
"""

from __future__ import annotations

import importlib.util
import os
import re
import sys

_NOT_MODULES = {"__pycache__", "bin", "share", "etc", "include", "..", "."}
_MOST = 2000
_EXTENSION = re.compile(r"\.(cpython-[\w-]+|abi3)\.so$")


def collect(arguments):
    """{directories: [{directory, base, distributions: [{name, version, modules, compiled, needs}],
    strays: [...], compiled_strays: [...], stray_files: {module: [names of its files and folders]},
    error}], conda: {name: version}, pip: {module, command}}.
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
    return {"directories": directories, "conda": _conda(sys.prefix), "pip": _pip()}


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
                folder = os.path.join(directory, name)
                entry["modules"], entry["compiled"] = _modules(folder)
                entry["needs"] = _needs(folder)
                modules.update(entry["modules"])
            distributions.append(entry)
    facts = {
        "directory": directory,
        "base": in_base,
        "writable": os.access(directory, os.W_OK | os.X_OK),
        "distributions": distributions[:_MOST],
    }
    if error:
        facts["error"] = error
    if not in_base:
        strays = sorted({_module(name) for name in names} - {None} - modules)
        facts["strays"] = strays[:_MOST]
        facts["stray_files"] = _files(names, set(strays[:_MOST]))
        # such as Python itself looks for; other libraries are none of its modules
        compiled = {_module(name) for name in names if _EXTENSION.search(name)}
        facts["compiled_strays"] = [module for module in strays if module in compiled][:_MOST]
    return facts


def _files(names, modules):
    """{module: the entries of a directory that make it}."""
    found = {}
    for name in names:
        module = _module(name)
        if module in modules:
            found.setdefault(module, []).append(name)
    return {module: entries[:8] for module, entries in found.items()}


def _modules(folder):
    """The top-level modules of a distribution, by its RECORD or top_level.txt, and whether one of
    its files is a library.
    """
    found, compiled = set(), False
    for name in ("RECORD", "top_level.txt"):
        try:
            with open(os.path.join(folder, name), encoding="utf-8", errors="replace") as stream:
                for count, line in enumerate(stream):
                    if count > 50000:
                        break
                    path = line.rstrip("\n").rpartition(",")[0].rpartition(",")[0] or line.strip()
                    found.add(_module(path.strip('"').split("/")[0]))
                    compiled = compiled or path.endswith(".so")
        except OSError:
            continue
        if found:
            break
    return sorted(found - {None}), compiled


def _needs(folder):
    """Which of torch and NumPy a distribution requires, by its metadata."""
    found = set()
    for name in ("METADATA", "PKG-INFO"):
        try:
            with open(os.path.join(folder, name), encoding="utf-8", errors="replace") as stream:
                for count, line in enumerate(stream):
                    if count > 500 or not line.strip():
                        break  # the headers end at the first empty line
                    key, _, value = line.partition(":")
                    if key == "Requires-Dist" and "extra ==" not in value:
                        found.add(re.split(r"[^A-Za-z0-9._-]", value.strip())[0].lower())
        except OSError:
            continue
    return sorted(found & {"torch", "numpy"})


def _conda(prefix):
    """{name: version} of torch's family among conda's packages of this prefix."""
    found = {}
    for name in _listdir(os.path.join(prefix, "conda-meta"))[:_MOST]:
        known = re.match(
            r"(pytorch|torch|torchvision|torchaudio|numpy)-(\d[^-]*)-[^-]+\.json$", name
        )
        if known:
            found["torch" if known.group(1) == "pytorch" else known.group(1)] = known.group(2)
    return found


def _pip():
    """Whether there are pip's module and its command."""
    try:
        module = importlib.util.find_spec("pip") is not None
    except Exception:  # a finder of the environment's own may do anything
        module = False
    return {"module": module, "command": os.path.exists(os.path.join(sys.prefix, "bin", "pip"))}


def _listdir(path):
    try:
        return sorted(os.listdir(path))
    except OSError:
        return []


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
