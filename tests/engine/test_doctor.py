"""The doctor in the real image, in a real Engine, against real breakage: the untouched image is
healthy, and what is broken is named. Run as the spawner runs it: read-only, no capabilities,
uid 1000, own volumes.

Nothing here reaches outside this machine. The card is a stand-in where one is needed: device
nodes of the container that open (/dev/null under another name), are refused, or have no driver;
the practice NVML, told to fail; a libcuda.so.1 (tests/fakes/libcuda.c) under the real torch.
"""

from __future__ import annotations

import json
import os
import secrets
import shlex
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
from docker.models.containers import Container

FAKE_CUDA = Path(__file__).resolve().parents[1] / "fakes" / "libcuda.c"
PRACTICE_LIB = "/opt/gpucamp/practice/lib"
PRACTICE_UUID = "GPU-5ca1ab1e-0000-4000-8000-000000000000"
UUID = "GPU-8932f937-d72c-4106-c12f-20bd9faed9f6"
VENV = "/home/jovyan/.venv"
SITE = f"{VENV}/lib/python3.11/site-packages"
BASE_SITE = "/opt/gpucamp/base/lib/python3.11/site-packages"

pytestmark = pytest.mark.timeout(300)

NO_GPU = {"GPUCAMP_LEASE": "lease-1", "GPUCAMP_DEVICES": "", "GPUCAMP_SIMULATED": "0"}
PRACTICE = {
    "GPUCAMP_LEASE": "lease-1",
    "GPUCAMP_DEVICES": PRACTICE_UUID,
    "GPUCAMP_SIMULATED": "1",
    "GPUCAMP_PRACTICE": "1",
    "NVIDIA_VISIBLE_DEVICES": PRACTICE_UUID,
    "LD_LIBRARY_PATH": PRACTICE_LIB,
}


class Patient:
    """A participant's container over two volumes of its own."""

    def __init__(self, client: docker.DockerClient, image: str) -> None:
        self._client = client
        self._image = image
        self._name = f"gpucamp-test-doctor-{secrets.token_hex(5)}"
        self._container: Container | None = None

    def start(self, environment: dict[str, str] | None = None, **options: Any) -> Patient:
        """A new container in place of the one before."""
        self._remove()
        settings: dict[str, Any] = {
            "shm_size": "1g",
            "tmpfs": {"/tmp": "exec"},
            **options,
        }
        self._container = self._client.containers.create(
            self._image,
            ["sleep", "infinity"],
            name=self._name,
            user="1000",
            read_only=True,
            network_mode="none",
            cap_drop=["ALL"],
            security_opt=["no-new-privileges"],
            environment=NO_GPU if environment is None else environment,
            volumes={
                f"{self._name}-env": {"bind": "/home/jovyan"},
                f"{self._name}-work": {"bind": "/home/jovyan/work"},
            },
            **settings,
        )
        self._container.start()
        return self

    def run(self, command: str, env: dict[str, str] | None = None) -> tuple[int, str, str]:
        """Exit status, stdout and stderr of a line for bash, as in a terminal of JupyterLab."""
        assert self._container is not None
        result = self._container.exec_run(
            ["/bin/bash", "-c", command], environment=env or {}, demux=True
        )
        out, err = (part.decode(errors="replace") if part else "" for part in result.output)
        return result.exit_code, out, err

    def ok(self, command: str, env: dict[str, str] | None = None) -> str:
        status, out, err = self.run(command, env)
        assert status == 0, f"{command} ended with {status}:\n{out}{err}"
        return out

    def write(self, path: str, text: str) -> None:
        folder = shlex.quote(str(Path(path).parent))
        self.ok(f"mkdir -p {folder} && cat > {shlex.quote(path)} <<'END'\n{text}\nEND")

    def examine(self, env: dict[str, str] | None = None, options: str = "") -> Examined:
        status, out, err = self.run(f"gpucamp-doctor --json {options}", env)
        assert status in (0, 1, 2), f"the doctor ended with {status}:\n{out}{err}"
        return Examined(status, json.loads(out))

    def _remove(self) -> None:
        if self._container is not None:
            self._container.remove(force=True)
            self._container = None

    def discard(self) -> None:
        self._remove()
        for volume in self._client.volumes.list(filters={"name": self._name}):
            volume.remove(force=True)


