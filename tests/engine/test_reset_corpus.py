"""Broken environments, each made for real in the real image (reset_corpus/), before and after a
reset. The head of a case says its symptoms, which are shown before they are mended:

    # symptom: torch, pip       names of SYMPTOMS; `kernel`; or `none`: the suite withstands it
    # fails: COMMAND            a symptom of its own: a command that does not succeed
    # home: size=40m            the home is a file system of its own, with these options of tmpfs
    # pids: 200                 so many processes are allowed in the container that is broken
    # seconds: 300              how long breaking it may take

Whatever is broken, the server of the broken environment still serves JupyterLab. After the reset
everything works, and the work is as it was, to the inode.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import docker
import pytest
from broken_home import USER, Place
from hub_of_one import HubOfOne

pytestmark = pytest.mark.timeout(300)

CASES = Path(__file__).with_name("reset_corpus")
WHEEL = """
import zipfile
with zipfile.ZipFile("/tmp/brought-1.0-py3-none-any.whl", "w") as wheel:
    wheel.writestr("brought.py", "")
    for name, text in (
        ("METADATA", "Metadata-Version: 2.1\\nName: brought\\nVersion: 1.0\\n"),
        ("WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"),
        ("RECORD", ""),
    ):
        wheel.writestr("brought-1.0.dist-info/" + name, text)
"""
# what works in a new environment; seconds: a broken one that takes longer hangs
SYMPTOMS = {
    "python": (5, 'test "$(python -c "print(6 * 7)")" = 42'),
    "environment": (20, "~/.venv/bin/python -c 'import torch; torch.ones(4).sum()'"),
    "torch": (20, 'test "$(python -c "import torch; print(torch.ones(4).sum().item())")" = 4.0'),
    "pip": (
        20,
        f"/usr/bin/python3 -I -c '{WHEEL}' && pip install --no-index /tmp/brought-*.whl &&"
        " cd / && python -c 'import brought' && pip uninstall -y brought",
    ),
    # a terminal of JupyterLab
    "terminal": (5, """test "$(bash -ilc 'python -c "print(6 * 7)"' 2>/dev/null)" = 42"""),
    "save": (5, 'f=$(mktemp -p ~) && echo x > "$f" && rm "$f"'),
    # a Jupyter that the participant starts in a terminal, where nothing protects it
    "jupyter": (
        12,
        "port=$((20000 + RANDOM % 10000)); export JUPYTER_TOKEN=x;"
        ' bash -lc "exec jupyter lab --no-browser --port=$port >/tmp/jupyter.log 2>&1" &'
        " for i in $(seq 300); do curl -fso /dev/null http://127.0.0.1:$port/lab?token=x &&"
        " { for at in settings workspaces; do curl -m 8 -fso /dev/null"
        " http://127.0.0.1:$port/lab/api/$at?token=x || break 2; done; kill %1; exit 0; };"
        " kill -0 %1 2>/dev/null || break; sleep 0.1; done;"
        " cat /tmp/jupyter.log; exit 1",
    ),
}
TORCH = (
    "import torch",
    "float(torch.arange(4.0).sum() + torch.ones(2, 2).mm(torch.ones(2, 2))[0, 0])",
)


@dataclass(frozen=True)
class Case:
    """One file of the corpus."""

    name: str
    script: str

    def told(self, key: str) -> list[str]:
        """What its head says of this."""
        return re.findall(rf"^# {key}: (.+)$", self.script, re.MULTILINE)

    @property
    def symptoms(self) -> list[str]:
        return [name for line in self.told("symptom") for name in line.split(", ")]

    def one(self, key: str, default: str) -> str:
        return (self.told(key) or [default])[0]


CORPUS = [Case(path.stem, path.read_text()) for path in sorted(CASES.glob("*.sh"))]


@pytest.fixture(scope="module")
def one_hub() -> Iterator[HubOfOne]:
    with HubOfOne(USER) as hub:
        yield hub


@pytest.fixture
def place(engine: docker.DockerClient, image: str, one_hub: HubOfOne) -> Iterator[Place]:
    made = Place(engine, image, one_hub)
    yield made
    made.discard()


def works(place: Place, command: str, seconds: int) -> tuple[bool, str]:
    status, said = place.run(["/bin/bash", "-c", command], seconds=seconds)
    return status == 0, f"{command}: {status}\n{said[-3000:]}"


def probes(case: Case) -> list[tuple[int, str]]:
    """The commands that show it, each with its limit in seconds."""
    known = [SYMPTOMS[name] for name in case.symptoms if name in SYMPTOMS]
    return known + [(10, command) for command in case.told("fails")]


def check_lab(place: Place) -> None:
    """JupyterLab can be opened, with what gpucamp adds to it."""
    place.until_serving()
    page = place.get("lab")
    assert page.status == 200 and "jupyter-config-data" in page.text, place.log()
    for path in ("gpucamp/status", "gpucamp/ddp/runs", "lab/api/settings", "lab/api/workspaces",
                 "api/contents/", "api/kernelspecs"):  # fmt: skip
        answer = place.get(path)
        assert answer.status == 200, (path, answer, place.log())


@pytest.mark.parametrize("case", CORPUS, ids=lambda case: case.name)
def test_a_reset_mends_it(place: Place, case: Case) -> None:
    if case.told("home"):
        place.limit_home(f"{case.one('home', '')},uid=1000,gid=100,mode=755")
    place.idle(pids=int(case.one("pids", "4096")))
    place.make_work()
    status, said = place.run(
        ["/bin/bash", "-c", case.script], seconds=int(case.one("seconds", "60"))
    )
    assert status == 0, said
    for seconds, command in probes(case):
        well, said = works(place, command, seconds)
        assert not well, f"nothing is broken: {said}"

    place.serve()
    check_lab(place)
    if "kernel" in case.symptoms:
        assert place.in_kernel(*TORCH, seconds=10) != "8.0"
    before = place.work()

    place.reset()
    place.serve()
    check_lab(place)
    assert place.in_kernel(*TORCH) == "8.0", place.log()
    for _, command in probes(case):
        well, said = works(place, command, 120)
        assert well, said
    assert place.work() == before


def test_a_volume_that_was_filled_by_half_is_completed(place: Place) -> None:
    """As an Engine leaves it that was killed while it copied the image's home."""
    place.idle(pids=4096)
    half = (
        "rm ~/.gpucamp-made ~/.venv/pyvenv.cfg ~/.venv/bin/python ~/.venv/bin/pip &&"
        " : > ~/.venv/lib/python3.11/site-packages/gpucamp-base.pth"
    )
    assert place.run(["/bin/bash", "-c", half])[0] == 0
    place.serve()
    check_lab(place)
    assert place.in_kernel(*TORCH) == "8.0", place.log()
    well, said = works(place, SYMPTOMS["pip"][1], 120)
    assert well, said


def test_the_corpus_is_large_and_shows_what_it_breaks() -> None:
    assert len(CORPUS) >= 45
    for case in CORPUS:
        assert case.symptoms or case.told("fails"), f"{case.name} says no symptom"
        assert set(case.symptoms) <= {*SYMPTOMS, "kernel", "none"}, case.name
    assert len([case for case in CORPUS if "none" in case.symptoms]) <= len(CORPUS) / 4
