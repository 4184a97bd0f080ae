"""Where in a configuration file a setting is set, so that a refusal names the line to mend.

What this module guarantees: it reads the files' text and runs nothing of them; what it names is the
last place that sets the setting, or as much of its path as stands in the text; a file that cannot
be read or parsed is passed over.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from pathlib import Path as File

Path = tuple[str | int, ...]


def line_of(path: Path, files: Sequence[File]) -> str:
    """`file:line` of a setting such as ("GpuPolicy", "pools", "class"), or "".

    `files` are in the order in which they are read: a later one overrules.
    """
    found: list[tuple[int, int, int]] = []  # how much of the path, which file, line
    for number, file in enumerate(files):
        try:
            tree = ast.parse(file.read_bytes(), str(file))
        except (OSError, SyntaxError, ValueError):
            continue
        found.extend((depth, number, line) for depth, line in _places(tree, path))
    if not found:
        return ""
    _depth, number, line = max(found)
    return f"{files[number]}:{line}"


def _places(tree: ast.AST, path: Path) -> Iterator[tuple[int, int]]:
    """(how much of the path it matches, line) of each statement that sets it or a part of it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                yield from _match(_target(target), node.value, node.lineno, path)
        elif isinstance(node, ast.AugAssign | ast.AnnAssign) and node.value is not None:
            yield from _match(_target(node.target), node.value, node.lineno, path)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            # c.GpuPolicy.pools.update({...}), c.GpuPolicy.warning_minutes.append(5)
            for argument in node.args:
                yield from _match(_target(node.func.value), argument, node.lineno, path)


def _match(
    target: Path | None, value: ast.expr, line: int, path: Path
) -> Iterator[tuple[int, int]]:
    if target is None or len(target) < 2 or target != path[: len(target)]:
        return
    rest = path[len(target) :]
    found, where = len(target), line
    for part in rest:
        inner = _inside(value, part)
        if inner is None:
            break
        value, where = inner
        found += 1
    yield found, where


def _inside(value: ast.expr, part: str | int) -> tuple[ast.expr, int] | None:
    """The element of a dict or list that is written out, and its line."""
    if isinstance(value, ast.Dict):
        for key, element in zip(value.keys, value.values, strict=True):
            if isinstance(key, ast.Constant) and key.value == part:
                return element, key.lineno
    elif isinstance(value, ast.Call) and isinstance(value.func, ast.Name):  # dict(slots=4)
        for keyword in value.keywords:
            if keyword.arg == part:
                return keyword.value, keyword.lineno
    elif isinstance(value, ast.List | ast.Tuple) and isinstance(part, int):
        if part < len(value.elts):
            return value.elts[part], value.elts[part].lineno
    return None


def _target(node: ast.expr) -> Path | None:
    """("GpuPolicy", "pools", "class") of `c.GpuPolicy.pools["class"]`; None of anything else."""
    parts: list[str | int] = []
    while True:
        if isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        elif isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
            key = node.slice.value
            if not isinstance(key, str | int):
                return None
            parts.append(key)
            node = node.value
        elif isinstance(node, ast.Name):
            return tuple(reversed(parts)) if node.id == "c" else None
        else:
            return None
