"""What GPU doctor may put off when it imports torch (argument: the file to write).

server_ext/doctor/probes/deferred.py reads it, and says why. Runs in the base environment. Fails
when torch's modules bring in anything that is neither torch's nor Python's own, so that a torch for
which the doctor's reasoning does not hold gets no record.
"""

import hashlib
import importlib.machinery
import importlib.util
import json
import os
import pathlib
import sys

# what `import torch` brings in and nothing uses while it does, the slowest first
MODULES = (
    "torch._meta_registrations",
    "torch.quantization",
    "torch.export",
    "torch.nested",
    "torch.distributions",
    "torch.nn.intrinsic",
)
_UNCHECKED = 1  # of a .pyc: Python does not look at its source any more (PEP 552)


class Deferring:
    """As deferred.py does it."""

    def find_spec(self, name, path=None, target=None):
        """A lazy one for the modules above."""
        if name not in MODULES:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None:
            spec.loader = importlib.util.LazyLoader(spec.loader)
        return spec


def main() -> None:
    """Writes the record."""
    sys.meta_path.insert(0, Deferring())
    torch = importlib.import_module("torch")
    lazy = [name for name in MODULES if type(sys.modules.get(name)).__name__ == "_LazyModule"]
    if not lazy:
        raise SystemExit("importing torch runs all of its modules: the doctor can put none off")
    before = set(sys.modules)
    for name in lazy:
        getattr(sys.modules[name], "anything", None)  # runs it
    brought = set(lazy) | (set(sys.modules) - before)
    own = {name for name in brought if name.startswith("torch.")}
    library = {name for name in brought - own if name.split(".")[0] in sys.stdlib_module_names}
    if foreign := sorted(brought - own - library):
        raise SystemExit(f"torch brings in {', '.join(foreign)}: the doctor must put nothing off")
    files = {}
    for name in sorted(own):
        spec = sys.modules[name].__spec__
        flags = int.from_bytes(pathlib.Path(spec.cached).read_bytes()[4:8], "little")
        for path in (spec.cached,) if flags == _UNCHECKED else (spec.origin, spec.cached):
            files[path] = hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()
    record = {
        "modules": lazy,
        "imports": sorted(library),
        "python": sys.version,
        "library": os.path.dirname(os.__file__),
        "torch": torch.__file__,
        "files": files,
    }
    pathlib.Path(sys.argv[1]).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
