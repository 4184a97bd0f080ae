"""Device nodes and the lease."""

from __future__ import annotations

from bodies import DELETE
from breakages import Case, nvml_init

CASES: list[Case] = [
    (
        "GPU promised, no node",
        [("system.nodes", {}), ("nvml", {"library": {"error": "x"}})],
        "GC102",
    ),
    (
        "EPERM",
        [("system.nodes.nvidiactl.open", "EPERM"), ("nvml", nvml_init(999, "Unknown Error"))],
        "GC103",
    ),
    ("EACCES", [("system.nodes.nvidia0.open", "EACCES")], "GC103"),
    (
        "ENXIO",
        [("system.nodes.nvidiactl.open", "ENXIO"), ("nvml", nvml_init(9, "Driver Not Loaded"))],
        "GC104",
    ),
    ("no uvm", [("system.nodes.nvidia-uvm", DELETE)], "GC105"),
    ("no nvidiactl", [("system.nodes.nvidiactl", DELETE)], "GC105"),
    ("another GPU", [("environment.variables.GPUCAMP_DEVICES", "GPU-other")], "GC106"),
]
