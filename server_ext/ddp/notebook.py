"""A notebook's code as a script that torchrun can start. Pure.

A script has no IPython around it, so what only IPython understands (magics, shell lines) is turned
into Python where that means the same, left out where a training run does not miss it, and named as
an obstacle otherwise. IPython itself says what is a magic; nothing of the notebook is run.

Guarantees: the script is valid Python that never calls IPython; every other line is there as it
was, in order; what was left out is a comment in the script and a line of the answer; with an
obstacle there is no script. Any JSON is an acceptable input.
"""

from __future__ import annotations

import ast
import re
import shlex
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from IPython.core.inputtransformer2 import TransformerManager

from ..errors import BadRequest
from ..i18n import N_, Gettext
from .source_edits import SourceEdits

SHOWN = 120  # characters of a line that is quoted


@dataclass(frozen=True)
class Remark:
    """About a line of a cell. cell: from 1, as the notebook counts all of its cells; line: from 1
    within it; code: the line; message: a msgid.
    """

    cell: int
    line: int
    code: str
    message: str
    params: Mapping[str, object] = field(default_factory=dict)

    def view(self, gettext: Gettext) -> dict[str, Any]:
        """As the REST interface shows it, in a language."""
        return {
            "cell": self.cell,
            "line": self.line,
            "code": self.code,
            "message": gettext(self.message).format(**self.params),
        }


@dataclass(frozen=True)
class Converted:
    """script: "" where there are obstacles; left_out: what a run does without."""

    script: str
    left_out: tuple[Remark, ...] = ()
    obstacles: tuple[Remark, ...] = ()


_SHOWS = N_("It only shows something, and a run does not need it.")
_INSTALLS = N_("It changes the environment, which every process would do: do it once, by hand.")
_SETS_IPYTHON = N_("It sets up the notebook only.")
_WRITES = N_("It writes a file, which every process would do: run the cell once, by hand.")
_IS_SHELL = N_(
    "A shell command would run in every process: do it before the launch and delete the line, or "
    "write it in Python for rank 0 only."
)
_IS_MAGIC = N_("{name} exists in notebooks only: delete the line, or write it in Python.")
_USES_RESULT = N_("Its result comes from the notebook: write it in Python.")
_AWAITS = N_("A script cannot await at its top level: use asyncio.run().")
_NO_PYTHON = N_("Python cannot read it: {reason}.")

# line magics that a training script does without
_LEFT_OUT = {
    **dict.fromkeys(
        ("autoreload", "colors", "config", "load_ext", "matplotlib", "pylab", "precision")
        + ("reload_ext", "unload_ext", "xmode", "automagic", "autosave", "autocall", "tensorboard"),
        _SETS_IPYTHON,
    ),
    **dict.fromkeys(
        ("pinfo", "pinfo2", "psearch", "pdoc", "pdef", "psource", "pfile", "who", "whos")
        + ("who_ls", "lsmagic", "quickref", "magic", "pwd", "ls", "ll", "cat", "history", "page")
        + ("memit", "more", "less", "pprint", "pdb", "debug", "env_list"),
        _SHOWS,
    ),
    **dict.fromkeys(("pip", "conda", "mamba", "micromamba", "uv"), _INSTALLS),
}
# cell magics around Python that is run all the same
_AROUND = frozenset({"capture", "time", "timeit", "prun", "memit"})
# cell magics whose text is not Python, and which only show something
_SHOWN_CELLS = frozenset({"html", "HTML", "javascript", "js", "latex", "markdown", "SVG", "svg"})

# shell commands that only show something, whatever their arguments
_SHOWING = frozenset(
    {"cat", "cal", "date", "df", "du", "echo", "env", "file", "free", "head", "hostname", "ls"}
    | {"lscpu", "nproc", "nvcc", "nvidia-smi", "printenv", "ps", "pwd", "tail", "top", "tree"}
    | {"uname", "uptime", "wc", "which", "whoami", "grep", "sort"}
)
_INSTALLING = frozenset({"pip", "pip3", "conda", "mamba", "micromamba", "uv", "apt", "apt-get"})


def convert(notebook: object, name: str) -> Converted:
    """The script of a notebook.

    notebook: the decoded JSON of an .ipynb file. name: for the script's first line.
    Raises BadRequest where it is no notebook with Python code.
    """
    cells = _cells(notebook)
    pieces, left_out, obstacles = [], [], []
    needs: set[str] = set()
    for number, source in cells:
        piece = _Cell(number, source)
        pieces.append(piece)
        left_out += piece.left_out
        obstacles += piece.obstacles
        needs |= piece.needs
    if not any(piece.text.strip() for piece in pieces) and not obstacles:
        raise BadRequest(N_("{name} has no code."), name=name)
    if obstacles:
        return Converted("", tuple(left_out), tuple(obstacles))
    future = [line for piece in pieces for line in piece.future]
    bound = {word for piece in pieces for word in piece.binds}
    header = [f"# The code of {_one_line(name)}, as a script for torchrun.", *dict.fromkeys(future)]
    if "os" in needs:
        header.append("import os")
    if "display" in needs and "display" not in bound:
        header.append("from IPython.display import display")
    body = [f"# %% cell {piece.number}\n{piece.text}" for piece in pieces if piece.text.strip()]
    return Converted("\n".join(header) + "\n\n" + "\n\n".join(body) + "\n", tuple(left_out))


