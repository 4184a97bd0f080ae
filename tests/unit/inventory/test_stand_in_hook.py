"""The stand-in for NVIDIA's prestart hook, called as runc calls it."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HOOK = Path(__file__).parents[3] / "images" / "practice" / "nvidia-container-runtime-hook"
UUID = "GPU-5ca1ab1e-0000-4000-8000-{:012x}"
LIBRARIES = f"usr/lib/{platform.machine()}-linux-gnu"

needs_root = pytest.mark.skipif(
    os.geteuid() != 0,
    reason="a mount namespace needs root; the engine tests run the hook through dockerd",
)


class Container:
    """A bundle, and a process in a mount namespace of its own with a /dev of its own."""

    def __init__(self, folder: Path) -> None:
        self.bundle = folder / "bundle"
        self.root = self.bundle / "rootfs"
        (self.root / "dev").mkdir(parents=True)
        self.process: subprocess.Popen[str] | None = None
        self.hook = HOOK
        self.variables: dict[str, str] = {}

    def create(self) -> None:
        script = f"mount -t tmpfs none '{self.root}/dev' && echo ready && exec sleep 100"
        self.process = subprocess.Popen(
            ["unshare", "-m", "sh", "-c", script], stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    def inside(self, path: str) -> Path:
        """A path of the container as its process sees it."""
        assert self.process is not None
        return Path(f"/proc/{self.process.pid}/root{self.root}/{path}")

    def run_hook(self, *environment: str, moment: str = "prestart"):
        config = {"root": {"path": "rootfs"}, "process": {"env": ["PATH=/bin", *environment]}}
        (self.bundle / "config.json").write_text(json.dumps(config))
        state = {
            "ociVersion": "1.0.2",
            "id": "c1",
            "status": "creating",
            "pid": self.process.pid if self.process else 0,
            "bundle": str(self.bundle),
        }
        return subprocess.run(
            [str(self.hook), moment],
            input=json.dumps(state),
            env=os.environ | {"GPUCAMP_PYTHON": sys.executable} | self.variables,
            cwd=self.bundle,
            capture_output=True,
            text=True,
            timeout=60,
        )


@pytest.fixture
def container(tmp_path):
    made = Container(tmp_path)
    yield made
    if made.process is not None:
        made.process.kill()
        made.process.communicate()


def everything(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@needs_root
def test_devices_are_made_in_the_container_alone(container):
    container.create()
    result = container.run_hook(f"NVIDIA_VISIBLE_DEVICES={UUID.format(1)},{UUID.format(11)}")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    made = {path.name: oct(path.stat().st_mode) for path in container.inside("dev").iterdir()}
    assert made == dict.fromkeys(["nvidiactl", "nvidia-uvm", "nvidia1", "nvidia11"], oct(0o100666))
    assert list((container.root / "dev").iterdir()) == [], "the host sees nothing of it"


@needs_root
def test_the_image_s_own_stand_in_is_linked(container, stand_in):
    shipped = container.root / "opt/gpucamp/practice"
    shutil.copytree(stand_in, shipped)
    container.create()
    for _ in range(2):  # dockerd runs it again when a container is restarted
        assert container.run_hook(f"NVIDIA_VISIBLE_DEVICES={UUID.format(0)}").returncode == 0
    links = {
        f"{LIBRARIES}/libnvidia-ml.so.1": "/opt/gpucamp/practice/lib/libnvidia-ml.so.1",
        f"{LIBRARIES}/libcjson.so.1": "/opt/gpucamp/practice/lib/libcjson.so.1",
        "usr/bin/nvidia-smi": "/opt/gpucamp/practice/bin/nvidia-smi",
    }
    assert {path: os.readlink(container.root / path) for path in links} == links


@needs_root
def test_an_image_without_it_gets_what_is_built_beside_the_hook(container, stand_in, tmp_path):
    (tmp_path / "hooks").mkdir()
    container.hook = Path(shutil.copy(HOOK, tmp_path / "hooks"))
    shutil.copytree(stand_in, tmp_path / "hooks" / "build")
    container.create()
    for _ in range(2):
        assert container.run_hook(f"NVIDIA_VISIBLE_DEVICES={UUID.format(0)}").returncode == 0
    for path in (f"{LIBRARIES}/libnvidia-ml.so.1", f"{LIBRARIES}/libcjson.so.1"):
        built = stand_in / "lib" / Path(path).name
        assert (container.root / path).read_bytes() == built.read_bytes()
    assert os.access(container.root / "usr/bin/nvidia-smi", os.X_OK)


@needs_root
def test_without_any_stand_in_there_are_devices_only(container, tmp_path):
    (tmp_path / "hooks").mkdir()
    container.hook = Path(shutil.copy(HOOK, tmp_path / "hooks"))
    container.create()
    assert container.run_hook(f"NVIDIA_VISIBLE_DEVICES={UUID.format(0)}").returncode == 0
    assert container.inside("dev/nvidia0").exists()
    assert everything(container.root) == ["dev"]


@needs_root
@pytest.mark.parametrize("link", [LIBRARIES, "usr/lib", "usr", "usr/bin"])
def test_no_link_of_an_image_leads_to_the_host(container, stand_in, tmp_path, link):
    outside = tmp_path / "outside"
    outside.mkdir()
    shutil.copytree(stand_in, container.root / "opt/gpucamp/practice")
    path = container.root / link
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(outside)
    container.create()
    container.run_hook(f"NVIDIA_VISIBLE_DEVICES={UUID.format(0)}")
    assert everything(outside) == []
    path.unlink()
    depth = len(path.parent.relative_to("/").parts)
    path.symlink_to(Path("../" * depth) / outside.relative_to("/"))
    container.run_hook(f"NVIDIA_VISIBLE_DEVICES={UUID.format(0)}")
    assert everything(outside) == []


@needs_root
def test_the_last_of_several_values_wins(container):
    container.create()
    container.run_hook("NVIDIA_VISIBLE_DEVICES=all", f"NVIDIA_VISIBLE_DEVICES={UUID.format(3)}")
    names = {path.name for path in container.inside("dev").iterdir()}
    assert names == {"nvidiactl", "nvidia-uvm", "nvidia3"}


@needs_root
@pytest.mark.parametrize(
    ("value", "minors"),
    [("all", {"nvidia5", "nvidia1"}), ("0", {"nvidia5"}), ("MIG-a", {"nvidia1"})],
)
def test_a_file_names_the_devices_of_the_host(container, practice_file, value, minors):
    file = practice_file(
        {"uuid": "GPU-a", "minor": 5}, {"uuid": "GPU-b", "mig_devices": [{"uuid": "MIG-a"}]}
    )
    container.variables = {"GPUCAMP_PRACTICE_DEVICES_FILE": str(file)}
    container.create()
    assert container.run_hook(f"NVIDIA_VISIBLE_DEVICES={value}").returncode == 0
    names = {path.name for path in container.inside("dev").iterdir()}
    assert names == minors | {"nvidiactl", "nvidia-uvm"}


@pytest.mark.parametrize(
    "environment",
    [
        [],
        ["NVIDIA_VISIBLE_DEVICES="],
        ["NVIDIA_VISIBLE_DEVICES=void"],
        ["NVIDIA_VISIBLE_DEVICES=none"],
        ["NVIDIA_VISIBLE_DEVICES=all", "NVIDIA_VISIBLE_DEVICES=void"],
    ],
)
def test_who_asks_for_nothing_gets_nothing(container, environment):
    result = container.run_hook(*environment)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert everything(container.root) == ["dev"]


@pytest.mark.parametrize("value", ["GPU-nope", UUID.format(99), f"{UUID.format(0)},GPU-nope", "77"])
def test_an_unknown_device_is_refused_in_the_real_hook_s_words(container, value):
    result = container.run_hook(f"NVIDIA_VISIBLE_DEVICES={value}")
    assert result.returncode == 1
    unknown = value.rpartition(",")[2]
    assert result.stderr == f"nvidia-container-cli: device error: {unknown}: unknown device\n"
    assert everything(container.root) == ["dev"]


def test_other_moments_are_none_of_its_business(container):
    result = container.run_hook("NVIDIA_VISIBLE_DEVICES=GPU-nope", moment="poststop")
    assert (result.returncode, result.stderr) == (0, "")


def test_a_process_that_is_gone_is_an_error(container):
    gone = subprocess.Popen(["true"], text=True)
    gone.wait()
    container.process = gone
    gone.communicate()
    result = container.run_hook(f"NVIDIA_VISIBLE_DEVICES={UUID.format(0)}")
    assert result.returncode == 1
    assert result.stderr.startswith("nvidia-container-cli: mount error: ")
    assert everything(container.root) == ["dev"]


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"bundle": "/nowhere", "pid": 1}'])
def test_a_state_that_makes_no_sense_is_an_error(text):
    result = subprocess.run(
        [str(HOOK), "prestart"],
        input=text,
        env=os.environ | {"GPUCAMP_PYTHON": sys.executable},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode == 1
    assert result.stderr.startswith("nvidia-container-runtime-hook (stand-in): ")
