"""What decides about the image's build: its tag, its command, its secrets, the docker to use."""

from __future__ import annotations

import os
import re
import subprocess
import tomllib
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from setup_host import base_image, docker_cli, image, preflight, python_env, running
from setup_host.errors import SetupError
from setup_host.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "images/torch-cuda"
PINS = tomllib.loads((ROOT / "images/versions.toml").read_text(encoding="utf-8"))


def locked(name: str) -> dict[str, str]:
    text = (FOLDER / name).read_text(encoding="utf-8")
    return dict(re.findall(r"^([a-z0-9][a-z0-9._-]*)==(\S+)", text, re.MULTILINE))


def settings(tmp_path: Path, **environ: str) -> Settings:
    return replace(Settings.from_environ(environ, ROOT), state=tmp_path, tools=tmp_path)


def wheel(path: Path, when: tuple[int, int, int, int, int, int], body: str = "x = 1\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(zipfile.ZipInfo("server_ext/__init__.py", when), body)
    return path


# ---- pins --------------------------------------------------------------------------------------


def test_the_locks_hold_the_pins() -> None:
    base = locked("base.lock")
    for name in ("torch", "torchvision", "torchaudio", "triton"):
        assert base[name] == PINS["stack"][name]
    assert base["nvidia-cudnn-cu12"] == PINS["stack"]["cudnn_package"]
    assert base["nvidia-nccl-cu12"] == PINS["stack"]["nccl"]
    assert base["nvidia-cuda-runtime-cu12"].startswith(PINS["stack"]["cuda"] + ".")
    for name in ("jupyterhub", "jupyterlab"):
        assert base[name] == PINS["jupyter"][name]


def test_the_heavy_lock_is_a_part_of_the_whole() -> None:
    heavy, base = locked("torch.lock"), locked("base.lock")
    assert heavy.items() <= base.items()
    assert {name for name in base if name.startswith("nvidia-") and "cu12" in name} <= heavy.keys()


@pytest.mark.parametrize("name", ["base.lock", "torch.lock"])
def test_every_locked_package_has_hashes_and_no_address(name: str) -> None:
    text = (FOLDER / name).read_text(encoding="utf-8")
    assert "://" not in text
    assert "--index-url" not in text and "--find-links" not in text
    blocks = re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE)[1:]
    assert len(blocks) == len(locked(name))
    assert [block for block in blocks if "--hash=sha256:" not in block] == []


def test_the_dockerfile_names_the_pinned_debian() -> None:
    text = (FOLDER / "Dockerfile").read_text(encoding="utf-8")
    debian = PINS["debian"]
    assert f"ARG BASE=docker.io/{debian['image']}:{debian['tag']}@{debian['digest']}\n" in text


def test_the_dockerfile_needs_no_front_end_from_a_registry() -> None:
    text = (FOLDER / "Dockerfile").read_text(encoding="utf-8")
    assert not re.search(r"^#\s*syntax\s*=", text, re.MULTILINE | re.IGNORECASE)
    assert not re.search(r"^(COPY|ADD)\s.*--link", text, re.MULTILINE)
    assert "<<" not in text


# ---- the tag -----------------------------------------------------------------------------------


def test_the_tag_follows_content_only(tmp_path: Path) -> None:
    early = wheel(tmp_path / "a/gpucamp-0.1.0-py3-none-any.whl", (2020, 1, 1, 0, 0, 0))
    late = wheel(tmp_path / "b/gpucamp-0.1.0-py3-none-any.whl", (2026, 2, 3, 4, 5, 6))
    other = wheel(tmp_path / "c/gpucamp-0.1.0-py3-none-any.whl", (2020, 1, 1, 0, 0, 0), "x = 2\n")
    assert early.read_bytes() != late.read_bytes()

    def tag(file: Path) -> str:
        return image.tag("gpucamp/torch-cuda", "2.9.1-cu128", image.inputs(ROOT, file))

    assert re.fullmatch(r"gpucamp/torch-cuda:2\.9\.1-cu128-[0-9a-f]{12}", tag(early))
    assert tag(early) == tag(late)
    assert tag(early) != tag(other)