class Examined:
    """A report, and the status that the command ended with."""

    def __init__(self, status: int, report: dict[str, Any]) -> None:
        self.status = status
        self.report = report
        self.findings = {finding["code"]: finding for finding in report["findings"]}

    @property
    def codes(self) -> set[str]:
        return set(self.findings)

    def __repr__(self) -> str:
        return json.dumps(self.report["findings"], indent=1, ensure_ascii=False)


@pytest.fixture(scope="module")
def make_patient(engine: docker.DockerClient, image: str) -> Iterator[Callable[..., Patient]]:
    patients = []

    def make(*args: Any, **options: Any) -> Patient:
        patient = Patient(engine, image)
        patients.append(patient)
        return patient.start(*args, **options)

    yield make
    for patient in patients:
        patient.discard()


@pytest.fixture
def patient(make_patient: Callable[..., Patient]) -> Iterator[Patient]:
    made = make_patient()
    yield made
    made.discard()


WHEEL = """
import pathlib, sys, zipfile
name, version, *members = sys.argv[1:]
info = f"{name}-{version}.dist-info"
files = {
    f"{info}/METADATA": f"Metadata-Version: 2.1\\nName: {name}\\nVersion: {version}\\n",
    f"{info}/WHEEL": "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
    f"{info}/RECORD": "",
    **dict(zip(members[::2], members[1::2])),
}
folder = pathlib.Path("/tmp/wheels")
folder.mkdir(exist_ok=True)
with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
    for path, text in files.items():
        wheel.writestr(path, text)
"""


def install(patient: Patient, name: str, version: str, **files: str) -> None:
    """Installs a wheel that is made on the spot, with the environment's pip."""
    members = [word for path, text in files.items() for word in (f"{path}.py", text)]
    words = " ".join(shlex.quote(word) for word in [name, version, *members])
    patient.ok(f"python - {words} <<'END'\n{WHEEL}\nEND")
    patient.ok(
        "PIP_CONSTRAINT= pip install --quiet --no-index --no-deps --find-links /tmp/wheels "
        f"{name}=={version}"
    )


# ---- no false alarms ---------------------------------------------------------------------------


def test_the_untouched_image_without_a_gpu_is_healthy(make_patient: Callable[..., Patient]) -> None:
    for environment in (NO_GPU, {}):
        examined = make_patient(environment).examine()
        assert examined.codes == {"GC101"}, examined
        assert examined.status == 0 and examined.report["verdict"] == "advice"


def test_the_untouched_image_with_a_practice_gpu_is_healthy(
    make_patient: Callable[..., Patient],
) -> None:
    examined = make_patient(PRACTICE).examine()
    assert examined.codes == {"GC109"}, examined
    assert examined.status == 0
    assert any("imulated" in line for line in examined.findings["GC109"]["evidence"])
    # torch asks NVML how many there are: it must not be taken for a fault that none can be used
    facts = examined.report["facts"]["torch"]["value"]["torch"]
    assert facts["count"] == 1 and facts["available"] is False


def test_ordinary_packages_are_no_illness(patient: Patient) -> None:
    install(patient, "leftpad", "1.0", leftpad="x = 1")
    assert patient.examine().codes == {"GC101"}


# ---- the environment ---------------------------------------------------------------------------


