"""docs/ddp.md leaves out no ending, advice, variable or address, and names none too many."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

from server_ext.ddp import diagnosis, files, handlers, hang, launch_plan, preflight
from server_ext.ddp.launch_request import LaunchRequest
from server_ext.ddp.remarks import MESSAGES
from server_ext.ddp.signatures import SIGNALS, SIGNATURES
from server_ext.lease import handlers as lease
from server_ext.reset import handlers as reset

TEXT = (Path(__file__).parents[3] / "docs" / "ddp.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    return TEXT.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def first_cells(text: str) -> set[str]:
    """The words in backticks of each row's first cell."""
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    return {word for row in rows for word in re.findall(r"`([^`]+)`", row.split(" | ")[0])}


def codes_in(module: ModuleType) -> set[str]:
    source = Path(str(module.__file__)).read_text(encoding="utf-8")
    return set(re.findall(r'(?:Advice|Diagnosis)\(\s*"([a-z-]+)"', source))


def test_every_ending() -> None:
    codes = {one.code for one in SIGNATURES} | {one[0] for one in SIGNALS.values()}
    assert first_cells(section("When it fails")) == codes | codes_in(diagnosis)


def test_every_hang() -> None:
    assert first_cells(section("When it hangs")) == set(hang.CAUSES) == set(hang.FIXES)
    assert set(hang.DOING) == hang.places.KINDS


def test_every_advice() -> None:
    codes = codes_in(preflight) | codes_in(launch_plan) | codes_in(files)
    assert len(codes) > 10
    assert first_cells(section("A script for DDP")) == codes


def test_every_remark() -> None:
    assert first_cells(section("What a run that ended well should still hear")) == MESSAGES.keys()


def test_every_variable() -> None:
    plan = launch_plan.make_plan(
        LaunchRequest("x"),
        launch_plan.Script("/x.py", "x.py", "/"),
        launch_plan.Machine(2, ("GPU-a",), True, ("torchrun",), "/python", "/runs"),
        "20260131-120000-1a2b3c",
    )
    assert first_cells(section("What is run")) == set(plan.env)


def test_every_address() -> None:
    served = {
        (verb.upper(), re.sub(r"\(\?P<(\w+)>[^)]*\)", r"{\1}", pattern))
        for pattern, handler in [*handlers.handlers, *reset.handlers, *lease.handlers]
        for verb in ("get", "post", "put", "patch", "delete")
        if verb in vars(handler)
    }
    assert set(re.findall(r"^\| (\w+) \| `([^`]+)` \|", section("REST"), re.MULTILINE)) == served
