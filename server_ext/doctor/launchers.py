"""The Python behind a program that starts it: env, nice, conda run, a shell's line or script.

Guarantees: starts nothing; what it cannot follow to the end (a script with branches, a command that
computes variables, a name that leads nowhere) is None, never a guess; files are read up to
LARGEST bytes. Reads files: call it in a thread.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

LARGEST = 64 * 1024
_DEEPEST = 8  # a launcher of a launcher ...

_PYTHON = re.compile(r"^python(\d(\.\d+)?)?$")
_ASSIGNMENT = re.compile(r"^([A-Za-z_]\w*)=(.*)$", re.DOTALL)
_VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)(?::?-([^}]*))?\})")
_SHELLS = frozenset({"sh", "bash", "dash", "zsh"})
_CONDA = frozenset({"conda", "mamba", "micromamba", "conda.exe"})
# program -> its options that take a value, and how many words come before the command
_PLAIN: Mapping[str, tuple[frozenset[str], int]] = {
    "nice": (frozenset({"-n", "--adjustment"}), 0),
    "nohup": (frozenset(), 0),
    "setsid": (frozenset(), 0),
    "stdbuf": (frozenset({"-i", "-o", "-e", "--input", "--output", "--error"}), 0),
    "ionice": (frozenset({"-c", "-n", "--class", "--classdata"}), 0),
    "taskset": (frozenset(), 1),
    "timeout": (frozenset({"-k", "-s", "--kill-after", "--signal"}), 1),
    "exec": (frozenset({"-a"}), 0),
    "command": (frozenset(), 0),
}
# what a shell does only sometimes, or what may change any variable
_BEYOND = frozenset(
    "if then else elif fi for while until do done case esac function eval module trap".split()
    + "{ } ! [ [[ test".split()
)
_ENDS = frozenset({"&&", ";"})


@dataclass(frozen=True)
class Command:
    """A command line that begins with a Python, and the environment that it would have."""

    argv: tuple[str, ...]
    env: Mapping[str, str]


def unwrap(argv: Sequence[str], env: Mapping[str, str]) -> Command | None:
    """What is started in the end, if that is a Python that can be told."""
    return _unwrap(list(argv), dict(env), _DEEPEST)


def _unwrap(argv: list[str], env: dict[str, str], depth: int) -> Command | None:
    if not argv or depth == 0:
        return None
    name, rest = os.path.basename(argv[0]), argv[1:]
    if _PYTHON.match(name):
        return Command(tuple(argv), env)
    if name == "env":
        return _env(rest, env, depth)
    if name in _PLAIN:
        options, words = _PLAIN[name]
        return _unwrap(_without_options(rest, options)[words:], env, depth - 1)
    if name in _CONDA:
        return _conda_run(argv[0], rest, env, depth)
    if name in _SHELLS:
        return _shell(rest, env, depth)
    return _script(argv[0], rest, env, depth)


def _without_options(words: list[str], valued: frozenset[str]) -> list[str]:
    rest = list(words)
    while rest and rest[0].startswith("-") and rest[0] != "-":
        option = rest.pop(0)
        if option == "--":
            break
        if option in valued and rest:
            rest.pop(0)
    return rest


def _env(words: list[str], env: dict[str, str], depth: int) -> Command | None:
    """env [-i] [-u NAME] [NAME=VALUE] COMMAND; `-S`, mostly of a script's first line, too."""
    rest = list(words)
    while rest:
        word = rest[0]
        if word in ("-i", "-", "--ignore-environment"):
            env, rest = {}, rest[1:]
        elif word in ("-u", "--unset") and len(rest) > 1:
            env.pop(rest[1], None)
            rest = rest[2:]
        elif word.startswith("--unset="):
            env.pop(word.partition("=")[2], None)
            rest = rest[1:]
        elif word in ("-S", "--split-string") and len(rest) > 1:
            rest = _split(rest[1]) + rest[2:]
        elif found := _ASSIGNMENT.match(word):
            env[found[1]] = found[2]
            rest = rest[1:]
        elif word.startswith("-"):
            return None
        else:
            break
    return _unwrap(rest, env, depth - 1)


def _conda_run(conda: str, words: list[str], env: dict[str, str], depth: int) -> Command | None:
    if words[:1] != ["run"]:
        return None
    rest, prefix = words[1:], env.get("CONDA_PREFIX", "")
    while rest and rest[0].startswith("-"):
        option, equals, value = rest.pop(0).partition("=")
        if option in ("-n", "--name", "-p", "--prefix", "--cwd"):
            if not equals:
                if not rest:
                    return None
                value = rest.pop(0)
            if option in ("-p", "--prefix"):
                prefix = value
            elif option != "--cwd":
                prefix = _conda_prefix(value, conda, env)
    return _unwrap(rest, _activated(env, prefix, "CONDA_PREFIX"), depth - 1) if prefix else None


def _conda_prefix(name: str, conda: str, env: Mapping[str, str]) -> str:
    """Where conda keeps the environment of this name; "" where it cannot be found."""
    if "/" in name:
        return name
    program = conda if os.sep in conda else shutil.which(conda, path=env.get("PATH")) or ""
    program = env.get("CONDA_EXE") or program
    roots = [os.path.dirname(os.path.dirname(os.path.realpath(program)))] if program else []
    roots += [root for root in (env.get("MAMBA_ROOT_PREFIX", ""),) if root]
    folders = [os.path.join(root, "envs") for root in roots]
    folders += env.get("CONDA_ENVS_PATH", "").split(":")
    folders += [os.path.join(env["HOME"], ".conda", "envs")] if "HOME" in env else []
    candidates = roots if name == "base" else [os.path.join(f, name) for f in folders if f]
    return next((path for path in candidates if os.path.isdir(path)), "")