def test_a_package_that_breaks_torch_is_named_and_its_fix_heals(patient: Patient) -> None:
    install(patient, "typing_extensions", "4.0.0", typing_extensions="ParamSpec = None")
    install(patient, "innocent", "1.0", innocent="")
    status, _, err = patient.run("python -c 'import torch'")
    assert status == 1 and "ImportError" in err
    examined = patient.examine()
    assert examined.status == 2
    finding = examined.findings["GC311"]
    assert finding["severity"] == "blocker" and finding["who"] == "you"
    ask = "from importlib.metadata import version; print(version('typing_extensions'))"
    base = patient.ok(f"/opt/gpucamp/base/bin/python -Ic {shlex.quote(ask)}").strip()
    assert "typing_extensions 4.0.0" in finding["title"] and base in finding["title"]
    assert "innocent" not in json.dumps(finding)
    assert any("cannot import name" in line for line in finding["evidence"])
    assert finding["command"] == "pip uninstall -y typing_extensions"
    patient.ok(finding["command"])
    assert patient.examine().codes == {"GC101"}


def test_a_module_that_hangs_or_crashes_on_import_is_named(patient: Patient) -> None:
    """Even where the import says nothing at all."""
    crash = "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"
    install(patient, "typing_extensions", "9.9", typing_extensions=crash)
    examined = patient.examine()
    assert "typing_extensions 9.9" in examined.findings["GC311"]["title"], examined
    assert any("SIGSEGV" in line for line in examined.findings["GC311"]["evidence"])


def test_a_package_that_keeps_kernels_from_starting_is_named(patient: Patient) -> None:
    install(patient, "traitlets", "1.0", traitlets="raise RuntimeError('too old')")
    examined = patient.examine()
    assert examined.codes == {"GC101", "GC205"}, examined
    assert "traitlets 1.0" in examined.findings["GC205"]["title"]
    patient.ok(examined.findings["GC205"]["command"])
    assert patient.examine().codes == {"GC101"}


def test_two_packages_that_break_torch_together_are_both_named(patient: Patient) -> None:
    install(patient, "typing_extensions", "4.0.0", typing_extensions="")
    install(patient, "torchgen", "0.1", torchgen="")
    for number in range(9):
        install(patient, f"innocent{number}", "1.0", **{f"innocent{number}": ""})
    examined = patient.examine()
    title = examined.findings["GC311"]["title"]
    assert "typing_extensions 4.0.0" in title and "torchgen 0.1" in title, examined
    assert "innocent" not in title
    patient.ok(examined.findings["GC311"]["command"])
    assert patient.examine().codes == {"GC101"}


def test_a_stray_file_that_breaks_torch_is_named(patient: Patient) -> None:
    patient.write(f"{SITE}/typing_extensions.py", "raise ImportError('edited by hand')")
    examined = patient.examine()
    assert "typing_extensions" in examined.findings["GC311"]["title"], examined
    assert any(SITE in line for line in examined.findings["GC311"]["evidence"])


@pytest.mark.parametrize(
    ("breakage", "code"),
    [
        (f"rm {VENV}/bin/python {VENV}/bin/python3*", "GC202"),
        (f"rm -r {VENV}", "GC202"),
        (f"ln -sf /gone/python {VENV}/bin/python", "GC202"),
        (f"echo 'import os; os._exit(3)' > {SITE}/x.pth", "GC203"),
        (f"echo 'import time; time.sleep(600)' > {SITE}/x.pth", "GC203"),
        (f"echo 'import os; os.abort()' > {SITE}/x.pth", "GC203"),
        (f"rm {SITE}/gpucamp-base.pth", "GC312"),
    ],
)
def test_an_environment_that_does_not_start(patient: Patient, breakage: str, code: str) -> None:
    patient.ok(breakage)
    examined = patient.examine()
    expected = {"GC101", code} | ({"GC204"} if code == "GC312" else set())
    assert examined.codes == expected, examined
    assert examined.status == 2


