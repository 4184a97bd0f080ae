/* NVML's functions that tell about one device: each answers from a copy of it. */
#include "nvml_session.h"

#include <string.h>

/* A function that gives one value of a device. */
#define GETTER(function, type, field)                                                              \
    API nvmlReturn_t function(nvmlDevice_t handle, type *value) {                                  \
        Device device;                                                                             \
        BEGIN(handle, &device);                                                                    \
        NEED(value, NVML_ERROR_INVALID_ARGUMENT);                                                  \
        *value = device.field;                                                                     \
        return NVML_SUCCESS;                                                                       \
    }

/* ---- identity -------------------------------------------------------------------------------- */

API nvmlReturn_t nvmlDeviceGetUUID(nvmlDevice_t handle, char *uuid, unsigned int length) {
    Device device;
    BEGIN(handle, &device);
    return give_text(device.uuid, uuid, length);
}

API nvmlReturn_t nvmlDeviceGetName(nvmlDevice_t handle, char *name, unsigned int length) {
    Device device;
    BEGIN(handle, &device);
    return give_text(device.name, name, length);
}


GETTER(nvmlDeviceGetIndex, unsigned int, position)
GETTER(nvmlDeviceGetMinorNumber, unsigned int, minor)

API nvmlReturn_t nvmlDeviceGetPciInfo_v3(nvmlDevice_t handle, nvmlPciInfo_t *pci) {
    Device device;
    BEGIN(handle, &device);
    NEED(pci, NVML_ERROR_INVALID_ARGUMENT);
    memset(pci, 0, sizeof *pci);
    pci->bus = device.minor + 1;
    pci->pciDeviceId = 0x20B010DE; /* an A100's */
    bus_id(&device, pci->busId, BUS_ID);
    bus_id(&device, pci->busIdLegacy, BUS_ID_LEGACY);
    return NVML_SUCCESS;
}

API nvmlReturn_t nvmlDeviceGetCudaComputeCapability(nvmlDevice_t handle, int *major, int *minor) {
    Device device;
    BEGIN(handle, &device);
    NEED(major && minor, NVML_ERROR_INVALID_ARGUMENT);
    *major = device.capability_major;
    *minor = device.capability_minor;
    return NVML_SUCCESS;
}

/* ---- memory, load, processes ---------------------------------------------------------------- */

static unsigned long long free_memory(const Device *device) {
    unsigned long long taken = device->memory_used + device->memory_reserved;
    return taken < device->memory_total ? device->memory_total - taken : 0;
}

API nvmlReturn_t nvmlDeviceGetMemoryInfo(nvmlDevice_t handle, nvmlMemory_t *memory) {
    Device device;
    BEGIN(handle, &device);
    NEED(memory, NVML_ERROR_INVALID_ARGUMENT);
    /* the first version counts what is reserved as used */
    memory->total = device.memory_total;
    memory->free = free_memory(&device);
    memory->used = device.memory_used + device.memory_reserved;
    return NVML_SUCCESS;
}

API nvmlReturn_t nvmlDeviceGetMemoryInfo_v2(nvmlDevice_t handle, nvmlMemory_v2_t *memory) {
    Device device;
    BEGIN(handle, &device);
    NEED(memory, NVML_ERROR_INVALID_ARGUMENT);
    NEED(memory->version == NVML_MEMORY_V2, NVML_ERROR_ARGUMENT_VERSION_MISMATCH);
    memory->total = device.memory_total;
    memory->reserved = device.memory_reserved;
    memory->free = free_memory(&device);
    memory->used = device.memory_used;
    return NVML_SUCCESS;
}

API nvmlReturn_t nvmlDeviceGetBAR1MemoryInfo(nvmlDevice_t handle, nvmlBAR1Memory_t *memory) {
    Device device;
    BEGIN(handle, &device);
    NEED(memory, NVML_ERROR_INVALID_ARGUMENT);
    memory->bar1Total = memory->bar1Free = device.memory_total;
    memory->bar1Used = 0;
    return NVML_SUCCESS;
}

API nvmlReturn_t nvmlDeviceGetUtilizationRates(nvmlDevice_t handle, nvmlUtilization_t *rates) {
    Device device;
    BEGIN(handle, &device);
    NEED(rates, NVML_ERROR_INVALID_ARGUMENT);
    NEED(device.parent < 0, NVML_ERROR_NOT_SUPPORTED);
    rates->gpu = device.utilization;
    rates->memory = device.memory_utilization;
    return NVML_SUCCESS;
}

