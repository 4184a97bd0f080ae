"""Where PostgreSQL's programs are, and when the package is installed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest

from setup_host import apt, postgres
from setup_host.errors import SetupError


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


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A Debian without PostgreSQL, and what apt was asked for with which setting in force."""
    conf = tmp_path / "createcluster.conf"
    conf.write_text("#create_main_cluster = true\n", encoding="ascii")
    asked: list[tuple[tuple[str, ...], bool]] = []

    def install(_settings: object, _progress: object, packages: Sequence[str]) -> None:
        asked.append((tuple(packages), "\ncreate_main_cluster = false\n" in conf.read_text()))

    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(postgres.bin_folder, "__defaults__", ((tmp_path / "lib",),))
    monkeypatch.setattr(postgres, "_CLUSTER_SETTINGS", conf)
    monkeypatch.setattr(apt, "may_install", lambda: True)
    monkeypatch.setattr(apt, "install", install)
    return SimpleNamespace(conf=conf, asked=asked, lib=tmp_path / "lib")


def ensure() -> None:
    postgres.ensure(None, None)  # type: ignore[arg-type]  # apt, replaced above, has no use for them


def test_the_package_is_installed_without_a_cluster_of_its_own(host: SimpleNamespace) -> None:
    ensure()
    assert host.asked == [(("postgresql-common",), False), (("postgresql",), True)]
    assert host.conf.read_text() == "#create_main_cluster = true\n", "as it was"


def test_what_is_there_is_not_installed(host: SimpleNamespace) -> None:
    make(host.lib / "17" / "bin", "initdb", "postgres")
    ensure()
    assert host.asked == []


def test_a_failure_leaves_the_hosts_settings_as_they_were(
    host: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_settings: object, _progress: object, packages: Sequence[str]) -> None:
        if tuple(packages) == postgres.PACKAGES:
            raise SetupError("apt-get could not install", "look")

    monkeypatch.setattr(apt, "install", fail)
    with pytest.raises(SetupError):
        ensure()
    assert host.conf.read_text() == "#create_main_cluster = true\n"


def test_who_may_not_install_is_told_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "bin_folder", lambda: None)
    monkeypatch.setattr(apt, "may_install", lambda: False)
    with pytest.raises(SetupError) as caught:
        ensure()
    assert "apt-get install postgresql`" in caught.value.remedy