def test_the_tag_changes_with_every_kind_of_input(tmp_path: Path) -> None:
    file = wheel(tmp_path / "gpucamp-0.1.0-py3-none-any.whl", (2020, 1, 1, 0, 0, 0))
    inputs = image.inputs(ROOT, file)
    names = {item.name for item in inputs}
    assert {
        "dist/gpucamp-0.1.0-py3-none-any.whl",
        "images/versions.toml",
        "images/torch-cuda/Dockerfile",
        "images/torch-cuda/base.lock",
        "images/torch-cuda/start-server",
        "images/practice/Makefile",
        "images/examples/README.md",
    } <= names
    unused = (".in", "/lock", "dockerignore", ".gitignore", ".pyc", "practice/README.md", "hook")
    assert not [name for name in names if name.endswith(unused)]
    reference = image.tag("r", "f", inputs)
    for index in range(len(inputs)):
        assert image.tag("r", "f", inputs[:index] + inputs[index + 1 :]) != reference
    flipped = replace(inputs[0], executable=not inputs[0].executable)
    assert image.tag("r", "f", (flipped, *inputs[1:])) != reference


def test_a_missing_wheel_has_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="make wheel"):
        image.inputs(ROOT, tmp_path / "none.whl")


# ---- the build's command -----------------------------------------------------------------------


def test_the_whole_command() -> None:
    assert image.build_command(
        "/usr/bin/docker", Path("/c"), "b", "r:t", ("id=ca,src=/ca.pem",)
    ) == [
        *("/usr/bin/docker", "build", "--progress", "plain", "--network", "host"),
        *("--secret", "id=ca,src=/ca.pem", "--build-arg", "BASE=b", "--tag", "r:t"),
        *("--file", "/c/images/torch-cuda/Dockerfile", "/c"),
    ]


def test_mirrors_go_by_the_environment_and_never_on_the_command_line(tmp_path: Path) -> None:
    given = settings(
        tmp_path,
        GPUCAMP_APT_MIRROR="https://me:secret@mirror.example/debian",
        GPUCAMP_PYPI_INDEX="https://me:secret@mirror.example/simple",
    )
    values = image.secrets(given, {})
    assert values == (
        "id=apt_mirror,env=GPUCAMP_APT_MIRROR",
        "id=pypi_index,env=GPUCAMP_PYPI_INDEX",
    )


def test_certificates_are_the_setting_or_what_the_host_uses(tmp_path: Path) -> None:
    for name in ("own.pem", "host.pem"):
        (tmp_path / name).write_text("certificate", encoding="ascii")
    own, host = str(tmp_path / "own.pem"), str(tmp_path / "host.pem")
    missing = str(tmp_path / "missing.pem")
    assert image.secrets(settings(tmp_path), {}) == ()
    assert image.secrets(settings(tmp_path), {"SSL_CERT_FILE": missing, "PIP_CERT": host}) == (
        f"id=ca,src={host}",
    )
    chosen = settings(tmp_path, GPUCAMP_CA_BUNDLE=own)
    assert image.secrets(chosen, {"SSL_CERT_FILE": host}) == (f"id=ca,src={own}",)
    with pytest.raises(SetupError, match="no such file"):
        image.secrets(settings(tmp_path, GPUCAMP_CA_BUNDLE=missing), {})
    (tmp_path / "own.pem").write_bytes(b"x" * (500 * 1024 + 1))
    with pytest.raises(SetupError, match="500 kB"):
        image.secrets(chosen, {})


# ---- the docker command ------------------------------------------------------------------------


def answers(known: dict[tuple[str, ...], str]):
    return lambda command: known.get(command)


def test_a_docker_that_can_build_is_chosen() -> None:
    new, old = "/usr/local/bin/docker", "/usr/bin/docker"
    versions = {
        (new, "--version"): "Docker version 28.2.2, build e6534b4",
        (old, "--version"): "Docker version 20.10.24+dfsg1, build 297e128",
    }
    assert docker_cli.choose([new, old], answers(versions)) == old
    with_plugin = {**versions, (new, "buildx", "version"): "github.com/docker/buildx v0.24"}
    assert docker_cli.choose([new, old], answers(with_plugin)) == new


def test_a_docker_that_cannot_build_has_a_remedy() -> None:
    new = "/usr/bin/docker"
    known = {(new, "--version"): "Docker version 28.2.2, build e6534b4"}
    with pytest.raises(SetupError, match="docker-buildx"):
        docker_cli.choose([new], answers(known))
    with pytest.raises(SetupError, match="no `docker` command"):
        docker_cli.choose([], answers({}))