API nvmlReturn_t nvmlDeviceGetComputeRunningProcesses_v3(nvmlDevice_t handle, unsigned int *count,
                                                         nvmlProcessInfo_t *infos) {
    Device device;
    BEGIN(handle, &device);
    NEED(count, NVML_ERROR_INVALID_ARGUMENT);
    unsigned int room = *count;
    *count = (unsigned int)device.process_count;
    NEED(device.process_count == 0 || (infos && room >= *count), NVML_ERROR_INSUFFICIENT_SIZE);
    for (int i = 0; i < device.process_count; i++) {
        infos[i].pid = device.processes[i].pid;
        infos[i].usedGpuMemory = device.processes[i].memory;
        infos[i].gpuInstanceId = infos[i].computeInstanceId = 0xFFFFFFFF;
    }
    return NVML_SUCCESS;
}

/* torch asks by this name when memory runs out */
API nvmlReturn_t nvmlDeviceGetComputeRunningProcesses(nvmlDevice_t handle, unsigned int *count,
                                                      nvmlProcessInfo_v1_t *infos) {
    Device device;
    BEGIN(handle, &device);
    NEED(count, NVML_ERROR_INVALID_ARGUMENT);
    unsigned int room = *count;
    *count = (unsigned int)device.process_count;
    NEED(device.process_count == 0 || (infos && room >= *count), NVML_ERROR_INSUFFICIENT_SIZE);
    for (int i = 0; i < device.process_count; i++) {
        infos[i].pid = device.processes[i].pid;
        infos[i].usedGpuMemory = device.processes[i].memory;
    }
    return NVML_SUCCESS;
}

API nvmlReturn_t nvmlDeviceGetGraphicsRunningProcesses_v3(nvmlDevice_t handle, unsigned int *count,
                                                          nvmlProcessInfo_t *infos) {
    Device device;
    (void)infos;
    BEGIN(handle, &device);
    NEED(count, NVML_ERROR_INVALID_ARGUMENT);
    *count = 0;
    return NVML_SUCCESS;
}

/* ---- health and mode ------------------------------------------------------------------------- */

API nvmlReturn_t nvmlDeviceGetTemperature(nvmlDevice_t handle, int sensor, unsigned int *degrees) {
    Device device;
    BEGIN(handle, &device);
    NEED(degrees && sensor == NVML_TEMPERATURE_GPU, NVML_ERROR_INVALID_ARGUMENT);
    *degrees = device.temperature;
    return NVML_SUCCESS;
}

GETTER(nvmlDeviceGetPowerUsage, unsigned int, power)
GETTER(nvmlDeviceGetEnforcedPowerLimit, unsigned int, power_limit)
GETTER(nvmlDeviceGetPersistenceMode, unsigned int, persistence_mode)
GETTER(nvmlDeviceGetComputeMode, unsigned int, compute_mode)
GETTER(nvmlDeviceGetRetiredPagesPendingStatus, unsigned int, retired_pages_pending)
GETTER(nvmlDeviceGetCurrentClocksEventReasons, unsigned long long, clocks_event_reasons)
GETTER(nvmlDeviceGetCurrentClocksThrottleReasons, unsigned long long, clocks_event_reasons)
GETTER(nvmlDeviceGetCurrPcieLinkGeneration, unsigned int, pcie_generation)
GETTER(nvmlDeviceGetCurrPcieLinkWidth, unsigned int, pcie_width)
GETTER(nvmlDeviceGetMaxPcieLinkGeneration, unsigned int, pcie_max_generation)
GETTER(nvmlDeviceGetMaxPcieLinkWidth, unsigned int, pcie_max_width)

API nvmlReturn_t nvmlDeviceGetRemappedRows(nvmlDevice_t handle, unsigned int *correctable,
                                           unsigned int *uncorrectable, unsigned int *pending,
                                           unsigned int *failure) {
    Device device;
    BEGIN(handle, &device);
    NEED(correctable && uncorrectable && pending && failure, NVML_ERROR_INVALID_ARGUMENT);
    *correctable = device.rows_correctable;
    *uncorrectable = device.rows_uncorrectable;
    *pending = device.rows_pending;
    *failure = device.rows_failure;
    return NVML_SUCCESS;
}

API nvmlReturn_t nvmlDeviceGetEccMode(nvmlDevice_t handle, unsigned int *current,
                                      unsigned int *pending) {
    Device device;
    BEGIN(handle, &device);
    NEED(current && pending, NVML_ERROR_INVALID_ARGUMENT);
    *current = *pending = device.ecc_mode;
    return NVML_SUCCESS;
}

