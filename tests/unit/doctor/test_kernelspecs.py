"""Our way to a kernel spec gives what jupyter_client's gives."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from jupyter_client.kernelspec import KernelSpecManager

from server_ext.doctor.kernel import find
from server_ext.doctor.kernelspecs import KernelSpecs

MODULE = ["-m", "ipykernel_launcher", "-f", "{connection_file}"]
PLAIN: dict[str, Any] = {"argv": [sys.executable, *MODULE], "display_name": "P", "language": "py"}
SPECS: dict[str, Any] = {
    "plain": PLAIN,
    "options": {**PLAIN, "argv": [sys.executable, "-X", "utf8", "-I", *MODULE]},
    "bare": {**PLAIN, "argv": ["python", *MODULE]},
    "wrapped": {**PLAIN, "argv": ["conda", "run", "python", *MODULE]},
    "gone": {**PLAIN, "argv": ["/no/python", *MODULE]},
    "r": {**PLAIN, "argv": ["R", "--slave"]},
    "empty-argv": {**PLAIN, "argv": []},
    "without-argv": {"display_name": "P"},
    "with-env": {**PLAIN, "env": {"A": "/b:${PATH}", "HF_TOKEN": "t"}, "interrupt_mode": "message"},
    "env-of-numbers": {**PLAIN, "env": {"A": 3}},
    "env-is-a-list": {**PLAIN, "env": ["A"]},
    "argv-is-text": {**PLAIN, "argv": "python -m x"},
    "argv-of-numbers": {**PLAIN, "argv": ["python", 3]},
    "unknown-key": {**PLAIN, "more": {"of": "it"}},
    "bad-mode": {**PLAIN, "interrupt_mode": "shout"},
    "null-name": {**PLAIN, "display_name": None},
    "provisioner": {**PLAIN, "metadata": {"kernel_provisioner": {"provisioner_name": "nobody"}}},
    "metadata": {**PLAIN, "metadata": {"debugger": True}},
    "a-list": [PLAIN],
    "Upper": PLAIN,
}
RAW = {"broken": b"{ not json", "not-utf8": b"\xff\xfe", "deep": b"[" * 100_000}
ASKED = (*SPECS, *RAW, "upper", "PLAIN", "nope", "", "..", "../plain", "plain/", "only-user")


@pytest.fixture(params=["0", "1"], ids=["the user's first", "the image's first"])
def kernels(request: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder with every kind of spec; another one before it, which wins for "plain"."""
    for name in [name for name in os.environ if name.startswith("JUPYTER")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", request.param)
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "user"))
    monkeypatch.setenv("JUPYTER_PATH", f"{tmp_path / 'first'}{os.pathsep}{tmp_path / 'second'}")
    for name, spec in SPECS.items():
        _write(tmp_path / "second", name, json.dumps(spec).encode())
    for name, raw in RAW.items():
        _write(tmp_path / "second", name, raw)
    _write(tmp_path / "first", "plain", json.dumps({**PLAIN, "argv": ["first"]}).encode())
    (tmp_path / "first" / "kernels" / "options").mkdir()  # without a kernel.json it does not count
    _write(tmp_path / "user", "only-user", json.dumps(PLAIN).encode())
    _write(tmp_path / "ipython", "of-ipython", json.dumps(PLAIN).encode())
    return tmp_path


def _write(data: Path, name: str, content: bytes) -> None:
    folder = data / "kernels" / name
    folder.mkdir(parents=True)
    (folder / "kernel.json").write_bytes(content)


@pytest.mark.parametrize("name", [*ASKED, "of-ipython", "python3"])
def test_the_same_kernel_as_jupyter_client_finds(kernels: Path, name: str) -> None:
    theirs = find(name, KernelSpecManager(), os.environ)
    assert find(name, KernelSpecs(), os.environ) == theirs


def test_the_fixture_has_kernels_that_are_found_and_ones_that_are_not(kernels: Path) -> None:
    found = {name: find(name, KernelSpecs(), os.environ).spec["found"] for name in ASKED}
    assert found["plain"] and found["with-env"] and found["only-user"]
    assert not (found["nope"] or found["broken"] or found["provisioner"])


def test_the_available_ones_are_the_same(kernels: Path) -> None:
    assert KernelSpecs().find_kernel_specs() == KernelSpecManager().find_kernel_specs()


def test_a_kernel_that_is_well_is_found_without_jupyter_client(kernels: Path) -> None:
    code = (
        "import os, sys\n"
        "from server_ext.doctor import kernel, kernelspecs\n"
        "found = kernel.find('plain', kernelspecs.KernelSpecs(), os.environ)\n"
        "print(found.spec['found'], 'jupyter_client' in sys.modules, 'zmq' in sys.modules)\n"
    )
    root = Path(__file__).parents[3]
    ran = subprocess.run(  # noqa: S603
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    assert ran.stdout.split() == ["True", "False", "False"]
