"""Where a variable is set."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from server_ext.doctor import origins

LIBRARIES = "LD_LIBRARY_PATH"
ENVIRON = {LIBRARIES: "/x:/y", "HOME": "/home/ada", "BASE": "/y"}


@pytest.mark.parametrize(
    ("line", "entries"),
    [
        ("export LD_LIBRARY_PATH=/x", ("/x",)),
        ("  LD_LIBRARY_PATH=/x  # mine", ("/x",)),
        ('export LD_LIBRARY_PATH="/x:$LD_LIBRARY_PATH"', ("/x",)),
        ("export LD_LIBRARY_PATH=${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}/x", ("/x",)),
        ("declare -x LD_LIBRARY_PATH='/x /z'", ("/x", "/z")),
        ("export LD_LIBRARY_PATH=$BASE/lib:~/lib", ("/y/lib", "/home/ada/lib")),
        ("export LD_LIBRARY_PATH=", ()),
        # anything else is not to be touched
        ("LD_LIBRARY_PATH=/x python train.py", None),
        ("export LD_LIBRARY_PATH=/x A=b", None),
        ("export LD_LIBRARY_PATH=/x; echo", None),
        ("[ -d /x ] && export LD_LIBRARY_PATH=/x", None),
        ("export LD_LIBRARY_PATH=$(pwd)", None),
        ("export LD_LIBRARY_PATH=`pwd`", None),
        ("export LD_LIBRARY_PATH=/x \\", None),
        ("export LD_LIBRARY_PATH='/x", None),
        ("export MY_LD_LIBRARY_PATH=/x", None),
        ("export LD_LIBRARY_PATH", None),
        ("# export LD_LIBRARY_PATH=/x", None),
        (": # export LD_LIBRARY_PATH=/x", None),
        ("echo LD_LIBRARY_PATH=/x", None),
    ],
)
def test_only_a_plain_assignment_counts(line: str, entries: tuple[str, ...] | None) -> None:
    assert origins.assigned(LIBRARIES, line, ENVIRON) == entries


def test_a_kernels_settings_override_the_rest(tmp_path: Path) -> None:
    (tmp_path / ".bashrc").write_text("export LD_LIBRARY_PATH=/x\nexport LD_PRELOAD=/p.so\n")
    settings = tmp_path / "kernel.json"
    settings.write_text("{}")
    environ = {LIBRARIES: "/x", "LD_PRELOAD": "/p.so", "PYTHONPATH": "/q"}
    names = [*environ, "CUDA_VISIBLE_DEVICES"]
    found = origins.find(names, environ, str(tmp_path), {LIBRARIES: "/x"}, str(settings))
    assert found == {
        LIBRARIES: {"settings": str(settings), "lines": []},
        "LD_PRELOAD": {
            "settings": "",
            "lines": [
                {
                    "file": str(tmp_path / ".bashrc"),
                    "number": 2,
                    "text": "export LD_PRELOAD=/p.so",
                    "entries": ["/p.so"],
                }
            ],
        },
    }


def test_a_line_without_part_in_the_value_of_now_is_not_where_it_comes_from(tmp_path: Path) -> None:
    (tmp_path / ".profile").write_text(
        "export LD_LIBRARY_PATH=/other\n"
        "export LD_LIBRARY_PATH=\\\n"
        "export LD_LIBRARY_PATH=/y\n"  # goes on from the line before
        "export LD_LIBRARY_PATH=/y:$LD_LIBRARY_PATH\n"
    )
    found = origins.find([LIBRARIES], ENVIRON, str(tmp_path), {}, "")
    assert [line["number"] for line in found[LIBRARIES]["lines"]] == [4]  # type: ignore[index]


def test_files_that_are_none(tmp_path: Path) -> None:
    line = "export LD_LIBRARY_PATH=/x\n"
    os.mkfifo(tmp_path / ".profile")
    (tmp_path / ".zshrc").mkdir()
    (tmp_path / ".zshenv").write_text(line + "x" * 2**19)
    (tmp_path / ".bashrc").write_text(line)
    (tmp_path / ".bash_profile").symlink_to(".bashrc")
    found = origins.find([LIBRARIES], ENVIRON, str(tmp_path), {}, "")
    assert [line["file"] for line in found[LIBRARIES]["lines"]] == [  # type: ignore[index]
        str(tmp_path / ".bash_profile")
    ]
    assert origins.find([LIBRARIES], ENVIRON, "", {}, "") == {}


def test_an_empty_value_comes_from_an_empty_assignment(tmp_path: Path) -> None:
    name = "CUDA_VISIBLE_DEVICES"
    (tmp_path / ".bashrc").write_text(f"export {name}=\n")
    found = origins.find([name], {name: ""}, str(tmp_path), {}, "")
    assert found[name]["lines"]  # type: ignore[index]
    assert not origins.find([name], {name: "0"}, str(tmp_path), {}, "")


def test_what_is_left_of_a_value() -> None:
    assert origins.without("/x:/y: /z", ["/y"]) == "/x:/z"
    assert origins.without("/x", ["/x"]) == ""