def _cells(notebook: object) -> Iterator[tuple[int, str]]:
    """Number and source of the code cells."""
    if not isinstance(notebook, Mapping):
        raise BadRequest(N_("This is not a notebook."))
    metadata = notebook.get("metadata")
    language = None
    for place, key in (("language_info", "name"), ("kernelspec", "language")):
        part = metadata.get(place) if isinstance(metadata, Mapping) else None
        language = language or (part.get(key) if isinstance(part, Mapping) else None)
    if isinstance(language, str) and language.lower() not in ("python", "python3", "ipython"):
        raise BadRequest(N_("Its language is {language}, not Python."), language=language[:40])
    cells = notebook.get("cells")
    if not isinstance(cells, list):
        raise BadRequest(
            N_("This is not a notebook, or one of before 2015: open it in JupyterLab and save it.")
        )
    for number, cell in enumerate(cells, 1):
        if not isinstance(cell, Mapping) or cell.get("cell_type") != "code":
            continue
        source = cell.get("source", "")
        if isinstance(source, list):
            source = "".join(line for line in source if isinstance(line, str))
        if isinstance(source, str) and source.strip():
            # as Python counts lines
            yield number, source.replace("\r\n", "\n").replace("\r", "\n")


class _Cell:
    """One cell's code, made ready. text: the Python; needs: "os", "display" where that must be
    imported; binds: names that it defines; future: its `from __future__` lines.
    """

    def __init__(self, number: int, source: str) -> None:
        self.number = number
        self.text = ""
        self.left_out: list[Remark] = []
        self.obstacles: list[Remark] = []
        self.needs: set[str] = set()
        self.binds: set[str] = set()
        self.future: list[str] = []
        self._source = source.split("\n")
        self._read(source, 0)

    def _read(self, source: str, above: int) -> None:
        """above: lines of the cell that precede this source."""
        first = source.lstrip().split("\n", 1)[0]
        if first.startswith("%%"):
            self._cell_magic(source, first, above)
            return
        try:
            python = TransformerManager().transform_cell(source)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of invalid escapes, which are the user's own
                tree = ast.parse(python)
        except SyntaxError as error:
            reason = error.msg or "invalid syntax"
            self._obstacle((error.lineno or 1) + above, _NO_PYTHON, reason=reason)
            return
        except (ValueError, RecursionError, MemoryError) as error:
            self._obstacle(1 + above, _NO_PYTHON, reason=type(error).__name__)
            return
        self._python(python, tree, above)

    def _cell_magic(self, source: str, first: str, above: int) -> None:
        name = first[2:].split(None, 1)[0] if first[2:].strip() else ""
        head = len(source) - len(source.lstrip())
        lines = source[:head].count("\n") + 1
        body = source.lstrip().split("\n", 1)[1] if "\n" in source.lstrip() else ""
        if name in _AROUND:
            self._leave_out(above + lines, _SHOWS)
            self._read(body, above + lines)
        elif name == "writefile" or name == "file":
            self._leave_out(above + lines, _WRITES)
        elif name in _SHOWN_CELLS:
            self._leave_out(above + lines, _SHOWS)
        elif name in ("bash", "sh", "script", "system", "sx", "!"):
            self._obstacle(above + lines, _IS_SHELL)
        else:
            self._obstacle(above + lines, _IS_MAGIC, name=f"%%{name[:40]}")

    def _python(self, python: str, tree: ast.Module, above: int) -> None:
        edits: list[tuple[ast.stmt, str]] = []
        handled: set[int] = set()
        for node in _statements(tree):
            if isinstance(node, ast.ImportFrom) and node.module == "__future__":
                names = ", ".join(alias.name for alias in node.names)
                self.future.append(f"from __future__ import {names}")
                edits.append((node, "pass"))
            call = _ipython_call(node.value) if isinstance(node, ast.Expr) else None
            if call is None:
                continue
            handled.add(id(call[2]))
            edits.append((node, self._statement(call[0], call[1], node.lineno + above)))
        for part in ast.walk(tree):
            if isinstance(part, ast.Name) and part.id == "get_ipython":
                if id(part) not in handled:
                    self._obstacle(part.lineno + above, _USES_RESULT)
            elif isinstance(part, ast.Name) and isinstance(part.ctx, ast.Load):
                self.needs |= {"display"} & {part.id}
            elif isinstance(part, ast.Name):
                self.binds.add(part.id)
            elif isinstance(part, (ast.FunctionDef, ast.ClassDef, ast.AsyncFunctionDef)):
                self.binds.add(part.name)
            elif isinstance(part, ast.alias):
                self.binds.add((part.asname or part.name).split(".")[0])
        for line in _awaits(tree):
            self._obstacle(line + above, _AWAITS)
        self.text = _edited(python, edits).strip("\n")

    def _statement(self, method: str, arguments: list[str], line: int) -> str:
        """The Python for a line that IPython alone understands."""
        if method == "system":
            return self._shell(arguments[0] if arguments else "", line)
        if method != "run_line_magic" or not arguments:
            self._obstacle(line, _USES_RESULT)
            return "pass"
        name, rest = arguments[0], " ".join(arguments[1:]).strip()
        if name in ("time", "timeit", "prun") and not rest.startswith("-"):
            try:
                ast.parse(rest)
            except (SyntaxError, ValueError, RecursionError):
                self._obstacle(line, _IS_MAGIC, name=f"%{name}")
                return "pass"
            return rest or "pass"
        if name in _LEFT_OUT:
            return self._leave_out(line, _LEFT_OUT[name])
        if name in ("env", "set_env", "cd"):
            return self._setting(name, rest, line)
        self._obstacle(line, _IS_MAGIC, name=f"%{name[:40]}")
        return "pass"

    def _setting(self, name: str, rest: str, line: int) -> str:
        """%env and %cd, which Python has, too."""
        key, sign, value = rest.partition("=")
        if not sign:
            key, _, value = rest.partition(" ")
        if name != "cd" and (not rest or not value):
            return self._leave_out(line, _SHOWS)
        if re.search(r"[${}]", rest) or (name == "cd" and (not rest or rest.startswith("-"))):
            self._obstacle(line, _IS_MAGIC, name=f"%{name}")
            return "pass"
        self.needs.add("os")
        if name == "cd":
            return f"os.chdir(os.path.expanduser({rest.strip(chr(34) + chr(39))!r}))"
        return f"os.environ[{key.strip()!r}] = {value.strip()!r}"

    def _shell(self, command: str, line: int) -> str:
        programs = _programs(command)
        if programs and programs <= _SHOWING:
            return self._leave_out(line, _SHOWS)
        if programs and programs <= _SHOWING | _INSTALLING:
            return self._leave_out(line, _INSTALLS)
        self._obstacle(line, _IS_SHELL)
        return "pass"

    def _leave_out(self, line: int, why: str) -> str:
        line, code = self._place(line)
        self.left_out.append(Remark(self.number, line, code, why))
        return f"pass  # left out: {_one_line(code)}"

    def _obstacle(self, line: int, why: str, **params: object) -> None:
        line, code = self._place(line)
        self.obstacles.append(Remark(self.number, line, code, why, params))

    def _place(self, line: int) -> tuple[int, str]:
        """A line's number in the cell and its text. IPython joins lines that a backslash continues,
        so the number may be too small by as many.
        """
        joined = 0
        for index, text in enumerate(self._source):
            if index - joined + 1 == line:
                return index + 1, text.strip()[:SHOWN]
            joined += text.lstrip().startswith(("!", "%")) and text.endswith("\\")
        return line, ""


