"""The real image, in a real Engine, run as the spawner runs it: read-only, without capabilities,
uid 1000, a volume for the home (the environment) and one for the work.

Nothing here reaches outside this machine: packages to install are made on the spot.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import time
import tomllib
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import docker
import pytest
from docker.models.containers import Container
from hub_of_one import HubOfOne, free_port

ROOT = Path(__file__).resolve().parents[2]
PINS = tomllib.loads((ROOT / "images/versions.toml").read_text(encoding="utf-8"))
BASE_PYTHON = "/opt/gpucamp/base/bin/python"
USER = "ada"

pytestmark = pytest.mark.timeout(300)


def locked(name: str) -> dict[str, str]:
    """Normalised name -> version of a lock file."""
    text = (ROOT / "images/torch-cuda" / name).read_text(encoding="utf-8")
    return dict(re.findall(r"^([a-z0-9][a-z0-9._-]*)==(\S+)", text, re.MULTILINE))


@pytest.fixture(scope="module")
def client() -> Iterator[docker.DockerClient]:
    client = docker.from_env(timeout=280)
    yield client
    client.close()


@pytest.fixture(scope="module")
def image(client: docker.DockerClient) -> str:
    """The image under test: GPUCAMP_IMAGE, or the one that `make image` made."""
    wanted = os.environ.get("GPUCAMP_IMAGE", "")
    if not wanted:
        state = Path(os.environ.get("GPUCAMP_STATE_DIR", ROOT / ".gpucamp"))
        wanted = (state / "image").read_text(encoding="ascii").strip()
    return client.images.get(wanted).id


class Seat:
    """A participant's two volumes, and containers on them one after the other."""

    def __init__(self, client: docker.DockerClient, image: str) -> None:
        self._client = client
        self._image = image
        self._name = f"gpucamp-test-image-{uuid.uuid4().hex[:10]}"
        self.generation = 1
        self._container: Container | None = None

    def start(self, command: list[str] | None = None, **options: object) -> Container:
        """A new container over the volumes, in place of the one before."""
        self.stop()
        self._container = self._client.containers.run(
            self._image,
            command or ["sleep", "infinity"],
            detach=True,
            name=self._name,
            user="1000",
            read_only=True,
            tmpfs={"/tmp": "exec"},
            cap_drop=["ALL"],
            security_opt=["no-new-privileges"],
            volumes={
                f"{self._name}-{self.generation}": {"bind": "/home/jovyan"},
                f"{self._name}-work": {"bind": "/home/jovyan/work"},
            },
            **{"network_mode": "none", **options},
        )
        return self._container

    def limit_volumes(self, kilobytes: int) -> None:
        """Before the first start: volumes in memory, of this size."""
        options = f"size={kilobytes}k,uid=1000,gid=100,mode=755"
        for part in (self.generation, "work"):
            self._client.volumes.create(
                f"{self._name}-{part}",
                driver_opts={"type": "tmpfs", "device": "tmpfs", "o": options},
            )

    def run(self, command: str | list[str], **options: object) -> tuple[int, str]:
        """Exit status and output of a command (a text is one for sh) in the container."""
        if self._container is None:
            self.start()
        argv = ["sh", "-c", command] if isinstance(command, str) else command
        result = self._container.exec_run(argv, **options)
        return result.exit_code, result.output.decode(errors="replace")

    def ok(self, command: str | list[str], **options: object) -> str:
        """The output of a command that must succeed."""
        status, output = self.run(command, **options)
        assert status == 0, f"{command} ended with {status}:\n{output}"
        return output

    def python(self, code: str, interpreter: str = "python") -> str:
        return self.ok([interpreter, "-c", code]).strip()

    def stop(self) -> None:
        if self._container is not None:
            self._container.remove(force=True)
            self._container = None

    def discard(self) -> None:
        self.stop()
        for volume in self._client.volumes.list(filters={"name": self._name}):
            volume.remove(force=True)


@pytest.fixture(scope="module")
def make_seat(client: docker.DockerClient, image: str) -> Iterator[Callable[[], Seat]]:
    seats: list[Seat] = []

    def make() -> Seat:
        seats.append(Seat(client, image))
        return seats[-1]

    yield make
    for seat in seats:
        seat.discard()


@pytest.fixture
def seat(make_seat: Callable[[], Seat]) -> Iterator[Seat]:
    seat = make_seat()
    yield seat
    seat.discard()


