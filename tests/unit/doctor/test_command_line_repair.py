"""gpucamp-doctor --repair, on examinations made by hand and repairs that are really done."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest

from server_ext.doctor import command_line, command_line_repair
from server_ext.doctor.checks import ALL_CHECKS, CATALOGUE
from server_ext.doctor.findings import Finding
from server_ext.doctor.repairs.steps import Repair, Run, SetAside, Unset
from server_ext.doctor.report import Finished, Outcome


class Terminal(io.StringIO):
    """Standard input where somebody sits, and types this."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What is wrong: it goes when it is set aside."""
    made = tmp_path / "site-packages"
    made.mkdir()
    return made


def offer(folder: Path) -> Repair:
    return Repair(
        "here", (SetAside(str(folder)),), ("Moves it.",), ("It.",), ("Back.",), ("Look.",)
    )


@pytest.fixture
def examine(folder: Path) -> Callable[[], Finished]:
    def examined() -> Finished:
        findings = (Finding(CATALOGUE["GC211"], repair=offer(folder)),) if folder.exists() else ()
        others = (
            Finding(CATALOGUE["GC103"], repair=Repair("restart", says=("Restarts.",))),
            Finding(
                CATALOGUE["GC213"], repair=Repair("here", (Unset("LD_PRELOAD"),), ("Unsets.",))
            ),
            Finding(CATALOGUE["GC401"]),
            Finding(CATALOGUE["GC711"], repair=Repair("kernel", says=("Restarts.",))),
            Finding(CATALOGUE["GC411"], repair=Repair("here", (Run(("/nowhere/x",)),), ("Ends.",))),
        )
        outcome = Outcome(ALL_CHECKS[0], (*findings, *others))
        return Finished("2026-11-26T12:00:00+00:00", 1.0, "python3", (outcome,), {})

    return examined


@pytest.fixture
def run(examine: Callable[[], Finished], monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    def run(code: str, typed: str | None = None, *, yes: bool = False) -> int:
        monkeypatch.setattr("sys.stdin", io.StringIO() if typed is None else Terminal(typed))
        return command_line_repair.main(code, yes=yes, examine=examine, gettext=lambda text: text)

    return run


Run_ = Callable[..., int]
Capture = pytest.CaptureFixture[str]


def test_after_yes_it_is_done_and_examined_again(run: Run_, folder: Path, capsys: Capture) -> None:
    assert run("GC211", "y\n") == 0
    said = capsys.readouterr().out
    shown = said.index(f"$ mv -n {folder} {folder}.set-aside")
    assert said.index("Moves it.") < said.index("What is lost: It.") < said.index("Back.") < shown
    assert shown < said.index("[y/N]") < said.index("is now") < said.index("GC211 is mended.")
    assert said.rstrip().endswith("Look.")
    assert not folder.exists()


@pytest.mark.parametrize("typed", ["n\n", "\n", "", "yess\n", "Y E S\n"])
def test_anything_but_yes_is_no(run: Run_, folder: Path, capsys: Capture, typed: str) -> None:
    assert run("GC211", typed) == 1
    assert "Nothing was done." in capsys.readouterr().out
    assert folder.exists()


def test_nobody_is_asked_without_a_terminal(run: Run_, folder: Path, capsys: Capture) -> None:
    assert run("GC211") == 3
    assert "--yes" in capsys.readouterr().err
    assert folder.exists()
    assert run("GC211", yes=True) == 0
    assert "[y/N]" not in capsys.readouterr().out
    assert not folder.exists()


def test_what_is_not_wrong_needs_no_mending(run: Run_, folder: Path, capsys: Capture) -> None:
    folder.rmdir()
    assert run("GC211", "y\n") == 0
    assert "GC211 was not found" in capsys.readouterr().out


def test_a_repair_that_fails_says_why_and_what_is_left(run: Run_, capsys: Capture) -> None:
    assert run("GC411", yes=True) == 1
    said = capsys.readouterr().out
    assert "It could not be started" in said and "is mended" not in said


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("GC103", "stop your server and start it again"),
        ("GC213", "Type here: unset LD_PRELOAD"),
        ("GC401", "cannot mend GC401 by itself"),
        ("GC711", "Kernel > Restart Kernel…"),
    ],
)
def test_what_is_not_done_here_says_where(
    run: Run_, capsys: Capture, code: str, words: str
) -> None:
    assert run(code, "y\n") == 1
    said = capsys.readouterr().out
    assert words in said and "[y/N]" not in said


def test_without_a_code_all_that_is_offered_is_listed(
    run: Run_, folder: Path, capsys: Capture
) -> None:
    assert run("") == 0
    said = capsys.readouterr().out
    assert [line for line in said.splitlines() if line.startswith("GC")] == [
        "GC103",
        "GC211",
        "GC213",
        "GC411",
        "GC711",
    ]
    assert f"mv -n {folder}" in said
    assert folder.exists()


def test_a_code_that_does_not_exist(run: Run_, capsys: Capture) -> None:
    assert run("GC999", yes=True) == 3
    assert "no code GC999" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments", [["--repair", "GC211", "--json"], ["--yes"], ["--yes", "--repair"]]
)
def test_what_makes_no_sense_together(arguments: list[str], capsys: Capture) -> None:
    assert command_line.main(arguments) == 3
    assert "no sense" in capsys.readouterr().err


def test_ctrl_c_at_the_question_does_nothing(
    monkeypatch: pytest.MonkeyPatch, folder: Path, examine: Callable[[], Finished], capsys: Capture
) -> None:
    class Impatient(Terminal):
        def readline(self, *_: object) -> str:
            raise KeyboardInterrupt

    async def examined(*_: object) -> tuple[int, Finished]:
        return 0, examine()

    monkeypatch.setattr("sys.stdin", Impatient())
    monkeypatch.setattr(command_line, "_examine", examined)
    assert command_line.main(["--repair", "gc211", "--locale", "en"]) == 130
    assert folder.exists()
    assert "[y/N]" in capsys.readouterr().out
