"""What the image's last steps write, from versions.toml (arguments: versions.toml, user's home).

- /opt/gpucamp/versions.json: the pins, for programs in the container.
- /opt/gpucamp/constraints.txt: PIP_CONSTRAINT of every pip in the container. Without it
  `pip install -U torch`, or any package that asks for another torch, brings a build for a CUDA
  that the host's driver may not run.
- the home's .venv: the kernel environment, a virtual environment over the base. Its packages come
  before the base's, which it sees through one .pth line, so that an installation lands in it
  and shadows the base, while the base never sees it.
"""

import json
import pathlib
import sys
import tomllib
import venv

PREFIX = pathlib.Path("/opt/gpucamp")
PINNED = ("torch", "torchvision", "torchaudio", "triton")
# command in the environment's bin -> module and function that it runs
COMMANDS = {
    "pip": ("pip._internal.cli.main", "main"),
    "pip3": ("pip._internal.cli.main", "main"),
    "torchrun": ("torch.distributed.run", "main"),
    "ipython": ("IPython", "start_ipython"),
}


def main() -> None:
    pins = tomllib.loads(pathlib.Path(sys.argv[1]).read_text(encoding="utf-8"))
    environment = pathlib.Path(sys.argv[2]) / ".venv"
    python = f"python{pins['python']['version']}"

    (PREFIX / "versions.json").write_text(json.dumps(pins, indent=1) + "\n", encoding="utf-8")
    constraints = [f"{name}=={pins['stack'][name]}\n" for name in PINNED]
    (PREFIX / "constraints.txt").write_text("".join(constraints), encoding="utf-8")

    venv.create(environment, symlinks=True, with_pip=False)
    base_packages = PREFIX / "base/lib" / python / "site-packages"
    layer = environment / "lib" / python / "site-packages" / "gpucamp-base.pth"
    layer.write_text(f"{base_packages}\n", encoding="utf-8")
    for command, (module, function) in COMMANDS.items():
        script = environment / "bin" / command
        script.write_text(
            f"#!{environment}/bin/python\n"
            f"import sys\n\nfrom {module} import {function}\n\n"
            f'if __name__ == "__main__":\n    sys.exit({function}())\n',
            encoding="utf-8",
        )
        script.chmod(0o755)


if __name__ == "__main__":
    main()