@pytest.fixture(scope="module")
def shared_seat(make_seat: Callable[[], Seat]) -> Seat:
    """For tests that only look."""
    return make_seat()


# A pure-Python wheel is a zip file: enough to test where an installation lands.
MAKE_WHEEL = """
import pathlib, sys, zipfile
name, version, module, body = sys.argv[1:]
folder = pathlib.Path.home() / "work/wheels"
folder.mkdir(exist_ok=True)
members = {
    "METADATA": f"Metadata-Version: 2.1\\nName: {name}\\nVersion: {version}\\n",
    "WHEEL": "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
    "RECORD": "",
}
with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
    wheel.writestr(f"{module}.py", body)
    for member, text in members.items():
        wheel.writestr(f"{name}-{version}.dist-info/{member}", text)
"""


def make_wheel(seat: Seat, name: str, version: str, module: str, body: str) -> None:
    seat.ok([BASE_PYTHON, "-c", MAKE_WHEEL, name, version, module, body])


INSTALL = "install --no-index --find-links /home/jovyan/work/wheels"


# ---- what is in it -----------------------------------------------------------------------------


def test_the_stack_is_the_pinned_one(shared_seat: Seat) -> None:
    facts = json.loads(
        shared_seat.python(
            "import json, sys, torch, torchvision, torchaudio, triton\n"
            "print(json.dumps({'torch': torch.__version__.partition('+')[0],\n"
            " 'torchvision': torchvision.__version__.partition('+')[0],\n"
            " 'torchaudio': torchaudio.__version__.partition('+')[0],\n"
            " 'triton': triton.__version__, 'cuda': torch.version.cuda,\n"
            " 'cudnn': torch.backends.cudnn.version(),\n"
            " 'nccl': '.'.join(map(str, torch.cuda.nccl.version())),\n"
            " 'python': '%d.%d' % sys.version_info[:2]}))"
        )
    )
    pinned = {name: value for name, value in PINS["stack"].items() if name in facts}
    assert facts == {**pinned, "python": PINS["python"]["version"]}
    assert len(pinned) == 7


def test_the_packages_are_those_of_the_lock(shared_seat: Seat) -> None:
    listed = json.loads(shared_seat.ok([BASE_PYTHON, "-m", "pip", "list", "--format", "json"]))
    found = {re.sub(r"[-_.]+", "-", p["name"]).lower(): p["version"] for p in listed}
    assert found.pop("gpucamp")
    wanted = locked("base.lock")
    assert wanted.pop("rfc3987-syntax")
    assert found == wanted
    lock = shared_seat.ok("cat /opt/gpucamp/base.lock")
    assert lock == (ROOT / "images/torch-cuda/base.lock").read_text(encoding="utf-8")
    versions = json.loads(shared_seat.ok("cat /opt/gpucamp/versions.json"))
    assert versions == PINS


def test_byte_code_is_in_the_image(shared_seat: Seat) -> None:
    code = (
        "import importlib.util, os, sys\n"
        "names = ['torch', 'jupyter_server.serverapp', 'jupyterhub.singleuser.extension',\n"
        "         'jupyterlab.labapp', 'server_ext', 'json', 'asyncio']\n"
        "print([n for n in names if not os.path.exists(importlib.util.find_spec(n).cached)])"
    )
    assert shared_seat.python(code, BASE_PYTHON) == "[]"


def test_no_cache_is_left_in_it(shared_seat: Seat, client: docker.DockerClient, image: str) -> None:
    places = "/root /tmp /mnt /media /var/tmp /var/cache/apt /var/lib/apt/lists /var/log/apt"
    found = shared_seat.run(f"find {places} -xdev -type f -size +1k 2>/dev/null")[1]
    assert found == ""
    assert client.images.get(image).attrs["Size"] < 8.6e9


def test_torch_compile_finds_a_compiler(shared_seat: Seat) -> None:
    code = (
        "import torch\n"
        "f = torch.compile(lambda x: torch.sin(x) * 2 + 1)\n"
        "x = torch.arange(64, dtype=torch.float32)\n"
        "print(torch.allclose(f(x), torch.sin(x) * 2 + 1))"
    )
    # one compiler at a time: a pool of them is slower than this one function
    one = {"TORCHINDUCTOR_COMPILE_THREADS": "1"}
    assert shared_seat.ok(["python", "-c", code], environment=one).strip().endswith("True")
    # triton compiles a small C extension before its first kernel; the header must be there
    shared_seat.ok(
        "echo '#include <Python.h>' | gcc -fsyntax-only -x c - $(python3-config --includes)"
    )