def _activated(env: Mapping[str, str], prefix: str, variable: str) -> dict[str, str]:
    path = f"{prefix}/bin:{env.get('PATH', os.defpath)}"
    active = {**env, variable: prefix, "PATH": path}
    if variable == "VIRTUAL_ENV":
        active.pop("PYTHONHOME", None)
    return active


# ---- scripts


def _script(program: str, words: list[str], env: dict[str, str], depth: int) -> Command | None:
    """A file that its first line gives to an interpreter."""
    path = program if os.sep in program else shutil.which(program, path=env.get("PATH"))
    text = _read(path) if path else None
    if text is None or not text.startswith("#!"):
        return None
    first = text.partition("\n")[0][2:].split()
    if not first or path is None:
        return None
    names = {os.path.basename(word) for word in first}
    if names & _SHELLS:
        return _lines(text, words, env, depth)
    return _unwrap([*first, path, *words], env, depth - 1)


def _shell(words: list[str], env: dict[str, str], depth: int) -> Command | None:
    """sh [options] SCRIPT ..., or sh -c TEXT NAME ..."""
    rest = list(words)
    while rest and rest[0].startswith("-"):
        option = rest.pop(0)
        if not option.startswith("--") and option.endswith("c"):
            return _lines(rest[0], rest[2:], env, depth) if rest else None
    text = _read(rest[0]) if rest else None
    return _lines(text, rest[1:], env, depth) if text is not None else None


def _read(path: str) -> str | None:
    try:
        if not os.path.isfile(path):
            return None  # a pipe would never end
        with open(path, "rb") as stream:
            data = stream.read(LARGEST + 1)
    except OSError:
        return None
    try:
        return data.decode("utf-8") if len(data) <= LARGEST else None
    except UnicodeDecodeError:
        return None


def _lines(text: str, arguments: list[str], env: dict[str, str], depth: int) -> Command | None:
    """The Python that a shell's text starts last; None if that depends on more than its lines."""
    found: Command | None = None
    env = dict(env)
    own: dict[str, str] = {}  # variables that no program gets
    for line in text.replace("\\\n", " ").splitlines():
        if "$(" in line or "`" in line:
            return None
        for command in _commands(_split(line)):
            words = _expand(command, arguments, {**env, **own})
            if words is None or words[0] in _BEYOND:
                return None
            if _sets(words, env, own):
                continue
            if words[0] in ("source", ".") or words[0] in _CONDA and words[1:2] == ["activate"]:
                prefix = _activation(words, env)
                if prefix is None:
                    return None
                env = _activated(env, *prefix)
                continue
            given = dict(env)
            while words and (match := _ASSIGNMENT.match(words[0])):
                given[match[1]] = match[2]
                words = words[1:]
            started = _unwrap(words, given, depth - 1)
            if started is not None and len(started.argv) > 1:
                found = started
    return found


def _split(line: str) -> list[str]:
    """The words of a line; of one that is not finished, none that would be understood."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    try:
        return list(lexer)
    except ValueError:
        return ["eval"]


def _commands(words: list[str]) -> list[list[str]]:
    """The commands of a line; what is redirected or piped of one is left out."""
    commands: list[list[str]] = [[]]
    dropped = False
    for word in words:
        if word in _ENDS:
            commands.append([])
            dropped = False
        elif word[:1] in tuple("|&<>()"):
            if word[0] == "(" and not commands[-1]:
                return [["eval"]]
            dropped = True
        elif not dropped:
            commands[-1].append(word)
    return [command for command in commands if command]


def _expand(words: list[str], arguments: list[str], env: Mapping[str, str]) -> list[str] | None:
    found: list[str] = []
    for word in words:
        if word in ("$@", "$*", "${@}"):
            found += arguments
            continue
        unknown = False

        def value(match: re.Match[str]) -> str:
            nonlocal unknown
            name = match[1] or match[2]
            if name.isdigit():
                unknown = unknown or name == "0"
                return arguments[int(name) - 1] if 0 < int(name) <= len(arguments) else ""
            known = env.get(name) or match[3]
            unknown = unknown or known is None
            return known or ""

        word = _VARIABLE.sub(value, word)
        if unknown and not _ASSIGNMENT.match(word):
            return None
        found.append(os.path.expanduser(word) if word.startswith("~") else word)
    return found or None


def _sets(words: list[str], env: dict[str, str], own: dict[str, str]) -> bool:
    """Whether the command only sets or unsets variables; it is done then."""
    if words[0] == "unset":
        for name in words[1:]:
            env.pop(name, None)
            own.pop(name, None)
        return True
    exports = words[0] == "export"
    rest = words[1:] if exports else words
    matches = [(word, _ASSIGNMENT.match(word)) for word in rest]
    if not exports and not all(match for _, match in matches):
        return False
    for word, match in matches:
        name, value = (match[1], match[2]) if match else (word, own.get(word))
        if value is not None:
            # one that programs get already, they go on getting
            (env if exports or name in env else own)[name] = value
            if exports:
                own.pop(name, None)
    return True


def _activation(words: list[str], env: Mapping[str, str]) -> tuple[str, str] | None:
    """(prefix, variable) of `source PREFIX/bin/activate` or `conda activate NAME`."""
    if words[0] in ("source", ".") and len(words) == 2:
        folder, _, name = words[1].rpartition("/")
        if name == "activate" and os.path.basename(folder) == "bin":
            return os.path.dirname(folder), "VIRTUAL_ENV"
    if words[0] in _CONDA and words[1:2] == ["activate"] and len(words) == 3:
        prefix = _conda_prefix(words[2], words[0], env)
        return (prefix, "CONDA_PREFIX") if prefix else None
    return None