def test_garbage_from_start_up_code_is_not_taken_for_facts(patient: Patient) -> None:
    line = "import sys; print('hello ' * 1000); print('world', file=sys.stderr)"
    patient.write(f"{SITE}/x.pth", line)
    assert patient.ok("python -c ''").startswith("hello")
    assert patient.examine().codes == {"GC101"}


def test_many_illnesses_at_once_are_all_told(patient: Patient) -> None:
    install(patient, "torch", "2.14.0", marker="")
    install(patient, "triton", "3.6.0", marker2="")
    install(patient, "nvidia_cublas_cu11", "11.11.3.6", marker3="")
    install(patient, "nvidia_cudnn_cu12", "9.99.0.1", marker4="")
    patient.ok(f"mkdir {SITE}/numpy-1.26.0.dist-info {SITE}/numpy-2.0.0.dist-info")
    patient.ok("mkdir -p /tmp/old/numpy-1.0.dist-info /tmp/cuda")
    patient.ok("ln -s /x /tmp/cuda/libcudart.so.12")
    patient.ok("echo > ~/work/torch.py; touch /dev/shm/torch_123 /dev/shm/nccl-abc /dev/shm/mine")
    patient.ok("fallocate -l $(($(df --output=avail -B1 /dev/shm | tail -1) - 4096)) /dev/shm/mine")
    patient.ok(
        "(TORCHELASTIC_RUN_ID=x LOCAL_RANK=0 nohup python -c 'import time; time.sleep(600)' "
        ">/dev/null 2>&1 &)"
    )
    env = {
        "PYTHONPATH": "/tmp/old",
        "LD_PRELOAD": "/gone/libjemalloc.so",
        "LD_LIBRARY_PATH": "/tmp/cuda",
        "PATH": f"{VENV}/bin:/opt/gpucamp/base/bin:/bin-without-gcc",
    }
    status, out, err = patient.run(
        "ulimit -n 512; exec /opt/gpucamp/base/bin/gpucamp-doctor --json", env
    )
    assert status in (1, 2), out + err
    examined = Examined(status, json.loads(out))
    assert examined.codes == {
        "GC101",
        "GC212",
        "GC213",
        "GC214",
        "GC215",
        "GC301",
        "GC304",
        "GC305",
        "GC306",
        "GC402",
        "GC403",
        "GC408",
        "GC410",
        "GC411",
    }, examined
    # their fixes, as they are shown, where they are commands for this terminal
    patient.ok(examined.findings["GC411"]["command"])
    patient.ok(examined.findings["GC403"]["command"])
    patient.ok("rm /dev/shm/mine ~/work/torch.py; rm -r " + f"{SITE}/numpy-*.dist-info")
    for code in ("GC301", "GC304", "GC305"):
        patient.ok(examined.findings[code]["command"])
    assert patient.examine().codes == {"GC101", "GC303"}