def test_two_processes_reduce_over_gloo(shared_seat: Seat) -> None:
    script = (
        "import torch, torch.distributed as dist\n"
        "dist.init_process_group('gloo')\n"
        "t = torch.tensor([dist.get_rank() + 1.0]); dist.all_reduce(t)\n"
        "import os; os.write(1, f'sum {t.item()} of {dist.get_world_size()}\\n'.encode())\n"
        "dist.destroy_process_group()\n"
    )
    shared_seat.ok(["python", "-c", f"open('/tmp/reduce.py', 'w').write({script!r})"])
    output = shared_seat.ok(
        "torchrun --standalone --local-addr 127.0.0.1 --nproc-per-node 2 /tmp/reduce.py"
    )
    assert output.count("sum 3.0 of 2") == 2


# ---- hardening ---------------------------------------------------------------------------------


def test_it_runs_without_any_privilege(shared_seat: Seat) -> None:
    status = shared_seat.ok("cat /proc/self/status; id -u; id -g")
    assert re.search(r"^CapEff:\s+0+$", status, re.MULTILINE)
    assert re.search(r"^CapBnd:\s+0+$", status, re.MULTILINE)
    assert re.search(r"^NoNewPrivs:\s+1$", status, re.MULTILINE)
    assert status.split()[-2:] == ["1000", "100"]


def test_no_file_is_setuid_and_nothing_of_the_base_is_writable(shared_seat: Seat) -> None:
    assert shared_seat.run("find / -xdev -perm /6000 -type f 2>/dev/null")[1] == ""
    places = "/opt /usr /etc /var /bin /lib"
    owned = shared_seat.run(
        f"find {places} -xdev \\( -user 1000 -o -perm -0002 \\) ! -type l ! -perm -1000"
    )
    assert [line for line in owned[1].splitlines() if "Permission denied" not in line] == []


def test_history_and_files_hold_no_secret(
    shared_seat: Seat, client: docker.DockerClient, image: str
) -> None:
    history = json.dumps(client.images.get(image).history())
    config = json.dumps(client.images.get(image).attrs["Config"])
    for text in (history, config):
        assert "BEGIN CERTIFICATE" not in text
        assert "/etc/ssl" not in text
        assert not re.search(r"https?://(?!github\.com/jupyter-server)", text)
    assert shared_seat.ok("ls -A /run/secrets 2>/dev/null || true") == ""
    sources = shared_seat.ok(
        "cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null; true"
    )
    assert set(re.findall(r"https?://([^/\s]+)", sources)) <= {"deb.debian.org"}
    assert "index" not in shared_seat.ok("pip config list")
    # the certificates it trusts are those of Debian's package, and no other
    own = shared_seat.ok(
        "find /usr/local/share/ca-certificates -type f;"
        "cat /usr/share/ca-certificates/mozilla/*.crt | grep -c BEGIN;"
        "grep -c BEGIN /etc/ssl/certs/ca-certificates.crt"
    ).split()
    assert len(own) == 2
    assert own[0] == own[1]


def test_no_gpu_by_default(client: docker.DockerClient, image: str) -> None:
    environment = client.images.get(image).attrs["Config"]["Env"]
    assert "NVIDIA_VISIBLE_DEVICES=void" in environment
    assert not [entry for entry in environment if entry.startswith(("CUDA_VERSION", "LD_"))]


# ---- base, environment, work -------------------------------------------------------------------


def test_an_installation_stays_in_the_environment(seat: Seat) -> None:
    make_wheel(seat, "six", "99.0", "six", "__version__ = '99.0'")
    version = "import six; print(six.__version__)"
    before = seat.python(version)
    assert before == locked("base.lock")["six"]

    seat.ok(f"pip {INSTALL} six==99.0")
    where = seat.python("import six; print(six.__file__)")
    assert where.startswith("/home/jovyan/.venv/")
    assert seat.python(version) == "99.0"
    assert seat.python(version, BASE_PYTHON) == before
    assert seat.run("test -e ~/.local/lib")[0] != 0

    seat.start()  # stop and start again
    assert seat.python(version) == "99.0"

    seat.generation = 2  # reset
    seat.start()
    assert seat.python(version) == before
    assert seat.ok("ls ~/work/wheels").strip() == "six-99.0-py3-none-any.whl"

    seat.generation = 1  # undo
    seat.start()
    assert seat.python(version) == "99.0"


