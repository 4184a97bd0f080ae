"""A test image of about 2 MB: busybox and a web server in the place of JupyterLab.

Guarantees: nothing but the distribution's static busybox is in it; the server answers 200 at its
root and at `api`, whatever the user's name, and ends at once when it is asked to; the image is
made once per content (its tag is a digest) and `make clean` removes it.
"""

from __future__ import annotations

import hashlib
import io
import shutil
import struct
import subprocess
import tarfile

import docker
import docker.errors

REPOSITORY = "gpucamp-test/light"
# of an image that is made of `archive` by a registry
CONFIG = {
    "Cmd": ["/bin/serve"],
    "Env": ["PATH=/bin", "HOME=/home/jovyan"],
    "User": "1000:100",
    "WorkingDir": "/tmp",
    "Labels": {"gpucamp.image": "light-test"},
}
REMEDY = "`apt-get install busybox-static` (make test does it)"

# sh is process 1: the kernel drops signals that process 1 does not handle, so it handles SIGTERM
SERVE = r"""#!/bin/sh
trap 'exit 0' TERM
root=/tmp/www$(httpd -d "${JUPYTERHUB_SERVICE_PREFIX:-/}")
mkdir -p "$root"
echo '<title>light</title>' > "$root/index.html"
echo '{"version": "light"}' > "$root/api"
echo "serving ${JUPYTERHUB_SERVICE_PREFIX:-/}"
httpd -f -p "${GPUCAMP_TEST_PORT:-8888}" -h /tmp/www &
wait
"""
FOLDERS = (
    *("bin", "etc", "home", "home/jovyan", "home/jovyan/work"),  # volumes take over the owner
    *("tmp", "run", "dev", "proc", "sys"),
)
PASSWD = "root:x:0:0::/:/bin/sh\njovyan:x:1000:100::/home/jovyan:/bin/sh\n"


def ensure_light_image(engine: docker.DockerClient) -> str:
    """The id of the image on this Engine, made where it is missing.

    Raises RuntimeError with the remedy where busybox is missing or is not the static one.
    """
    content = archive()
    name = f"{REPOSITORY}:{hashlib.sha256(content).hexdigest()[:12]}"
    try:
        return str(engine.images.get(name).id)
    except docker.errors.ImageNotFound:
        pass
    repository, _, tag = name.partition(":")
    engine.api.import_image_from_data(
        content,
        repository,
        tag,
        changes=[
            'CMD ["/bin/serve"]',
            "ENV PATH=/bin HOME=/home/jovyan",
            "USER 1000:100",
            "WORKDIR /tmp",
            "LABEL gpucamp.image=light-test",
        ],
    )
    return str(engine.images.get(name).id)


def archive() -> bytes:
    """The root file system as a tar archive, the same bytes for the same busybox."""
    found = shutil.which("busybox")
    if found is None:
        raise RuntimeError(f"There is no busybox; {REMEDY}.")
    with open(found, "rb") as file:
        busybox = file.read()
    if _needs_libraries(busybox):
        raise RuntimeError(f"{found} is not static; {REMEDY}.")
    applets = subprocess.run(
        [found, "--list"], check=True, capture_output=True, text=True, timeout=30
    ).stdout.split()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for folder in FOLDERS:
            owner = (1000, 100) if folder.startswith("home/jovyan") else (0, 0)
            _add(tar, folder, tarfile.DIRTYPE, mode=0o1777 if folder == "tmp" else 0o755, own=owner)
        _add(tar, "bin/busybox", content=busybox)
        _add(tar, "bin/serve", content=SERVE.encode())
        _add(tar, "etc/passwd", mode=0o644, content=PASSWD.encode())
        for applet in applets:
            if applet != "busybox":
                _add(tar, f"bin/{applet}", tarfile.SYMTYPE, link="busybox")
    return buffer.getvalue()


def _needs_libraries(program: bytes) -> bool:
    """Whether a 64-bit little-endian ELF program names a loader (a program header PT_INTERP)."""
    start, size, count = struct.unpack_from("<Q", program, 32) + struct.unpack_from(
        "<HH", program, 54
    )
    kinds = (struct.unpack_from("<I", program, start + size * each)[0] for each in range(count))
    return 3 in kinds


def _add(
    tar: tarfile.TarFile,
    name: str,
    kind: bytes = tarfile.REGTYPE,
    *,
    mode: int = 0o755,
    content: bytes = b"",
    link: str = "",
    own: tuple[int, int] = (0, 0),
) -> None:
    member = tarfile.TarInfo(name)
    member.type, member.mode, member.size, member.linkname = kind, mode, len(content), link
    member.uid, member.gid = own
    tar.addfile(member, io.BytesIO(content))