def test_a_kernel_of_the_system_with_a_user_site(patient: Patient) -> None:
    spec = {
        "argv": ["/usr/bin/python3", "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        "display_name": "system",
        "language": "python",
        "env": {"PYTHONNOUSERSITE": ""},
    }
    patient.write("/home/jovyan/.local/share/jupyter/kernels/system/kernel.json", json.dumps(spec))
    site = "/home/jovyan/.local/lib/python3.11/site-packages"
    patient.ok(f"mkdir -p {site}/rich-1.0.dist-info")
    examined = patient.examine(options="--kernel system")
    assert examined.codes == {"GC101", "GC204", "GC206", "GC211", "GC312"}, examined
    spec["argv"] = ["conda", "run", "python"]
    patient.write("/home/jovyan/.local/share/jupyter/kernels/system/kernel.json", json.dumps(spec))
    assert patient.examine(options="--kernel system").codes == {"GC101", "GC207"}
    patient.write("/home/jovyan/.local/share/jupyter/kernels/system/kernel.json", "{")
    assert patient.examine(options="--kernel system").codes == {"GC101", "GC201"}


# ---- resources ---------------------------------------------------------------------------------


def test_small_shared_memory(make_patient: Callable[..., Patient]) -> None:
    assert make_patient(shm_size="64m").examine().codes == {"GC101", "GC401"}


def test_full_disks(make_patient: Callable[..., Patient]) -> None:
    patient = make_patient(tmpfs={"/tmp": "exec,size=64m,nr_inodes=400"})
    patient.ok("cd /tmp && for i in $(seq 500); do : > f$i || break; done 2>/dev/null; true")
    assert patient.examine().codes == {"GC101", "GC407"}
    patient.ok("rm /tmp/f*; dd if=/dev/zero of=/tmp/big bs=1M count=62 2>/dev/null")
    assert patient.examine().codes == {"GC101", "GC406"}
    patient.ok("dd if=/dev/zero of=/tmp/big bs=1M count=80 2>/dev/null; true")
    assert patient.examine().codes == {"GC101", "GC405"}


def test_a_program_that_was_killed_for_memory(make_patient: Callable[..., Patient]) -> None:
    patient = make_patient(mem_limit="1500m", memswap_limit="1500m")
    assert patient.examine().codes == {"GC101"}
    status, _, _ = patient.run("python -c 'b = bytearray(3 * 2**30)'")
    assert status == 137
    examined = patient.examine()
    assert examined.codes == {"GC101", "GC404"}, examined


# ---- the card ----------------------------------------------------------------------------------

NODES = [f"/dev/null:/dev/{name}:rw" for name in ("nvidia0", "nvidiactl", "nvidia-uvm")]
CARD = {
    "GPUCAMP_LEASE": "lease-1",
    "GPUCAMP_DEVICES": UUID,
    "GPUCAMP_SIMULATED": "0",
    "NVIDIA_VISIBLE_DEVICES": UUID,
}


@pytest.fixture(scope="module")
def card(make_patient: Callable[..., Patient]) -> Patient:
    """A container that looks as if it had a card: nodes, NVML, libcuda."""
    patient = make_patient(CARD, devices=NODES)
    patient.write("/tmp/libcuda.c", FAKE_CUDA.read_text())
    patient.ok("mkdir /tmp/lib && gcc -shared -fPIC -o /tmp/lib/libcuda.so.1 /tmp/libcuda.c")
    return patient


def look(
    card: Patient, *, device: dict[str, Any] | None = None, faults: Any = None, **env: str
) -> Examined:
    state = {
        "driver_version": "570.172.08",
        "faults": faults or {},
        "devices": [{"uuid": UUID, "name": "NVIDIA A100-SXM4-40GB", **(device or {})}],
    }
    card.write("/tmp/card.json", json.dumps(state))
    settings = {
        "GPUCAMP_PRACTICE_FILE": "/tmp/card.json",
        "LD_LIBRARY_PATH": f"{PRACTICE_LIB}:/tmp/lib",
        **env,
    }
    return card.examine(settings)


@pytest.mark.fault(20)
@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"faults": {"nvmlInit": 999}}, "GC123"),
        ({"faults": {"nvmlInit": 18}}, "GC124"),
        ({"faults": {"nvmlInit": 9}}, "GC125"),
        ({"faults": {"nvmlInit": 15}}, "GC126"),
        ({"device": {"faults": {"nvmlDeviceGetMemoryInfo": 15}}}, "GC126"),
        ({"faults": {"nvmlInit": {"error": 0, "sleep": 600}}}, "GC122"),
        ({"CUDA_VISIBLE_DEVICES": "-1"}, "GC128"),
        ({"CUDA_VISIBLE_DEVICES": ""}, "GC128"),
        ({"CUDA_VISIBLE_DEVICES": "1"}, "GC128"),
        ({"FAKE_CUDA_INIT": "100"}, "GC133"),
        ({"FAKE_CUDA_INIT": "803"}, "GC134"),
        ({"FAKE_CUDA_INIT": "804"}, "GC135"),
        ({"FAKE_CUDA_INIT": "802"}, "GC136"),
        ({"FAKE_CUDA_INIT": "999"}, "GC139"),
        ({"FAKE_CUDA_CRASH": "1"}, "GC139"),
        ({"FAKE_CUDA_VERSION": "11080"}, "GC132"),
        ({"LD_LIBRARY_PATH": PRACTICE_LIB}, "GC131"),
        # CUDA starts, and torch's own runtime then meets a driver that can do nothing
        ({}, "GC141"),
    ],
)
def test_a_card_that_fails(card: Patient, arguments: dict[str, Any], code: str) -> None:
    examined = look(card, **arguments)
    assert examined.codes == {code}, examined
    assert examined.status == 2


