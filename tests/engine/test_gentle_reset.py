"""What JupyterLab offers beside a reset, in the real image: as the participant, between volumes."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import docker
import pytest
from lab_server import LabServer
from participant_files import put
from wheels import wheel

pytestmark = pytest.mark.timeout(300)
RESET = "gpucamp/reset"
USERS = ".local/lib/python3.11/site-packages"  # of pip install --user
TORCH = "python -c 'import torch; print(torch.__version__)'"


class Service(BaseHTTPRequestHandler):
    """Knows of one environment."""

    def do_GET(self) -> None:
        body = json.dumps({"generation": 3, "can_undo": False}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def lab(engine: docker.DockerClient, image: str) -> Iterator[LabServer]:
    """A server with a service that answers; each test leaves it as it was."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Service) as service:
        threading.Thread(target=service.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{service.server_address[1]}/services/gpucamp/"
        environment = {"GPUCAMP_SERVICE_URL": url, "PIP_NO_INDEX": "1", "GPUCAMP_GENERATION": "3"}
        with LabServer.serving(engine, image, environment) as server:
            yield server
        service.shutdown()


def ask(lab: LabServer, method: str, path: str, body: Any = None) -> Any:
    status, answer = lab.ask(method, path, {} if method == "POST" and body is None else body)
    assert status == 200, answer
    return answer


def give(lab: LabServer, folder: Path, name: str) -> str:
    """A wheel in the work folder; its name."""
    path = wheel(folder, name, "1.0")
    put(lab, path, path.name)
    return path.name


def packages(lab: LabServer) -> list[str]:
    return [one["name"] for one in ask(lab, "GET", RESET)["changed_packages"]]


def test_removing_what_was_installed(lab: LabServer, tmp_path: Path) -> None:
    file = give(lab, tmp_path, "kettle")
    lab.ok(f"pip install -q {file} && pip install -q --target ~/{USERS} {file}")
    lab.ok("echo alias x=y >> ~/.bashrc; mkdir -p ~/.cache/torch; echo w > ~/.cache/torch/w")
    assert packages(lab) == ["kettle"]
    status, kernel = lab.ask("POST", "api/kernels", {})
    assert status == 201
    answer = ask(lab, "POST", f"{RESET}/packages")
    assert answer == {"removed": 1, "kernels": {"restarted": [kernel["id"]], "failed": []}}
    assert packages(lab) == []
    assert lab.sh("python -c 'import kettle'")[0] == 1
    assert lab.sh(f"ls ~/{USERS}")[0] != 0
    assert lab.ok(TORCH).startswith("2.9.1")
    assert "alias x=y" in lab.ok("cat ~/.bashrc; cat ~/.cache/torch/w; ls")
    lab.ok(f"pip install -q {file} && python -c 'import kettle'")
    assert ask(lab, "POST", f"{RESET}/packages")["removed"] == 1
    assert lab.ask("DELETE", f"api/kernels/{kernel['id']}")[0] == 204
    lab.ok(f"sed -i '/alias x=y/d' ~/.bashrc; rm -rf ~/.cache/torch {file}")


@pytest.mark.parametrize(
    "wreck",
    [
        "rm -rf ~/.venv",
        "rm ~/.venv/bin/python",
        "find ~/.venv -depth -exec chmod -f a-rwx {} + || true",
        "rm -rf ~/.venv && ln -s .venv ~/.venv",
        "rm -rf ~/.venv && echo x > ~/.venv",
        "rm -rf ~/.venv && /usr/bin/python3 -m venv --without-pip ~/.venv",
        "rm ~/.venv/lib/python3.11/site-packages/gpucamp-base.pth",
        "echo 'raise SystemExit' > ~/.venv/lib/python3.11/site-packages/sitecustomize.py",
        "chmod a-rwx ~",
    ],
)
def test_removing_what_was_installed_mends_the_environment(lab: LabServer, wreck: str) -> None:
    lab.ok(wreck)
    status, answer = lab.ask("GET", RESET)
    assert status == 200, (answer, lab.container.logs(tail=60).decode(errors="replace"))
    ask(lab, "POST", f"{RESET}/packages")
    assert lab.ok(TORCH).startswith("2.9.1")
    lab.ok("pip list | grep ^torch; chmod 755 ~")
    assert packages(lab) == []


def test_a_start_makes_an_environment_that_is_missing(lab: LabServer) -> None:
    before = lab.ok(
        "cd ~/.venv && find . -type l -printf '%p %l\\n' -o -type f -printf '%p %m\\n' | sort"
    )
    lab.ok("rm -rf ~/.venv; mkdir ~/.gpucamp-venv.abcdef")
    lab.container.restart(timeout=2)
    lab.start()
    after = lab.ok(
        "cd ~/.venv && find . -type l -printf '%p %l\\n' -o -type f -printf '%p %m\\n' | sort"
    )
    assert [line for line in after.splitlines() if "__pycache__" not in line] == [
        line for line in before.splitlines() if "__pycache__" not in line
    ]
    assert lab.ok(TORCH).startswith("2.9.1")
    assert lab.sh("ls -d ~/.gpucamp-venv.*")[0] != 0


MAKE = r"""
mkdir -p ~/results/deep/closed ~/results/empty; cd ~/results
head -c 3000000 /dev/urandom > model.bin; ln model.bin deep/same; ln -s ../model.bin deep/link
ln -s / root; ln -s loop loop; printf x > $'odd \n\xff name'; mkfifo pipe
echo s > secret; chmod 000 secret; echo c > deep/closed/file; chmod 500 deep/closed
truncate -s 5G sparse; printf end >> sparse; touch -d 2020-02-02 model.bin; chmod 555 deep
echo one > ~/one.csv; mkdir ~/work/from-home; echo kept > ~/work/from-home/one.csv
"""
TREE = r"""
cd %s; find . ! -name secret ! -name sparse -type f -exec sha256sum {} + | sort
find . ! -path . -printf '%%y %%m %%T@ %%s %%n %%p %%l\n' | sed 's/^d \(\S* \S*\) \S*/d \1/' | sort
stat -c %%b sparse
"""


def test_files_outside_work_are_moved_between_volumes(lab: LabServer) -> None:
    lab.ok(MAKE)
    before = lab.ok(TREE % "~/results")
    outside = ask(lab, "GET", RESET)["outside"]
    assert [(one["path"], one["folder"]) for one in outside["files"]] == [
        ("one.csv", False),
        ("results", True),
    ]
    body = {"paths": [one["path"] for one in outside["files"]]}
    answer = ask(lab, "POST", f"{RESET}/moves", body)
    assert answer["failed"] == []
    assert [one["to"] for one in answer["moved"]] == ["from-home/one-2.csv", "from-home/results"]
    assert lab.ok(TREE % "~/work/from-home/results") == before
    assert lab.ok("cat from-home/one.csv from-home/one-2.csv") == "kept\none\n"
    assert ask(lab, "GET", RESET)["outside"] == {"files": [], "bytes": 0, "more": 0}
    assert lab.ok("ls -A .gpucamp/moving") == ""
    lab.ok("chmod -R u+rwx from-home; rm -rf from-home")


def test_chosen_packages_come_back_after_a_restart(lab: LabServer, tmp_path: Path) -> None:
    file = give(lab, tmp_path, "kettle")
    lines = [f"kettle @ file:///home/jovyan/work/{file}", "nowhere==9.9", "# generation: 2"]
    text = "\\n".join(lines)
    lab.ok(f"mkdir -p .gpucamp; printf '{text}\\n' > .gpucamp/install-again.lock")
    assert ask(lab, "GET", f"{RESET}/again")["state"] == "waiting"
    lab.container.restart(timeout=2)
    lab.start()
    for _ in range(600):
        report = ask(lab, "GET", f"{RESET}/again")
        if report["state"] == "done":
            break
        time.sleep(0.1)
    kettle, nowhere = report["packages"]
    assert (kettle["state"], nowhere["state"]) == ("installed", "failed"), report
    assert "nowhere==9.9" in nowhere["why"]
    lab.ok("python -c 'import kettle, torch'")
    assert lab.ask("DELETE", f"{RESET}/again")[0] == 204
    ask(lab, "POST", f"{RESET}/packages")
    lab.ok(f"rm {file}")


def test_a_wrecked_home_is_told_as_far_as_it_is_known(lab: LabServer) -> None:
    lab.ok(
        "cd ~/.venv/lib/python3.11/site-packages; mkdir six-9.dist-info idna-9.dist-info;"
        "mkfifo six-9.dist-info/RECORD idna-9.dist-info/direct_url.json a.pth;"
        "mkdir loop-1.dist-info; ln -s RECORD loop-1.dist-info/RECORD;"
        "mkdir -p ~/data/shut ~/empty; echo x > ~/data/file; chmod 000 ~/data/shut;"
        "mkfifo ~/pipe; ln -s me ~/me"
    )
    seen = ask(lab, "GET", RESET)
    assert {one["name"] for one in seen["changed_packages"]} == {"six", "idna", "loop"}
    assert {one["path"]: one["bytes"] for one in seen["outside"]["files"]} == {
        "data": None,
        "me": 2,
        "pipe": 0,
    }
    assert seen["environment_bytes"] is None and seen["outside"]["bytes"] is None
    lab.ok("chmod 700 ~/data/shut; rm -rf ~/data ~/empty ~/pipe ~/me")
    ask(lab, "POST", f"{RESET}/packages")
