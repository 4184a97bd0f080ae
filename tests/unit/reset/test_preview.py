"""What a reset takes away, of homes and environments in any state, in a bounded time."""

from __future__ import annotations

import os
import sysconfig
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from server_ext.reset import outside, preview
from server_ext.reset.package_sizes import package_bytes
from server_ext.reset.packages import layers, metadata, removed_packages, site_folders
from server_ext.reset.preview import Limits, Place
from server_ext.reset.sizes import Budget, measure

NO_MOUNTS: frozenset[str] = frozenset()


def plenty() -> Budget:
    return Budget(10_000, 60.0)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A home with work and an environment that shows the base."""
    site = tmp_path / ".venv" / "lib" / "python3.11" / "site-packages"
    site.mkdir(parents=True)
    (site / "base.pth").write_text(f"# a comment\n\n{sysconfig.get_path('purelib')}\n")
    (tmp_path / "work").mkdir()
    return Place(tmp_path, tmp_path / "work", (str(site),))


def site_of(place: Place) -> Path:
    return Path(place.folders[0])


# -- sizes


def test_a_tree_is_measured_once_whatever_links_are_in_it(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "file").write_bytes(b"x" * 1000)
    os.link(tmp_path / "a" / "file", tmp_path / "same")
    (tmp_path / "loop").symlink_to(".")
    (tmp_path / "out").symlink_to("/")
    os.mkfifo(tmp_path / "pipe")
    tree = measure(str(tmp_path), plenty())
    assert tree is not None
    assert tree.bytes == 1000 + len(".") + len("/") and tree.files == 4
    assert measure(str(tmp_path / "nowhere"), plenty()) is None
    assert measure(str(tmp_path / "a" / "file"), plenty()) is not None
    without = measure(str(tmp_path), plenty(), {str(tmp_path / "a"), str(tmp_path / "same")})
    assert without is not None and without.bytes == 2


def test_a_sparse_file_takes_what_is_written(tmp_path: Path) -> None:
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(2**30)
    tree = measure(str(tmp_path), plenty())
    assert tree is not None and tree.bytes == 2**30 and tree.allocated < 2**20


def test_what_the_budget_does_not_suffice_for_is_not_known(tmp_path: Path) -> None:
    for number in range(10):
        (tmp_path / f"{number}").write_text("x")
    assert measure(str(tmp_path), Budget(9, 60.0)) is None
    assert measure(str(tmp_path), Budget(10, 60.0)) is not None
    assert measure(str(tmp_path), Budget(10_000, 0.0)) is None


# -- packages


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ("a.py,sha256=x,10\nb.py,,5\n", 15),
        ("a.py,sha256=x,ten\n", 0),
        ("a.py,sha256=x,\u0663\n", 0),
        ("a.py,x,-5\na.py,x,99999999999999999999999\n", 0),
        ("../../../../etc/passwd,,\n/etc/passwd,,\n../bin/x,,\n,,\n\n", 0),
        ('"a,b.py",x,7\n', 7),
        ("there.py,,\n", 4),
        ("\x00,,\nthere.py\x00,,\n", 0),
        ("", 0),
    ],
)
def test_sizes_by_record(tmp_path: Path, record: str, expected: int) -> None:
    (tmp_path / "a-1.dist-info").mkdir()
    (tmp_path / "a-1.dist-info" / "RECORD").write_text(record)
    (tmp_path / "there.py").write_text("four")
    assert package_bytes(str(tmp_path), "a-1.dist-info", plenty()) == expected


def test_without_a_record_by_what_is_there(tmp_path: Path) -> None:
    info = tmp_path / "my_one-1.0.dist-info"
    info.mkdir()
    assert package_bytes(str(tmp_path), info.name, plenty()) is None
    (tmp_path / "my_one").mkdir()
    (tmp_path / "my_one" / "a.py").write_text("12345")
    assert package_bytes(str(tmp_path), info.name, plenty()) == 5
    (tmp_path / "top").mkdir()
    (tmp_path / "top" / "b.py").write_text("123")
    (info / "top_level.txt").write_text("top\n../../etc\n")
    assert package_bytes(str(tmp_path), info.name, plenty()) == 3
    assert package_bytes(str(tmp_path), info.name, Budget(0, 60.0)) is None
    os.mkfifo(info / "RECORD")
    assert package_bytes(str(tmp_path), info.name, plenty()) == 3


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200))
def test_any_record_gives_a_size_or_none(tmp_path: Path, record: bytes) -> None:
    (tmp_path / "a-1.dist-info").mkdir(exist_ok=True)
    (tmp_path / "a-1.dist-info" / "RECORD").write_bytes(record)
    size = package_bytes(str(tmp_path), "a-1.dist-info", plenty())
    assert size is None or size >= 0


def test_the_base_is_there_as_long_as_one_pth_leads_to_it(place: Place) -> None:
    base, folders = sysconfig.get_path("purelib"), list(place.folders)
    assert removed_packages(base, folders) == {}
    site = site_of(place)
    (site / "base.pth").rename(site / "base.pth.off")
    (site / "pytest-0.1.dist-info").mkdir()
    removed = removed_packages(base, folders)
    assert "hypothesis" in removed and "pytest" not in removed
    (site / "relative.pth").write_text(os.path.relpath(base, site))
    assert removed_packages(base, folders) == {}
    assert removed_packages(base, []) == {} and removed_packages(base, [base]) == {}
    assert layers(base, [base, *folders]) == folders


@pytest.mark.parametrize("wreck", ["gone", "file", "loop", "odd"])
def test_an_environment_that_is_none(tmp_path: Path, wreck: str) -> None:
    prefix = tmp_path / "venv"
    if wreck == "file":
        prefix.write_text("x")
    if wreck == "loop":
        prefix.symlink_to("venv")
    if wreck == "odd":
        (prefix / "lib").mkdir(parents=True)
        (prefix / "lib" / "python3.11").write_text("x")
    assert site_folders(prefix) == []
    assert metadata(str(prefix)) == {}


# -- outside


def names(home: Path, mounts: frozenset[str] = NO_MOUNTS) -> list[tuple[str, int | None, bool]]:
    found = outside.look(home, plenty(), mounts)["files"]
    return [(one["path"], one["bytes"], one["folder"]) for one in found]


def test_only_ones_own_is_outside(tmp_path: Path) -> None:
    for name in (".venv/x", ".bashrc", ".cache/y", "work/z", "__pycache__/p", "lost+found/q"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    (tmp_path / "empty" / "deeper").mkdir(parents=True)
    assert names(tmp_path) == []
    (tmp_path / "b" / "c").mkdir(parents=True)
    (tmp_path / "b" / "c" / "d").write_text("12345")
    (tmp_path / "a").write_text("1")
    (tmp_path / "link").symlink_to("b")
    assert names(tmp_path) == [("a", 1, False), ("b", 5, True), ("link", 1, False)]
    for mounted in ("b", "b/c", "b/c/d"):
        assert names(tmp_path, frozenset({f"{tmp_path}/{mounted}"})) == [
            ("a", 1, False),
            ("link", 1, False),
        ]


def test_more_than_is_named(tmp_path: Path) -> None:
    for number in range(outside.MOST + 7):
        (tmp_path / f"{number:03}").write_text("x")
    found = outside.look(tmp_path, plenty(), NO_MOUNTS)
    assert len(found["files"]) == outside.MOST
    assert found["more"] == 7 and found["bytes"] is None


def test_what_is_too_much_is_named_all_the_same(tmp_path: Path) -> None:
    for name in ("a/1", "a/2", "a/3", "b/1", "c"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    found = outside.look(tmp_path, Budget(2, 60.0), NO_MOUNTS)
    assert [one["path"] for one in found["files"]] == ["a", "b", "c"]
    assert found["files"][0]["bytes"] is None and found["bytes"] is None


def test_mount_points(tmp_path: Path) -> None:
    table = tmp_path / "mountinfo"
    table.write_text(
        "36 35 98:0 / / rw - ext4 /dev/root rw\n"
        "37 36 98:0 /x /home/jovyan/my\\040files\\134 rw,noatime shared:1 - ext4 /dev/root rw\n"
        "odd\n"
    )
    assert outside.mount_points(str(table)) == {"/", "/home/jovyan/my files\\"}
    assert outside.mount_points(str(tmp_path / "nowhere")) == frozenset()
    assert "/" in outside.mount_points()


# -- all together


def test_a_home_in_any_state_is_told_in_the_same_form(place: Place) -> None:
    site = site_of(place)
    for package in ("six-9", "idna-9", "loop-1"):
        (site / f"{package}.dist-info").mkdir()
    os.mkfifo(site / "six-9.dist-info" / "RECORD")
    os.mkfifo(site / "idna-9.dist-info" / "direct_url.json")
    (site / "loop-1.dist-info" / "RECORD").symlink_to("RECORD")
    os.mkfifo(site / "a.pth")
    (place.home / "data").symlink_to("data")
    seen = preview.look(place, Limits())
    assert {one["name"] for one in seen["changed_packages"]} == {"six", "idna", "loop"}
    assert [one["path"] for one in seen["outside"]["files"]] == ["data"]
    assert isinstance(seen["environment_bytes"], int)
    seen = preview.look(place, Limits(entries=1))
    assert seen["environment_bytes"] is None
    assert {one["name"] for one in seen["changed_packages"]} == {"six", "idna", "loop"}
    nothing = preview.look(Place(place.home / "nowhere", place.work, ()), Limits())
    assert set(nothing) == set(seen) == set(preview.NOTHING_KNOWN)
    assert nothing["environment_bytes"] is None and nothing["outside"]["bytes"] is None


def test_work_is_no_part_of_the_environments_size(place: Place) -> None:
    before = preview.look(place, Limits())["environment_bytes"]
    (place.work / "large").write_bytes(os.urandom(2**20))
    assert preview.look(place, Limits())["environment_bytes"] == before
    (place.home / "large").write_bytes(os.urandom(2**20))
    assert preview.look(place, Limits())["environment_bytes"] >= before + 2**20
