"""Which Python a kernel spec starts."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from server_ext.doctor import reference
from server_ext.doctor.kernel import interpreter, resolve
from server_ext.doctor.secret_variables import without_secrets
from server_ext.doctor.settings import Settings

MODULE = ["-m", "ipykernel_launcher", "-f", "{connection_file}"]


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["/v/bin/python", *MODULE], ("/v/bin/python",)),
        (
            ["/v/bin/python3.11", "-Xfrozen_modules=off", *MODULE],
            ("/v/bin/python3.11", "-Xfrozen_modules=off"),
        ),
        (
            ["python", "-X", "utf8", "-W", "ignore", "-I", *MODULE],
            ("python", "-X", "utf8", "-W", "ignore", "-I"),
        ),
        (["/v/bin/python", "/x/launcher.py"], ("/v/bin/python",)),
        (["/v/bin/python"], ("/v/bin/python",)),
        (["python4", *MODULE], ("python4",)),
        (["conda", "run", "python", *MODULE], ()),
        (["/usr/bin/env", "python", *MODULE], ()),
        (["pythonw.exe", *MODULE], ()),
        (["R", "--slave"], ()),
        ([], ()),
    ],
)
def test_interpreter(argv: list[str], expected: tuple[str, ...]) -> None:
    assert interpreter(argv) == expected


def test_a_bare_python_is_the_servers_own() -> None:
    for name in ("python", "python3", f"python3.{sys.version_info[1]}"):
        kernel = resolve("k", [name, *MODULE], {}, {"PATH": "/nowhere"})
        assert kernel.python == (sys.executable,)


def test_another_bare_python_is_looked_up(tmp_path: Path) -> None:
    python = tmp_path / "python3.99"
    python.write_text("#!/bin/sh\n")
    python.chmod(0o755)
    kernel = resolve("k", ["python3.99", *MODULE], {}, {"PATH": str(tmp_path)})
    assert kernel.python == (str(python),)
    assert resolve("k", ["python3.99", *MODULE], {}, {"PATH": "/nowhere"}).python == ()


def test_what_is_wrong_with_a_python_is_said(tmp_path: Path) -> None:
    plain = tmp_path / "python"
    plain.write_text("")
    plain.chmod(0o644)
    link = tmp_path / "python3"
    link.symlink_to("/gone/python3.11")
    for argv0, words in (
        (str(plain), "cannot be executed"),
        (str(link), "is a link to /gone/python3.11, which does not exist"),
        ("/no/python", "/no/python does not exist"),
    ):
        kernel = resolve("k", [argv0, *MODULE], {}, {})
        assert kernel.python == ()
        assert kernel.spec["python_exists"] is False
        assert words in str(kernel.spec["python_problem"])


def test_the_specs_environment_is_filled_in_and_carries_no_secret() -> None:
    environ = {"HOME": "/h", "JUPYTERHUB_API_TOKEN": "t", "LD_LIBRARY_PATH": "/a", "UNKNOWN": "u"}
    spec = {"LD_LIBRARY_PATH": "/b:${LD_LIBRARY_PATH}:${NOPE}", "HF_TOKEN": "t"}
    kernel = resolve("k", ["python", *MODULE], spec, environ)
    assert kernel.env == {"HOME": "/h", "LD_LIBRARY_PATH": "/b:/a:${NOPE}", "UNKNOWN": "u"}
    variables = kernel.facts()["environment"].value["variables"]
    assert variables == {"LD_LIBRARY_PATH": "/b:/a:${NOPE}"}


def test_secrets_are_known_by_their_names() -> None:
    names = ["A_TOKEN", "Secret_x", "DB_PASSWORD", "OPENAI_API_KEY", "AWS_CREDENTIALS"]
    assert without_secrets(dict.fromkeys([*names, "KEYBOARD", "PATH"], "x")) == {
        "KEYBOARD": "x",
        "PATH": "x",
    }


LOCK = """
# a comment
aiodns==4.0.4 \\
    --hash=sha256:c24dd605
    # via x
typing_extensions==4.16.0 ; python_version >= "3.8"
Foo.Bar[extra]==1.0+local
-e .
-r other==1.0
"""


def test_the_lock_is_read() -> None:
    assert reference.parse_lock(LOCK) == {
        "aiodns": "4.0.4",
        "typing-extensions": "4.16.0",
        "foo-bar": "1.0+local",
    }


def test_a_missing_or_broken_reference_is_no_error(tmp_path: Path) -> None:
    missing = reference.read(Settings(image_root=tmp_path / "no"))
    assert missing.failure is None and set(missing.value) == {"problems"}
    (tmp_path / "versions.json").write_text("{")
    (tmp_path / "base.lock").write_bytes(b"\xff\xfe==\x00")
    assert set(reference.read(Settings(image_root=tmp_path)).value) == {"problems"}
    (tmp_path / "versions.json").write_text('{"stack": {"cuda": "12.8"}}')
    (tmp_path / "base.lock").write_text("torch==2.9.1 \\\n")
    value = reference.read(Settings(image_root=tmp_path, home=Path("/home/x"))).value
    assert value["lock"] == {"torch": "2.9.1"}
    assert value["environment_prefix"] == "/home/x/.venv"
