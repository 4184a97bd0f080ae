"""A participant's container for the doctor's tests, run as the spawner runs it: read-only, no
capabilities, uid 1000, own volumes; and what it takes to break it.

Nothing here reaches outside this machine. The card is a stand-in where one is needed: device
nodes of the container that open (/dev/null under another name), are refused, or have no driver;
the practice NVML, told to fail; a libcuda.so.1 (tests/fakes/libcuda.c) under the real torch.
"""

from __future__ import annotations

import json
import re
import secrets
import shlex
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
from docker.models.containers import Container

FAKES = Path(__file__).resolve().parents[1] / "fakes"
FAKE_CUDA, FAKE_RUNTIME = FAKES / "libcuda.c", FAKES / "libcudart.c"
PRACTICE_LIB = "/opt/gpucamp/practice/lib"
PRACTICE_UUID = "GPU-5ca1ab1e-0000-4000-8000-000000000000"
UUID = "GPU-8932f937-d72c-4106-c12f-20bd9faed9f6"
VENV = "/home/jovyan/.venv"
SITE = f"{VENV}/lib/python3.11/site-packages"
BASE_SITE = "/opt/gpucamp/base/lib/python3.11/site-packages"

DRIVER = "/usr/local/nvidia/lib64"
# the name of a library that may be preloaded: that it is, is no finding, then
RUNTIME = f"{DRIVER}/libmimalloc.so"

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
    """A participant's container over two volumes of its own: environment and work; the third has
    what a host with a card would hand in: the driver's libraries.
    """

    def __init__(self, client: docker.DockerClient, image: str) -> None:
        self._client = client
        self._image = image
        self._name = f"gpucamp-test-doctor-{secrets.token_hex(5)}"
        self._container: Container | None = None
        self._generation = 1

    def start(
        self, environment: dict[str, str] | None = None, *, home: str = "", **options: Any
    ) -> Patient:
        """A new container in place of the one before, as the spawner makes one when a server is
        stopped and started: processes, /tmp and /dev/shm are new, the volumes are the old ones.

        home: options of tmpfs, for a home that is small.
        """
        self._remove()
        if home:
            self._client.volumes.create(
                f"{self._name}-env-{self._generation}",
                driver_opts={"type": "tmpfs", "device": "tmpfs", "o": home},
            )
        settings: dict[str, Any] = {
            "shm_size": "1g",
            "tmpfs": {"/tmp": "exec"},
            "read_only": True,
            **options,
        }
        self._container = self._client.containers.create(
            self._image,
            ["sleep", "infinity"],
            name=self._name,
            user="1000",
            network_mode="none",
            cap_drop=["ALL"],
            security_opt=["no-new-privileges"],
            environment=NO_GPU if environment is None else environment,
            volumes={
                f"{self._name}-env-{self._generation}": {"bind": "/home/jovyan"},
                f"{self._name}-work": {"bind": "/home/jovyan/work"},
                f"{self._name}-driver": {"bind": str(Path(DRIVER).parent)},
            },
            **settings,
        )
        self._container.start()
        return self

    def reset(self, environment: dict[str, str] | None = None, **options: Any) -> Patient:
        """As the service resets an environment: its next generation, with the same work."""
        self._generation += 1
        return self.start(environment, **options)

    def remove_packages(self) -> Patient:
        """As "Remove what I installed" does it."""
        script = (
            "from pathlib import Path; from server_ext.reset.remove_packages import Remover; "
            "Remover(Path.home(), Path('/opt/gpucamp/environment')).remove()"
        )
        self.ok(f"/opt/gpucamp/base/bin/python -I -c {shlex.quote(script)}")
        return self

    def run(
        self, command: str, env: dict[str, str] | None = None, user: str = ""
    ) -> tuple[int, str, str]:
        """Exit status, stdout and stderr of a line for bash, as in a terminal of JupyterLab."""
        assert self._container is not None
        result = self._container.exec_run(
            ["/bin/bash", "-c", command], environment=env or {}, user=user, demux=True
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

    def examine(
        self, env: dict[str, str] | None = None, options: str = "", before: str = ""
    ) -> Examined:
        """before: what is typed in the same terminal."""
        status, out, err = self.run(f"{before}\nexec gpucamp-doctor --json {options}", env)
        assert status in (0, 1, 2), f"the doctor ended with {status}:\n{out}{err}"
        return Examined(status, json.loads(out))

    def mend(
        self, code: str, env: dict[str, str] | None = None, kernel: str = "python3"
    ) -> tuple[str, set[str], set[str]]:
        """Runs what is offered, unasked: the words, the codes found before and those found after.

        It is the command line's own; it keeps the report of its second look.
        """
        status, out, err = self.run(
            f"gpucamp-doctor --kernel {kernel} --repair {code} --yes </dev/null", env
        )
        assert status == 0 and f"{code} is mended." in out, out + err
        first, _, _ = out.partition(f"\n{code}\n")  # the plan follows the first report
        kept = json.loads(self.ok("cat ~/work/.gpucamp/doctor-report.json"))
        before = set(re.findall(r"^\S (GC\d{3}) ", first, re.MULTILINE))
        return out, before, {finding["code"] for finding in kept["findings"]}

    def mended(self, examined: Examined, code: str, env: dict[str, str] | None = None) -> set[str]:
        """The codes that are found after the command that was offered."""
        offered = examined.findings[code]["repair"]
        assert offered["kind"] == "here" and offered["command"], offered
        said, _, after_it = self.mend(code, env, examined.report["kernel"])
        assert offered["command"] in said
        return after_it

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


def make_wheel(patient: Patient, name: str, version: str, **files: str) -> None:
    """A wheel in /tmp/wheels that has these modules."""
    members = [word for path, text in files.items() for word in (f"{path}.py", text)]
    words = " ".join(shlex.quote(word) for word in [name, version, *members])
    patient.ok(f"python - {words} <<'END'\n{WHEEL}\nEND")


def install(patient: Patient, name: str, version: str, **files: str) -> None:
    """Installs a wheel that is made on the spot, with the environment's pip."""
    make_wheel(patient, name, version, **files)
    patient.ok(
        "PIP_CONSTRAINT= pip install --quiet --no-index --no-deps --find-links /tmp/wheels "
        f"{name}=={version}"
    )


# what NVML tells, in a container's own file
STATE = "/tmp/card.json"
NODES = [f"/dev/null:/dev/{name}:rw" for name in ("nvidia0", "nvidiactl", "nvidia-uvm")]
CARD = {
    "GPUCAMP_LEASE": "lease-1",
    "GPUCAMP_DEVICES": UUID,
    "GPUCAMP_SIMULATED": "0",
    "NVIDIA_VISIBLE_DEVICES": UUID,
}


def with_driver(patient: Patient) -> Patient:
    """The same, with the driver's libraries: libcuda, and a runtime that torch may be given."""
    patient.write("/tmp/libcuda.c", FAKE_CUDA.read_text())
    patient.write("/tmp/libcudart.c", FAKE_RUNTIME.read_text())
    patient.ok(
        "cd /tmp && gcc -shared -fPIC -o libcuda.so.1 libcuda.c && "
        "gcc -shared -fPIC -o libmimalloc.so libcudart.c"
    )
    status, _, err = patient.run(
        f"mkdir -p {DRIVER} && cp /tmp/libcuda.so.1 /tmp/libmimalloc.so {DRIVER}/", user="0"
    )
    assert status == 0, err
    return patient


@pytest.fixture(scope="module")
def card(make_patient: Callable[..., Patient]) -> Patient:
    """A container that looks as if it had a card: nodes, NVML, libcuda."""
    return with_driver(make_patient(CARD, devices=NODES))


def world(
    card: Patient,
    *,
    device: dict[str, Any] | None = None,
    more: Iterable[dict[str, Any]] = (),
    faults: Any = None,
    **env: str,
) -> dict[str, str]:
    """The variables with which NVML tells of this device, and of more."""
    state = {
        "driver_version": "570.172.08",
        "faults": faults or {},
        "devices": [{"uuid": UUID, "name": "NVIDIA A100-SXM4-40GB", **(device or {})}, *more],
    }
    card.write(STATE, json.dumps(state))
    return {
        "GPUCAMP_PRACTICE_FILE": STATE,
        "LD_LIBRARY_PATH": f"{PRACTICE_LIB}:{DRIVER}",
        **env,
    }


def look(card: Patient, **settings: Any) -> Examined:
    """An examination in such a world."""
    return card.examine(world(card, **settings))


def library(patient: Patient, path: str, source: str, *options: str) -> None:
    """A shared library by gcc."""
    folder, _, name = path.rpartition("/")
    words = shlex.join(["-shared", "-fPIC", "-o", path, f"-Wl,-soname,{name}", "-xc", "-"])
    patient.ok(
        f"mkdir -p {folder} && gcc {words} {shlex.join(options)} <<'END'\n{source}\nEND",
    )


def kernel(patient: Patient, name: str, python: str, **env: str) -> None:
    """A kernel spec of the participant's own."""
    spec = {
        "argv": [python, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        "display_name": name,
        "language": "python",
        "env": env,
    }
    path = f"/home/jovyan/.local/share/jupyter/kernels/{name}/kernel.json"
    patient.write(path, json.dumps(spec))


def after(patient: Patient, examined: Examined, code: str, env: dict[str, str]) -> Examined:
    """Examined again in a terminal where the command that was offered has been typed."""
    command = examined.findings[code]["command"]
    status, out, err = patient.run(f"{command}; gpucamp-doctor --json", env)
    assert status in (0, 1, 2), out + err
    return Examined(status, json.loads(out[out.index("{") :]))
