"""The modules of a script's own folders that it imports, read for advice.

Guarantees: at most MOST_FILES files and MOST_BYTES in all, within SECONDS; only regular .py files
that are below `top` after every link was followed; nothing is imported or run. What was left out is
told, so that nobody takes it for missing.
"""

from __future__ import annotations

import ast
import os
import stat
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from .script_facts import imports_of

MOST_FILES = 40
MOST_BYTES = 192 * 1024
MOST_IMPORTS = 500  # of a file
SECONDS = 0.5


@dataclass(frozen=True)
class Helpers:
    """trees, names: of the modules that were read, as the script imports them, and shown: their
    paths below the folder they were found in; complete: False where one was not read.
    """

    trees: tuple[ast.Module, ...] = ()
    shown: tuple[str, ...] = ()
    names: frozenset[str] = frozenset()
    complete: bool = True


def read_helpers(
    script: ast.Module,
    path: Path,
    folders: Sequence[Path],
    top: Path | None = None,
    package: Path | None = None,
) -> Helpers:
    """Reads what the script imports from `folders`, where Python would look, and what that imports.

    path: of the script; package: the folder that its relative imports begin in, or None.
    top: what every file must be below; None: one of the folders. Blocking I/O; never raises.
    """
    until = time.monotonic() + SECONDS
    roots = [folder.resolve() for folder in folders]
    allowed = [top.resolve()] if top is not None else roots
    seen = {path.resolve()}
    trees: list[ast.Module] = []
    shown: list[str] = []
    names: set[str] = set()
    complete, left = True, MOST_BYTES
    waiting = deque(_wanted(script, package, roots))
    while waiting:
        found = waiting.popleft()
        if found.file in seen:
            names.add(found.name)
            continue
        seen.add(found.file)
        if not any(found.file.is_relative_to(one) for one in allowed):
            complete = False
            continue
        if len(trees) >= MOST_FILES or time.monotonic() > until:
            return Helpers(tuple(trees), tuple(shown), frozenset(names), complete=False)
        source = _read(found.file, left)
        tree = None if source is None else parse(source)
        if source is None or tree is None:
            complete = False
            continue
        left -= len(source)
        trees.append(tree)
        shown.append(found.shown)
        names.add(found.name)
        waiting.extend(_wanted(tree, found.file.parent, roots))
    return Helpers(tuple(trees), tuple(shown), frozenset(names), complete)


def parse(source: bytes) -> ast.Module | None:
    """The syntax tree; None where Python cannot read it."""
    try:
        return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


@dataclass(frozen=True)
class _Found:
    file: Path  # real
    shown: str
    name: str  # of the top module, as it is imported


def _wanted(tree: ast.Module, package: Path | None, roots: Sequence[Path]) -> Iterator[_Found]:
    """The files that a module's imports lead to, below the roots."""
    for level, module, names in islice(imports_of(tree), MOST_IMPORTS):
        parts = tuple(part for part in module.split(".") if part)
        if level:
            if package is None:
                continue
            base = package
            for _ in range(min(level - 1, 20)):
                base = base.parent
            bases: Sequence[Path] = [base]
        else:
            bases = roots
        top = parts[0] if parts else ""
        for base in bases:
            files = list(_files(base, parts, names))
            for file in files:
                yield _Found(file.resolve(), _shown(file, base), top)
            if files:
                break  # the first folder wins, as on sys.path


def _files(base: Path, parts: Sequence[str], names: Sequence[str]) -> Iterator[Path]:
    """`import a.b` runs a/__init__.py and a/b.py; `from a import b` may mean a/b.py."""
    place = base
    for part in parts:
        place = place / part
        yield from _module(place)
    if place.is_dir():
        for name in names[:MOST_FILES]:
            yield from _module(place / name)


def _module(place: Path) -> Iterator[Path]:
    for file in (place / "__init__.py", place.with_name(place.name + ".py")):
        try:
            if file.is_file():
                yield file
                return
        except (OSError, ValueError):
            return


def _shown(file: Path, base: Path) -> str:
    try:
        return str(file.relative_to(base))
    except ValueError:
        return file.name


def _read(file: Path, most: int) -> bytes | None:
    """A whole regular file of at most `most` bytes; None for all else."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError):
        return None
    with os.fdopen(descriptor, "rb") as stream:
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                return None
            source = stream.read(most + 1)
        except OSError:
            return None
    return source if len(source) <= most and b"\0" not in source else None
