"""What NVML says of the cards."""

from __future__ import annotations

from bodies import UUID
from breakages import CRASHED, HUNG, Case, nvml_error, nvml_init, second_gpu, visible

CASES: list[Case] = [
    ("no NVML", [("nvml", {"library": {"error": "libnvidia-ml.so.1: cannot open"}})], "GC121"),
    ("NVML hangs", [("nvml", HUNG)], "GC122"),
    ("NVML crashes", [("nvml", CRASHED)], "GC123"),
    ("NVML unknown error", [("nvml", nvml_init(999, "Unknown Error"))], "GC123"),
    ("NVML 18", [("nvml", nvml_init(18, "RM has detected an NVML/RM version mismatch."))], "GC124"),
    ("versions differ", [("system.driver", "550.54.15")], "GC124"),
    ("driver not loaded", [("nvml", nvml_init(9, "Driver Not Loaded"))], "GC125"),
    ("GPU lost at init", [("nvml", nvml_init(15, "GPU is lost"))], "GC126"),
    (
        "GPU lost at its handle",
        [("nvml.devices.0", {"index": 0, "error": {"code": 15, "text": "GPU is lost"}})],
        "GC126",
    ),
    (
        "GPU lost at its memory",
        [("nvml.devices.0.memory", {"error": {"code": 15, "text": "GPU is lost"}})],
        "GC126",
    ),
    *(
        (
            f"NVML {number} at its handle",
            [("nvml.devices.0", {"index": 0, **nvml_error(number, "x")})],
            code,
        )
        for number, code in (
            (1, "GC151"),
            (4, "GC151"),
            (8, "GC151"),
            (9, "GC125"),
            (11, "GC151"),
            (16, "GC127"),
            (17, "GC151"),
            (18, "GC124"),
            (999, "GC151"),
        )
    ),
    ("no UUID", [("nvml.devices.0.uuid", nvml_error(999, "Unknown Error"))], "GC151"),
    ("no memory", [("nvml.devices.0.memory", nvml_error(10, "Timeout"))], "GC151"),
    (
        "the second of two does not answer",
        [*second_gpu(), ("nvml.devices.1", {"index": 1, **nvml_error(999, "Unknown Error")})],
        "GC151",
    ),
    (
        "the second of two is not there",
        [("environment.variables.GPUCAMP_DEVICES", f"{UUID},GPU-second")],
        "GC106",
    ),
    ("nodes without a card", [("nvml.count", 0), ("nvml.devices", [])], "GC102"),
    ("NVML tells less than it counts", [*second_gpu(), ("nvml.devices.1", 3)], "GC902"),
    ("reset wanted", [("nvml.devices.0.recovery_action", 1)], "GC127"),
    ("reboot wanted", [("nvml.devices.0.recovery_action", 2)], "GC127"),
    ("an unknown recovery action", [("nvml.devices.0.recovery_action", 77)], "GC127"),
    ("peers to be drained", [("nvml.devices.0.recovery_action", 3)], "GC153"),
    ("to be drained", [("nvml.devices.0.recovery_action", 4)], "GC153"),
    ("kept for one process", [("nvml.devices.0.compute_mode", 3)], "GC152"),
    ("kept for one thread", [("nvml.devices.0.compute_mode", 1)], "GC152"),
    ("CUDA_VISIBLE_DEVICES twice", visible("0,0"), "GC128"),
    ("CUDA_VISIBLE_DEVICES twice, by UUID", visible(f"{UUID},{UUID[:12]}"), "GC128"),
    ("CUDA_VISIBLE_DEVICES no slice", visible("MIG-bogus"), "GC128"),
    ("CUDA_VISIBLE_DEVICES no slice of this", visible(UUID.replace("GPU", "MIG")), "GC128"),
    ("CUDA_VISIBLE_DEVICES junk", visible("cuda:0"), "GC128"),
    ("CUDA_VISIBLE_DEVICES empty", [("environment.variables.CUDA_VISIBLE_DEVICES", "")], "GC128"),
    ("CUDA_VISIBLE_DEVICES -1", [("environment.variables.CUDA_VISIBLE_DEVICES", "-1")], "GC128"),
    ("CUDA_VISIBLE_DEVICES 1 of 1", [("environment.variables.CUDA_VISIBLE_DEVICES", "1")], "GC128"),
    (
        "CUDA_VISIBLE_DEVICES wrong UUID",
        [("environment.variables.CUDA_VISIBLE_DEVICES", "GPU-1")],
        "GC128",
    ),
    ("prohibited", [("nvml.devices.0.compute_mode", 2)], "GC129"),
]