def test_a_broken_docker_does_not_hang_the_search(tmp_path: Path) -> None:
    docker = tmp_path / "docker"
    docker.write_text("#!/bin/sh\nexit 1\n", encoding="ascii")
    docker.chmod(0o755)
    with pytest.raises(SetupError, match="cannot build"):
        docker_cli.find(str(tmp_path))


def test_one_docker_in_two_folders_of_the_path_is_named_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usr = tmp_path / "usr"
    usr.mkdir()
    fake_docker(usr, monkeypatch, "exit 1")
    (tmp_path / "bin").symlink_to(usr)
    with pytest.raises(SetupError) as caught:
        docker_cli.find(f"{usr}:{tmp_path}/bin")
    assert caught.value.problem.startswith(f"{usr}/docker cannot build")


def fake_docker(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """The only docker on the PATH: 26 as in Debian 13, with the rest of its answers in sh."""
    docker = folder / "docker"
    docker.write_text(
        "#!/bin/sh\n"
        '[ "$1" = --version ] && echo "Docker version 26.1.5+dfsg1, build a72d7cd" && exit\n'
        f"{script}\n",
        encoding="ascii",
    )
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


def untouched(*_: object, **__: object) -> None:
    raise AssertionError("began what takes long")


@pytest.mark.parametrize(
    "script, problem",
    [
        ('[ "$1" = version ] && echo 26.1.5', "buildx plugin is missing"),
        ('[ "$1" = buildx ] && echo 0.13.1', "does not answer"),
        ('case "$1" in version) echo 26.1.5;; info) echo /;; esac', "Building the image needs"),
    ],
)
def test_what_keeps_the_image_from_being_built_is_told_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, problem: str
) -> None:
    fake_docker(tmp_path, monkeypatch, script)
    monkeypatch.setattr(preflight, "IMAGE_BYTES", 10**18)
    monkeypatch.setattr(python_env, "ensure", untouched)
    with pytest.raises(SetupError, match=problem):
        running.prepare(settings(tmp_path), None)


@pytest.mark.parametrize("given", [{}, {"GPUCAMP_IMAGE": "sha256:1"}])
def test_an_image_that_is_there_needs_no_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: dict[str, str]
) -> None:
    listed = "" if given else "gpucamp/torch-cuda:tag"
    fake_docker(
        tmp_path,
        monkeypatch,
        f'case "$1" in version) echo 26.1.5;; info) echo /;; images) echo {listed};; esac',
    )
    monkeypatch.setattr(preflight, "IMAGE_BYTES", 10**18)
    image.check(settings(tmp_path, **given))


# ---- the base ----------------------------------------------------------------------------------


class Registry:
    """Docker answers that remember what was asked; `local` are the images on the host."""

    def __init__(self, *local: str) -> None:
        self.local = local
        self.path = "/bin/false"

    def image_id(self, reference: str) -> str | None:
        return "sha256:1" if reference in self.local else None


def test_a_base_on_the_host_is_used_without_asking_anyone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> bool:
        raise AssertionError("asked a registry")

    monkeypatch.setattr(base_image, "answers", never)
    debian = PINS["debian"]
    pinned = f"mirror.example/{debian['image']}@{debian['digest']}"
    given = settings(tmp_path, GPUCAMP_REGISTRY="mirror.example")
    for name in (pinned, "gpucamp/debian:bookworm"):
        assert base_image.ensure_base(given, None, Registry(name), debian) == name


def test_neither_registry_nor_root_is_told_with_a_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base_image, "answers", lambda registry: False)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(SetupError, match="GPUCAMP_REGISTRY") as caught:
        base_image.ensure_base(settings(tmp_path), None, Registry(), PINS["debian"])
    assert "needs root" in caught.value.problem


def test_a_registry_that_is_not_there_does_not_answer() -> None:
    assert base_image.answers("127.0.0.1:1", seconds=2) is False
    assert base_image.answers("not a host", seconds=2) is False


# ---- the start ---------------------------------------------------------------------------------


def test_shell_scripts_are_well_formed() -> None:
    for name in ("start-server", "apt-install", "pip-install", "lock", "profile.sh"):
        subprocess.run(["sh", "-n", FOLDER / name], check=True)
