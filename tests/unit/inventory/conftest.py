"""The stand-in NVML and nvidia-smi, built from images/practice; and practice files for them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hub_ext.inventory.nvml import NvmlInventory

PRACTICE = Path(__file__).parents[3] / "images" / "practice"


@pytest.fixture(scope="session")
def stand_in(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with lib/libnvidia-ml.so.1 and bin/nvidia-smi. Needs gcc, make, libcjson-dev."""
    build = tmp_path_factory.mktemp("stand-in")
    made = subprocess.run(
        ["make", "-C", str(PRACTICE), f"BUILD={build}"], capture_output=True, text=True, timeout=100
    )
    assert made.returncode == 0, (
        f"apt-get install gcc make libcjson-dev\n{made.stdout}{made.stderr}"
    )
    return build


@pytest.fixture
def practice_file(tmp_path: Path) -> Callable[..., Path]:
    """Writes the JSON file that drives the stand-in."""
    path = tmp_path / "practice.json"

    def write(*devices: dict[str, object], **fields: object) -> Path:
        partial = path.with_suffix(".new")
        partial.write_text(json.dumps({"devices": devices, **fields}))
        partial.rename(path)
        return path

    write.path = path  # type: ignore[attr-defined]  # for tests that only name it
    return write


@pytest.fixture
def environment(stand_in: Path) -> dict[str, str]:
    """Variables under which a program finds the stand-in."""
    kept = {k: v for k, v in os.environ.items() if k not in ("NVIDIA_VISIBLE_DEVICES",)}
    return kept | {"LD_LIBRARY_PATH": str(stand_in / "lib")}


@pytest.fixture
def in_python(environment: dict[str, str]) -> Callable[..., object]:
    """Runs Python with `import pynvml as n`; gives what it printed as JSON."""

    def run(code: str, timeout: float = 30, **variables: object) -> object:
        script = "import json, pynvml as n\nshow = lambda v: print(json.dumps(v))\n"
        result = subprocess.run(
            [sys.executable, "-c", script + textwrap.dedent(code)],
            env=environment | {k: str(v) for k, v in variables.items()},
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        assert result.returncode == 0, result.stderr
        return json.loads(result.stdout)

    return run


@pytest.fixture
def nvml(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., NvmlInventory]]:
    """An inventory that sees the stand-in; the probe and the watch for XIDs are the real ones."""
    for name in ("GPUCAMP_PRACTICE_FILE", "NVIDIA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LD_LIBRARY_PATH", environment["LD_LIBRARY_PATH"])
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[3]))
    made: list[NvmlInventory] = []

    def make(file: Path, **arguments: Any) -> NvmlInventory:
        monkeypatch.setenv("GPUCAMP_PRACTICE_FILE", str(file))
        made.append(NvmlInventory(**({"timeout": 30.0} | arguments)))
        return made[-1]

    yield make
    for inventory in made:
        inventory.close()
