"""Which Python a program starts that starts a Python."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server_ext.doctor.kernel import resolve
from server_ext.doctor.launchers import LARGEST, unwrap

MODULE = ["-m", "ipykernel_launcher", "-f", "{connection_file}"]
ENV = {"PATH": "/bin", "HOME": "/h", "A": "a"}


@pytest.mark.parametrize(
    ("argv", "python", "changes"),
    [
        (["/usr/bin/env", "python"], "python", {}),
        (["env", "B=b", "-u", "A", "--unset=X", "python3"], "python3", {"B": "b", "A": None}),
        (["env", "-S", "B=b python3"], "python3", {"B": "b"}),
        (["nice", "-n", "5", "nohup", "/v/bin/python"], "/v/bin/python", {}),
        (["taskset", "-c", "0-3", "ionice", "-c", "3", "python3.11"], "python3.11", {}),
        (["timeout", "-k", "5", "3600", "stdbuf", "-oL", "python"], "python", {}),
        (["bash", "-lc", "exec python3 $0 \"$@\""], None, {}),
        (["sh", "-c", "B=b exec /v/bin/python \"$@\"", "sh"], "/v/bin/python", {"B": "b"}),
        (["conda", "run", "-p", "/c", "python"], "python", {"CONDA_PREFIX": "/c"}),
        (
            ["conda", "run", "--no-capture-output", "--prefix=/c", "python"],
            "python",
            {"PATH": "/c/bin:/bin"},
        ),
        (["conda", "run", "-n", "gone", "python"], None, {}),
        (["conda", "list", "python"], None, {}),
        (["env", "--chdir=/x", "python"], None, {}),
        (["R", "--slave"], None, {}),
        (["/no/such/script"], None, {}),
        (["env"], None, {}),
        ([], None, {}),
    ],
)  # fmt: skip
def test_the_python_behind(argv: list[str], python: str | None, changes: dict[str, str]) -> None:
    found = unwrap([*argv, *MODULE], ENV)
    if python is None:
        assert found is None
        return
    assert found is not None
    assert list(found.argv) == [python, *MODULE]
    for name, value in changes.items():
        assert found.env.get(name) == value


SCRIPTS = {
    "all given on": 'exec /v/bin/python "$@"',
    "its own module": "/v/bin/python -m ipykernel_launcher -f $4",
    "with variables": 'B=x\nexport B=b LD_LIBRARY_PATH=/x:$LD_LIBRARY_PATH\n/v/bin/python "$@"',
    "of its own only": 'LD_LIBRARY_PATH=/x\nB=b\nexport B\nexec "/v/bin/python" "$@"',
    "unset again": "export B=b LD_LIBRARY_PATH=/x\nunset LD_LIBRARY_PATH\n/v/bin/python $*",
    "lines and comments": '# python of the class\nset -e\necho hello >&2\n/v/bin/python \\\n "$@"',
    "activated": 'source /v/bin/activate\nexec python "$@"',
    "one line": 'cd /tmp && export B=b; exec nice /v/bin/python "$@" 2>> log',
}


@pytest.mark.parametrize("name", SCRIPTS)
@pytest.mark.parametrize("first", ["#!/bin/bash", "#!/usr/bin/env bash", "#!/bin/sh -l"])
def test_a_script(tmp_path: Path, name: str, first: str) -> None:
    script = tmp_path / "start"
    script.write_text(f"{first}\n{SCRIPTS[name]}\n")
    found = unwrap([str(script), *MODULE], ENV)
    assert found is not None
    assert found.argv[0] == ("python" if name == "activated" else "/v/bin/python")
    assert "ipykernel_launcher" in found.argv
    if "B=b" in SCRIPTS[name]:
        assert found.env["B"] == "b"
    if name == "activated":
        assert found.env["PATH"] == "/v/bin:/bin" and found.env["VIRTUAL_ENV"] == "/v"


@pytest.mark.parametrize(
    "text",
    [
        "if [ -e /x ]; then export B=b; fi\npython $@",
        "[ -e /x ] && export B=b\npython $@",
        "export B=$(date)\npython $@",
        "export B=`date`\npython $@",
        "module load cuda\npython $@",
        "source /etc/profile\npython $@",
        "conda activate gone\nfor x in 1; do python $@; done",
        '(python "$@")',
        "$PYTHON $@",
        "python 'unfinished",
        "python",
        "ssh host python $@",
        "",
    ],
)
def test_what_cannot_be_followed_is_not_guessed(tmp_path: Path, text: str) -> None:
    script = tmp_path / "start"
    script.write_text(f"#!/bin/bash\n{text}\n")
    assert unwrap([str(script), *MODULE], ENV) is None


def test_files_that_are_no_scripts(tmp_path: Path) -> None:
    start = tmp_path / "start"
    start.write_bytes(b"\x7fELF\xff\xfe")
    assert unwrap([str(start)], ENV) is None
    start.write_text("#!/bin/sh\n" + "#" * LARGEST + '\npython "$@"')
    assert unwrap([str(start)], ENV) is None
    start.write_text(f"#!{start}\n")  # itself
    assert unwrap([str(start)], ENV) is None
    assert unwrap([str(tmp_path)], ENV) is None
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    assert unwrap([str(fifo)], ENV) is None


@pytest.mark.parametrize(
    "first", ["#!/v/bin/python", "#!/usr/bin/env python", "#! /v/bin/python -X utf8"]
)
def test_a_script_in_python(tmp_path: Path, first: str) -> None:
    start = tmp_path / "start"
    start.write_text(first + "\nimport runpy\n")
    found = unwrap([str(start), *MODULE], ENV)
    assert found is not None and found.argv[0].endswith("python")
    assert str(start) in found.argv


def test_environments_of_conda_are_found_by_name(tmp_path: Path) -> None:
    conda = tmp_path / "conda" / "bin" / "conda"
    conda.parent.mkdir(parents=True)
    conda.write_text("")
    conda.chmod(0o755)
    prefix = tmp_path / "conda" / "envs" / "mine"
    prefix.mkdir(parents=True)
    for argv in ([str(conda), "run", "-n", "mine"], ["conda", "run", "--name=mine"]):
        found = unwrap([*argv, "python", *MODULE], {**ENV, "PATH": str(conda.parent)})
        assert found is not None and found.env["CONDA_PREFIX"] == str(prefix)
    found = unwrap([str(conda), "run", "-n", "base", "python"], ENV)
    assert found is not None and found.env["CONDA_PREFIX"] == str(tmp_path / "conda")


def test_a_kernel_is_resolved_through_it(tmp_path: Path) -> None:
    script = tmp_path / "start"
    script.write_text(
        f'#!/bin/sh\nexport OMP_NUM_THREADS=7 HF_TOKEN=x\nexec {sys.executable} "$@"\n'
    )
    kernel = resolve("k", [str(script), *MODULE], {"B": "b"}, ENV)
    assert kernel.python == (sys.executable,)
    assert kernel.env["OMP_NUM_THREADS"] == "7" and kernel.env["B"] == "b"
    assert "HF_TOKEN" not in kernel.env
    assert kernel.spec["is_python"] and kernel.spec["executable"] == sys.executable
    # a bare name is the server's own only where Jupyter itself looks for it
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "python").symlink_to(sys.executable)
    kernel = resolve("k", ["env", "python", *MODULE], {}, {**ENV, "PATH": str(folder)})
    assert kernel.python == (str(folder / "python"),)
    assert resolve("k", ["conda", "run", "python", *MODULE], {}, ENV).spec["is_python"] is False


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_shell_starts_what_is_told(tmp_path: Path, name: str) -> None:
    """The stand-in for Python tells what it was started with, by a real shell."""
    told = tmp_path / "told"
    python = tmp_path / "v" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\necho "$B|$LD_LIBRARY_PATH|$VIRTUAL_ENV|$@" > {told}\n')
    python.chmod(0o755)
    (python.parent / "activate").write_text(
        f'export VIRTUAL_ENV={tmp_path}/v PATH="{tmp_path}/v/bin:$PATH"\n'
    )
    script = tmp_path / "start"
    script.write_text("#!/bin/bash\n" + SCRIPTS[name].replace("/v/", f"{tmp_path}/v/") + "\n")
    script.chmod(0o755)
    env = {"PATH": os.environ["PATH"]}
    subprocess.run([script, *MODULE], env=env, check=True, cwd=tmp_path, timeout=60)
    found = unwrap([str(script), *MODULE], env)
    assert found is not None
    names = ("B", "LD_LIBRARY_PATH", "VIRTUAL_ENV")
    words = [word for word in found.argv[1:] if word != "2"]
    line = "|".join([*(found.env.get(name, "") for name in names), " ".join(words)])
    assert told.read_text().strip() == line


@given(st.lists(st.text(max_size=8) | st.sampled_from(["env", "sh", "-c", "conda", "run", "-n"])))
def test_nothing_raises(argv: list[str]) -> None:
    unwrap([word.replace("\0", "") for word in argv], ENV)


@given(st.text(alphabet=" \n\t\"'\\$@{}()|&;<>=#`abpython-m", max_size=60))
def test_no_line_raises(text: str) -> None:
    unwrap(["sh", "-c", text, "sh", *MODULE], ENV)