API nvmlReturn_t nvmlDeviceGetTotalEccErrors(nvmlDevice_t handle, int error_type, int counter_type,
                                             unsigned long long *count) {
    Device device;
    (void)counter_type; /* volatile and aggregate are one here */
    BEGIN(handle, &device);
    NEED(count && (error_type == 0 || error_type == 1), NVML_ERROR_INVALID_ARGUMENT);
    NEED(device.ecc_mode, NVML_ERROR_NOT_SUPPORTED);
    *count = error_type == 1 ? device.ecc_uncorrected : device.ecc_corrected;
    return NVML_SUCCESS;
}

API nvmlReturn_t nvmlDeviceGetFieldValues(nvmlDevice_t handle, int count,
                                          nvmlFieldValue_t *values) {
    Device device;
    BEGIN(handle, &device);
    NEED(values && count > 0, NVML_ERROR_INVALID_ARGUMENT);
    for (int i = 0; i < count; i++) {
        values[i].nvmlReturn = NVML_ERROR_NOT_SUPPORTED;
        if (values[i].fieldId == NVML_FI_DEV_GET_GPU_RECOVERY_ACTION) {
            values[i].nvmlReturn = NVML_SUCCESS;
            values[i].valueType = NVML_VALUE_TYPE_UNSIGNED_INT;
            values[i].value.uiVal = device.recovery_action;
        }
    }
    return NVML_SUCCESS;
}

/* ---- MIG --------------------------------------------------------------------------------------- */

API nvmlReturn_t nvmlDeviceGetMigMode(nvmlDevice_t handle, unsigned int *current,
                                      unsigned int *pending) {
    Device device;
    BEGIN(handle, &device);
    NEED(current && pending, NVML_ERROR_INVALID_ARGUMENT);
    *current = *pending = device.mig_mode;
    return NVML_SUCCESS;
}

API nvmlReturn_t nvmlDeviceGetMaxMigDeviceCount(nvmlDevice_t handle, unsigned int *count) {
    Device device;
    BEGIN(handle, &device);
    NEED(count, NVML_ERROR_INVALID_ARGUMENT);
    *count = device.parent < 0 ? 7 : 0;
    return NVML_SUCCESS;
}

API nvmlReturn_t nvmlDeviceGetMigDeviceHandleByIndex(nvmlDevice_t handle, unsigned int index,
                                                     nvmlDevice_t *slice_handle) {
    Device device;
    BEGIN(handle, &device);
    Slice wanted = {.position = (int)index};
    memcpy(wanted.parent_uuid, device.uuid, TEXT_SIZE);
    return give_handle("", is_slice, &wanted, slice_handle, NVML_ERROR_NOT_FOUND);
}

API nvmlReturn_t nvmlDeviceIsMigDeviceHandle(nvmlDevice_t handle, unsigned int *is_mig) {
    Device device;
    BEGIN(handle, &device);
    NEED(is_mig, NVML_ERROR_INVALID_ARGUMENT);
    *is_mig = device.parent >= 0;
    return NVML_SUCCESS;
}

API nvmlReturn_t nvmlDeviceGetDeviceHandleFromMigDeviceHandle(nvmlDevice_t handle,
                                                              nvmlDevice_t *card) {
    Device device;
    BEGIN(handle, &device);
    NEED(card && device.parent >= 0, NVML_ERROR_INVALID_ARGUMENT);
    int wanted = device.parent;
    return give_handle("", has_index, &wanted, card, NVML_ERROR_GPU_IS_LOST);
}

static nvmlReturn_t instance(const Device *device, unsigned int *id, unsigned int value) {
    NEED(id, NVML_ERROR_INVALID_ARGUMENT);
    NEED(device->parent >= 0, NVML_ERROR_NOT_SUPPORTED);
    *id = value;
    return NVML_SUCCESS;
}

API nvmlReturn_t nvmlDeviceGetGpuInstanceId(nvmlDevice_t handle, unsigned int *id) {
    Device device;
    BEGIN(handle, &device);
    return instance(&device, id, (unsigned int)device.position + 1);
}

API nvmlReturn_t nvmlDeviceGetComputeInstanceId(nvmlDevice_t handle, unsigned int *id) {
    Device device;
    BEGIN(handle, &device);
    return instance(&device, id, 0);
}