@pytest.mark.parametrize(
    "pip",
    [
        "pip",
        "pip3",
        "python -m pip",
        "python3 -m pip",
        "bash -lc 'exec pip \"$@\"' pip",
        "env PIP_USER=1 PYTHONNOUSERSITE= pip install --help >/dev/null; pip",
    ],
)
def test_every_pip_is_the_environments(seat: Seat, pip: str) -> None:
    make_wheel(seat, "brought", "1.0", "brought", "here = __file__")
    seat.ok(f"{pip} {INSTALL} brought")
    assert seat.python("import brought; print(brought.here)").startswith("/home/jovyan/.venv/")
    seat.ok(f"{pip} uninstall --yes brought")
    assert seat.run(["python", "-c", "import brought"])[0] == 1


RUN_IN_KERNEL = """
import sys
from jupyter_client.manager import start_new_kernel
manager, client = start_new_kernel(kernel_name="python3", startup_timeout=60)
try:
    for code in sys.argv[1:]:
        def show(message):
            content = message["content"]
            print(content.get("text") or "\\n".join(content.get("traceback", [])), end="")
        client.execute_interactive(code, output_hook=show, timeout=120)
finally:
    client.stop_channels()
    manager.shutdown_kernel(now=True)
"""


def test_pip_in_a_notebook_installs_for_the_kernel(seat: Seat) -> None:
    make_wheel(seat, "brought", "1.0", "brought", "here = __file__")
    output = seat.ok(
        [BASE_PYTHON, "-c", RUN_IN_KERNEL, f"%pip {INSTALL} brought", "import sys, torch, brought",
         "print('\\nprefix', sys.prefix, 'brought', brought.here, 'torch', torch.__file__)"],
        environment={"JUPYTER_RUNTIME_DIR": "/tmp/runtime"},
    )  # fmt: skip
    assert "prefix /home/jovyan/.venv brought /home/jovyan/.venv/" in output
    assert "torch /opt/gpucamp/base/" in output


def test_what_the_base_brings_is_neither_removed_nor_replaced(seat: Seat) -> None:
    status, output = seat.run("pip uninstall --yes numpy")
    assert status == 0
    assert "outside environment" in output
    seat.python("import numpy")

    # torch for another CUDA is what an upgrade would bring; the constraint refuses it
    make_wheel(seat, "torch", "9.9", "torch", "raise ImportError('wrong CUDA')")
    status, output = seat.run(f"pip {INSTALL} --upgrade torch==9.9")
    assert status != 0
    assert "constraint" in output
    assert seat.python("import torch; print(torch.__version__)").startswith("2.9.1")


# ---- the server --------------------------------------------------------------------------------


class Served:
    """The user's server in a container, behind a hub that knows one user."""

    def __init__(self, seat: Seat, hub: HubOfOne, before: str = ":", **environment: str) -> None:
        """Start the server; `before` is a shell command that runs first, in its container."""
        self.port = free_port()
        # the host's network, so that a hub in this process can be reached at 127.0.0.1
        self.container = seat.start(
            ["sh", "-c", f"{before}; exec /opt/gpucamp/bin/start-server"],
            network_mode="host",
            environment={**hub.environment(USER, self.port), **environment},
        )
        self._token = hub.token
        deadline = time.monotonic() + 60
        while True:
            try:
                if self.get("api").status == 200:
                    return
            except OSError:
                pass
            self.container.reload()
            logs = self.container.logs().decode(errors="replace")
            assert self.container.status in ("created", "running"), logs
            assert time.monotonic() < deadline, logs
            time.sleep(0.05)

    def get(self, path: str) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request(
            "GET", f"/user/{USER}/{path}", headers={"Authorization": f"token {self._token}"}
        )
        return connection.getresponse()

    def json(self, path: str) -> dict:
        answer = self.get(path)
        body = answer.read().decode()
        assert answer.status == 200, body
        return json.loads(body)


@pytest.fixture(scope="module")
def hub() -> Iterator[HubOfOne]:
    with HubOfOne(USER) as hub:
        yield hub


