"""Where a variable is set: in a kernel's settings, or in a line of a shell's start-up file.

Guarantees: starts nothing and changes nothing; a file that is missing, huge or unreadable has no
lines; only a line that is nothing but a plain assignment counts, so that it can be taken out
without changing what the others mean. Reads files: call it in a thread.
"""

from __future__ import annotations

import os
import re
import shlex
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

# of bash, sh and zsh
_FILES = (
    ".bash_profile",
    ".bash_login",
    ".profile",
    ".bashrc",
    ".bash_aliases",
    ".zshenv",
    ".zprofile",
    ".zshrc",
    ".zlogin",
)
_LARGEST = 2**18  # bytes
_MOST_LINES = 20
_ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)=(.*)", re.DOTALL)
_SEPARATOR = re.compile(r"[:\s]+")


def find(
    names: Iterable[str],
    environ: Mapping[str, str],
    home: str,
    spec_env: Mapping[str, object],
    settings: str,
) -> dict[str, object]:
    """{variable: {"settings": path or "", "lines": [{file, number, text, entries}]}} of those
    `names` that are set and whose origin is found.

    settings: the path of the kernel.json that `spec_env` is from; counts only if it can be changed.
    """
    found: dict[str, object] = {}
    files = _files(home)
    for name in names:
        if name not in environ:
            continue
        if name in spec_env:  # overrides the rest
            if os.access(settings, os.W_OK):
                found[name] = {"settings": settings, "lines": []}
        elif lines := list(_lines(name, environ, files)):
            found[name] = {"settings": "", "lines": lines}
    return found


def _files(home: str) -> dict[str, list[str]]:
    """The lines of the start-up files that are there, by path; links to others are left out."""
    files: dict[str, list[str]] = {}
    seen = set()
    for file in _FILES if home else ():
        path = os.path.join(home, file)
        real = os.path.realpath(path)
        if real not in seen and (lines := read_lines(path)):
            files[path] = lines
        seen.add(real)
    return files


def _lines(
    name: str, environ: Mapping[str, str], files: Mapping[str, list[str]]
) -> Iterator[dict[str, object]]:
    value = set(_parts(environ[name], environ))
    count = 0
    for path, lines in files.items():
        for number, text in enumerate(lines, 1):
            entries = assigned(name, text, environ)
            # one that has no part in the value of now is not where it comes from
            if entries is not None and (value & set(entries) or (not entries and not value)):
                yield {"file": path, "number": number, "text": text, "entries": list(entries)}
                count += 1
                if count == _MOST_LINES:
                    return


def read_lines(path: str) -> list[str]:
    """The lines of a text file without their ends; what goes on in the next line is left out."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return []
    try:
        facts = os.fstat(descriptor)
        if not stat.S_ISREG(facts.st_mode) or facts.st_size > _LARGEST:
            return []
        text = os.read(descriptor, _LARGEST).decode("utf-8", "surrogateescape")
    except OSError:
        return []
    finally:
        os.close(descriptor)
    lines = text.split("\n")
    goes_on = [False, *(line.endswith("\\") for line in lines[:-1])]
    return ["" if before else line for before, line in zip(goes_on, lines, strict=True)]


def assigned(name: str, line: str, environ: Mapping[str, str]) -> tuple[str, ...] | None:
    """The parts of the value that a line gives to a variable by itself, without what it had
    before; None when the line is anything but a plain assignment to this variable.
    """
    if name not in line or line.endswith("\\") or re.search(r"[;&|<>`()]", _no_comment(line)):
        return None
    try:
        words = shlex.split(line, comments=True)
    except ValueError:  # a quote that ends in another line
        return None
    if words[:1] == ["export"] or words[:2] in (["declare", "-x"], ["typeset", "-x"]):
        words = words[1 if words[0] == "export" else 2 :]
    if len(words) != 1 or (match := _ASSIGNMENT.fullmatch(words[0])) is None or match[1] != name:
        return None
    return tuple(_parts(match[2], {**environ, name: ""}))


def _no_comment(line: str) -> str:
    return re.sub(r"(^|\s)#.*", "", line)


def _parts(value: str, environ: Mapping[str, str]) -> list[str]:
    """The entries of a path-like value, with variables and ~ filled in."""

    def known(match: re.Match[str]) -> str:
        return environ.get(match[1] or match[2], "")

    full = re.sub(r"\$(?:\{(\w+)(?::?[-+][^}]*)?\}|(\w+))", known, value)
    home = environ.get("HOME", "")
    parts = [part for part in _SEPARATOR.split(full) if part]
    return [
        home + part[1:] if home and (part == "~" or part.startswith("~/")) else part
        for part in parts
    ]


def without(value: str, entries: Iterable[str]) -> str:
    """A path-like value without these entries; "" when nothing is left."""
    gone = set(entries)
    return ":".join(part for part in _SEPARATOR.split(value) if part and part not in gone)


def kernel_settings(folder: str) -> str:
    """The path of the kernel.json in a kernel's folder, or ""."""
    return str(Path(folder) / "kernel.json") if folder else ""