def _statements(tree: ast.Module) -> Iterator[ast.stmt]:
    for node in ast.walk(tree):
        if isinstance(node, ast.stmt):
            yield node


def _ipython_call(node: ast.expr) -> tuple[str, list[str], ast.Name] | None:
    """Method, arguments and the name `get_ipython` of `get_ipython().method("…", …)`."""
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
        return None
    maker = node.func.value
    if not (isinstance(maker, ast.Call) and isinstance(maker.func, ast.Name)):
        return None
    words = [part.value for part in node.args if isinstance(part, ast.Constant)]
    texts = [word for word in words if isinstance(word, str)]
    if maker.func.id != "get_ipython" or len(texts) != len(node.args) or node.keywords:
        return None
    return node.func.attr, texts, maker.func


def _awaits(tree: ast.Module) -> Iterator[int]:
    """Lines that await outside of any function."""
    stack: list[ast.AST] = [tree]
    while stack:
        node = stack.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            continue
        if isinstance(node, (ast.Await, ast.AsyncFor, ast.AsyncWith)):
            yield node.lineno
        stack.extend(ast.iter_child_nodes(node))


def _programs(command: str) -> set[str]:
    """What a shell line starts; nothing where that is not certain."""
    if re.search(r"[<>`{}()]|\$\(", command):
        return set()
    found = set()
    for part in re.split(r"\|\||&&|[|;&]", command):
        try:
            words = [word for word in shlex.split(part) if not re.match(r"\w+=", word)]
        except ValueError:
            return set()
        if not words:
            return set()
        if words[0].startswith("python") and words[1:3] == ["-m", "pip"]:
            words = words[2:]
        found.add(words[0])
    return found


def _edited(python: str, edits: list[tuple[ast.stmt, str]]) -> str:
    """The code with statements replaced."""
    text = SourceEdits(python)
    for node, new in edits:
        code, sign, _ = new.partition("  # ")
        if sign and not text.ends_its_line(node):
            new = code  # a comment would hide what follows in this line
        indent = text.indent_of(node) if text.begins_its_line(node) else ""
        text.replace(node, new.replace("\n", f"\n{indent}"))
    return text.applied()


def _one_line(text: str) -> str:
    return " ".join(text.split())