def check_server(served: Served) -> None:
    """Everything a participant needs to see: the page, settings, files, the kernel, terminals."""
    lab = served.get("lab")
    page = lab.read().decode()
    assert lab.status == 200, served.container.logs().decode(errors="replace")
    config = json.loads(re.search(r'jupyter-config-data"[^>]*>(.*?)</script>', page, re.S)[1])
    assert "gpucamp" in [extension["name"] for extension in config["federated_extensions"]]
    assert served.json("gpucamp/status")["user"] == USER
    assert served.json("lab/api/settings")["settings"]
    assert "workspaces" in served.json("lab/api/workspaces")
    assert "content" in served.json("api/contents/")
    assert served.json("api/terminals") == []
    specs = served.json("api/kernelspecs")
    assert specs["default"] == "python3"
    spec = specs["kernelspecs"]["python3"]["spec"]
    assert spec["display_name"] == "Python 3 (PyTorch 2.9)"
    assert spec["argv"][0] == "/home/jovyan/.venv/bin/python"


def test_the_server_starts(seat: Seat, hub: HubOfOne) -> None:
    check_server(Served(seat, hub))
    assert seat.ok("cat ~/work/.gpucamp/examples") == ""


RAISES = "raise SystemExit('user code ran in the server')"
SABOTAGE = {
    "the environment is a file": "rm -rf ~/.venv && echo x > ~/.venv",
    "the environment's python is broken": "ln -sf /nowhere ~/.venv/bin/python3",
    "packages of the server in the environment": (
        "cd ~/.venv/lib/python3.11/site-packages && for m in tornado jupyter_server jupyterhub"
        f' traitlets sitecustomize; do echo "{RAISES}" > $m.py; done; echo "import os; os._exit(3)"'
        " > a.pth"
    ),
    "packages in the user site": (
        "d=~/.local/lib/python3.11/site-packages && mkdir -p $d && cd $d && for m in tornado"
        f' jupyter_server usercustomize server_ext; do echo "{RAISES}" > $m.py; done;'
        ' echo "import os; os._exit(3)" > a.pth'
    ),
    "modules in the working folder": (
        f'cd ~/work && for m in random json tornado jupyterhub; do echo "{RAISES}" > $m.py; done'
    ),
    "dotfiles of a shell": (
        "for f in .bashrc .profile .bash_profile .bash_login; do echo 'export PYTHONPATH=~"
        " PYTHONHOME=/nowhere LD_PRELOAD=/nowhere.so; exit 3' > ~/$f; done"
    ),
    "configuration of the server": (
        f'mkdir -p ~/.jupyter && cd ~/.jupyter && echo "{RAISES}" > jupyter_server_config.py &&'
        " cp jupyter_server_config.py jupyter_lab_config.py && echo { > jupyter_server_config.json"
        f' && mkdir -p ~/.ipython/profile_default/startup && echo "{RAISES}" >'
        " ~/.ipython/profile_default/startup/0.py"
    ),
    "settings of the page": (
        "cd ~ && mkdir -p .jupyter/lab/user-settings/@jupyterlab/apputils-extension"
        " .jupyter/lab/workspaces .jupyter/labconfig && echo '{'"
        " > .jupyter/lab/user-settings/@jupyterlab/apputils-extension/themes.jupyterlab-settings &&"
        " echo '{' > .jupyter/lab/workspaces/default-37a8.jupyterlab-workspace &&"
        " echo '{' > .jupyter/labconfig/page_config.json"
    ),
    "a lab extension": (
        "d=~/.local/share/jupyter/labextensions/bad && mkdir -p $d && echo '{' > $d/package.json"
    ),
    "a kernel of the same name": (
        "d=~/.local/share/jupyter/kernels/python3 && mkdir -p $d && echo '{' > $d/kernel.json"
    ),
    "files where folders belong": (
        "cd ~ && rm -rf .local .jupyter .cache .config .ipython && touch .local .jupyter .cache"
        " .config .ipython"
    ),
    "folders that cannot be written": "cd ~ && mkdir -p .local .jupyter && chmod 0 .local .jupyter",
    "a home without anything": "find ~ -mindepth 1 -not -path '*/work*' -delete",
    "a work folder that refuses": "chmod 500 ~/work",
}


@pytest.mark.parametrize("name", SABOTAGE)
def test_nothing_in_the_home_stops_the_server(seat: Seat, hub: HubOfOne, name: str) -> None:
    seat.ok(SABOTAGE[name])
    check_server(Served(seat, hub))


def test_full_volumes_do_not_stop_the_server(seat: Seat, hub: HubOfOne) -> None:
    seat.limit_volumes(kilobytes=512)
    fill = "cat /dev/zero > ~/fill; cat /dev/zero > ~/work/fill"
    served = Served(seat, hub, before=f"({fill}) 2>/dev/null")
    assert seat.run("echo more > ~/more || echo more > ~/work/more")[0] != 0
    check_server(served)