def test_a_card_that_ails(card: Patient) -> None:
    examined = look(
        card,
        device={"uuid": "GPU-another", "recovery_action": 1, "compute_mode": 2},
        FAKE_CUDA_INIT="100",
    )
    assert examined.codes == {"GC106", "GC127", "GC129", "GC133"}, examined
    examined = look(card, LD_LIBRARY_PATH="/tmp/lib", FAKE_CUDA_INIT="100")
    assert examined.codes == {"GC121", "GC133"}, examined


@pytest.mark.fault(20)
def test_cuda_that_hangs_is_told_in_time(card: Patient) -> None:
    examined = look(card, FAKE_CUDA_SLEEP="600")
    assert "GC137" in examined.codes, examined
    assert examined.report["seconds"] < 90
    assert "run_probe.py" not in card.ok("ps -eo args")


@pytest.mark.parametrize(
    ("devices", "code"),
    [([], "GC102"), (NODES[:2], "GC105"), ([NODES[0], NODES[2]], "GC105")],
)
def test_device_nodes(make_patient: Callable[..., Patient], devices: list[str], code: str) -> None:
    examined = make_patient(CARD, devices=devices).examine()
    assert examined.codes == {code}, examined


@pytest.mark.parametrize(
    ("number", "permissions", "code"),
    [
        # FUSE's number, which a container may not open unless it is told so
        ((10, 229), "m", "GC103"),
        # a number that no driver of this host has
        ((510, 255), "rw", "GC104"),
    ],
)
def test_a_node_that_cannot_be_opened(
    make_patient: Callable[..., Patient],
    tmp_path: Path,
    number: tuple[int, int],
    permissions: str,
    code: str,
) -> None:
    node = tmp_path / "nvidiactl"
    os.mknod(node, 0o666 | stat.S_IFCHR, os.makedev(*number))
    node.chmod(0o666)
    devices = [NODES[0], f"{node}:/dev/nvidiactl:{permissions}", NODES[2]]
    examined = make_patient(CARD, devices=devices).examine()
    assert examined.codes == {code}, examined


def test_a_kernel_may_set_library_paths_and_hide_a_practice_card(
    make_patient: Callable[..., Patient],
) -> None:
    own = {"LD_LIBRARY_PATH": "/usr/local/cuda-11/lib64", "CUDA_VISIBLE_DEVICES": "-1"}
    assert make_patient(PRACTICE).examine(own).codes == {"GC109", "GC128"}


def test_a_practice_card_that_fails_is_told(make_patient: Callable[..., Patient]) -> None:
    patient = make_patient(PRACTICE)
    patient.write("/tmp/card.json", json.dumps({"faults": {"nvmlInit": 999}, "devices": []}))
    examined = patient.examine({"GPUCAMP_PRACTICE_FILE": "/tmp/card.json"})
    assert examined.codes == {"GC123"}, examined


