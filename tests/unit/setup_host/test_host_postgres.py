"""Where PostgreSQL's programs are, and when the package is installed."""

from __future__ import annotations

from pathlib import Path

import pytest

from setup_host import apt, postgres


def make(folder: Path, *programs: str) -> Path:
    folder.mkdir(parents=True)
    for program in programs:
        (folder / program).touch(mode=0o755)
    return folder


def test_the_newest_version_is_taken(tmp_path: Path) -> None:
    for version in ("9.6", "15", "17"):
        make(tmp_path / version / "bin", "initdb", "postgres")
    make(tmp_path / "18" / "bin", "psql")  # the client alone
    assert postgres.bin_folder([tmp_path]) == tmp_path / "17" / "bin"


def test_elsewhere_it_is_in_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = make(tmp_path / "real", "initdb", "postgres")
    links = make(tmp_path / "links")
    (links / "initdb").symlink_to(real / "initdb")
    monkeypatch.setenv("PATH", str(links))
    assert postgres.bin_folder([tmp_path / "none"]) == real


@pytest.mark.parametrize("present", [True, False])
def test_the_package_is_installed_only_where_it_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, present: bool
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    folders = (make(tmp_path / "17" / "bin", "initdb", "postgres").parents[1],) if present else ()
    monkeypatch.setattr(postgres.bin_folder, "__defaults__", (folders,))
    installed: list[object] = []
    monkeypatch.setattr(apt, "install", lambda _s, _p, packages: installed.append(packages))
    postgres.ensure(None, None)  # type: ignore[arg-type]
    assert installed == ([] if present else [("postgresql",)])