def test_settings_that_can_be_read_stay(seat: Seat, hub: HubOfOne) -> None:
    folder = "~/.jupyter/lab/user-settings/@jupyterlab/apputils-extension"
    seat.ok(
        f"mkdir -p {folder} && cd {folder} && echo '{{}}' > a.jupyterlab-settings &&"
        ' echo \'{ // mine\n "theme": "JupyterLab Dark", }\' > themes.jupyterlab-settings &&'
        " : > notification.jupyterlab-settings && echo '[1]' > b.jupyterlab-settings"
    )
    served = Served(seat, hub)
    assert served.json("lab/api/settings/@jupyterlab/apputils-extension:themes")["settings"] == {
        "theme": "JupyterLab Dark"
    }
    assert seat.ok(f"ls {folder}").split() == [
        "a.jupyterlab-settings",
        "b.jupyterlab-settings.broken",
        "notification.jupyterlab-settings.broken",
        "themes.jupyterlab-settings",
    ]


def test_variables_that_lead_python_astray_do_not_reach_it(seat: Seat, hub: HubOfOne) -> None:
    seat.ok(f'mkdir ~/astray && for m in tornado random; do echo "{RAISES}" > ~/astray/$m.py; done')
    check_server(
        Served(
            seat,
            hub,
            PYTHONPATH="/home/jovyan/astray",
            PYTHONSTARTUP="/home/jovyan/astray/random.py",
            LD_PRELOAD="/nowhere.so",
        )
    )


def test_the_examples_come_once(seat: Seat, hub: HubOfOne) -> None:
    Served(seat, hub)
    names = seat.ok("ls ~/work/examples").split()
    assert names
    assert seat.ok("ls -A ~/work/.gpucamp").split() == ["examples"]
    seat.ok(f"echo mine > ~/work/examples/{names[0]} && rm -r ~/work/examples/{names[-1]}")
    Served(seat, hub)
    assert seat.ok("ls ~/work/examples").split() == names[:-1]
    assert seat.ok(f"cat ~/work/examples/{names[0]}") == "mine\n"


def test_a_users_own_folder_of_that_name_stays(seat: Seat, hub: HubOfOne) -> None:
    seat.ok("mkdir ~/work/examples && echo mine > ~/work/examples/file")
    Served(seat, hub)
    assert seat.ok("ls ~/work/examples").split() == ["file"]


def test_a_first_start_cut_short_is_made_good(seat: Seat, hub: HubOfOne) -> None:
    seat.ok(
        "mkdir -p ~/work/.gpucamp/examples.abcdef && touch ~/work/.gpucamp/examples.abcdef/half"
    )
    Served(seat, hub)
    assert seat.ok("ls ~/work/examples").split()
    assert seat.ok("ls -A ~/work/.gpucamp").split() == ["examples"]


# ---- practice mode -----------------------------------------------------------------------------

SIMULATED = "GPU-5ca1ab1e-0000-4000-8000-000000000001"


def test_practice_devices_are_seen_by_server_kernel_and_terminal(seat: Seat, hub: HubOfOne) -> None:
    served = Served(seat, hub, GPUCAMP_PRACTICE="1", NVIDIA_VISIBLE_DEVICES=SIMULATED)
    server = seat.ok("cat /proc/$(pgrep -o -f /opt/gpucamp/bin/serve.py)/environ").split("\0")
    assert "LD_LIBRARY_PATH=/opt/gpucamp/practice/lib" in server
    terminal = seat.ok(
        ["bash", "-lc", "nvidia-smi -L"],
        environment={"GPUCAMP_PRACTICE": "1", "NVIDIA_VISIBLE_DEVICES": SIMULATED},
    )
    assert SIMULATED in terminal
    assert "imulated" in terminal
    assert [device["uuid"] for device in served.json("gpucamp/status")["devices"]] == [SIMULATED]


def test_without_practice_there_is_no_stand_in(seat: Seat, hub: HubOfOne) -> None:
    Served(seat, hub)
    assert seat.run(["bash", "-lc", "nvidia-smi -L"])[0] == 127
    server = seat.ok("cat /proc/$(pgrep -o -f /opt/gpucamp/bin/serve.py)/environ")
    assert "LD_LIBRARY_PATH" not in server
