"""Why no work may start on a card, as NVML tells it, in words."""

from __future__ import annotations

from ..i18n import N_

# by the values of NVML_FI_DEV_GET_GPU_RECOVERY_ACTION (nvmlDeviceGpuRecoveryAction_t in nvml.h)
RECOVERY_ACTIONS = {
    1: N_("the driver asks for a reset of the GPU (nvidia-smi --gpu-reset)"),
    2: N_("the driver asks for a reboot of the host"),
    3: N_("the driver asks to drain peer-to-peer traffic"),
    4: N_("the driver asks to drain the GPU and reset it"),
    5: N_("the driver asks to recover the IMEX domain"),
    6: N_("the driver asks for a reset of the PCIe bus"),
    7: N_("the driver asks for a reboot of the whole system"),
}
REMAP_FAILED = N_("memory rows could not be remapped: the card needs to be replaced")
REMAP_PENDING = N_("memory rows wait to be remapped: reset the card")
RETIREMENT_PENDING = N_("memory pages wait to be retired: reset the card")
PROHIBITED = N_("its compute mode is Prohibited (nvidia-smi -c 0 allows work again)")