def test_pythonpath_breaks_kernels_but_not_the_doctor(patient: Patient) -> None:
    for module in ("traitlets", "argparse", "jupyter_client"):
        patient.write(f"/tmp/bad/{module}.py", "raise RuntimeError('mine')")
    examined = patient.examine({"PYTHONPATH": "/tmp/bad"})
    assert "GC101" in examined.codes and examined.status == 2
    broken = examined.findings.get("GC205") or examined.findings["GC204"]
    assert "RuntimeError: mine" in broken["evidence"]
    assert patient.examine().codes == {"GC101"}


# ---- the command -------------------------------------------------------------------------------


def test_the_command_in_a_terminal(patient: Patient) -> None:
    status, out, err = patient.run("gpucamp-doctor")
    assert status == 0 and err == ""
    assert "GC101" in out and "→" in out and "\x1b" not in out
    status, out, _ = patient.run("gpucamp-doctor --kernel nope")
    assert status == 2 and "GC201" in out and "python3" in out
    chinese = patient.ok("gpucamp-doctor --locale zh_CN")
    assert "GPU" in chinese and "服务器" in chinese
    page = patient.ok("gpucamp-doctor --explain gc311")
    assert page.startswith("## GC311") and "How to mend it" in page
    assert patient.run("gpucamp-doctor --explain GC999")[0] == 3
    kept = json.loads(patient.ok("cat ~/work/.gpucamp/doctor-report.json"))
    assert kept["kernel"] == "python3"
    # a broken environment breaks the environment, not the doctor
    patient.ok(f"rm -r {VENV}")
    assert patient.run("gpucamp-doctor")[0] == 2
    status, out, _ = patient.run("gpucamp-doctor | head -c 10 >/dev/null; echo ${PIPESTATUS[0]}")
    assert "Traceback" not in out


TIMED = """
import subprocess, sys, time
started = time.perf_counter()
subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
print(time.perf_counter() - started)
"""


ROUNDS = 8  # others on a busy host spoil some of them
# importing torch alone is 0.6 to 0.7 of collect_env on two cores: see tests/perf/doctor_time.py
MOST = 0.9


def test_it_is_faster_than_collect_env(patient: Patient) -> None:
    """Side by side, each once before and once after the other; in one round at least. 0.72 was
    measured on two busy cores.
    """
    ours, theirs = "gpucamp-doctor --json", "python -m torch.utils.collect_env"

    def seconds(command: str) -> float:
        python = "/opt/gpucamp/base/bin/python"
        return float(patient.ok(f"{python} -I - {command} <<'END'\n{TIMED}\nEND"))

    ratios: list[float] = []
    while len(ratios) < ROUNDS:
        turns = [(command, seconds(command)) for command in (ours, theirs, theirs, ours)]
        taken = {name: sum(t for each, t in turns if each == name) for name in (ours, theirs)}
        ratios.append(taken[ours] / taken[theirs])
        print(f"doctor / collect_env = {ratios[-1]:.2f}")
        if ratios[-1] < MOST:
            return
    pytest.fail(f"of collect_env's time, in each round: {ratios}")


def test_the_status_shows_the_practice_card(make_patient: Callable[..., Patient]) -> None:
    patient = make_patient({**PRACTICE, "GPUCAMP_GENERATION": "2", "JUPYTERHUB_USER": "ada"})
    code = (
        "import asyncio, json, os; from server_ext import status; "
        "nvml = asyncio.run(status.DeviceReadings().read()); "
        "print(json.dumps(status.local_status(os.environ) | {'devices': status.devices_of(nvml)}))"
    )
    shown = json.loads(patient.ok(f"/opt/gpucamp/base/bin/python -Ic {shlex.quote(code)}"))
    (device,) = shown["devices"]
    assert device["uuid"] == PRACTICE_UUID and "imulated" in device["name"]
    assert device["memory_bytes"] > 2**30 and device["memory_used_bytes"] is not None
    assert shown["simulated"] is True and shown["generation"] == 2 and shown["user"] == "ada"
    assert shown["shm_bytes"] == 2**30
