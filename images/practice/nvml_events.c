/* NVML's events, taken from the list "events" of the JSON file.
 *
 * A set is given each event once, if it was added to the file after the set was made and concerns a
 * device and a type that were registered before it is looked at. One thread may wait on a set. */
#define _GNU_SOURCE
#include "nvml_session.h"

#include <stdlib.h>
#include <time.h>

#define LOOK_SECONDS 0.02

typedef struct {
    nvmlDevice_t device;
    unsigned long long types;
} Registered;

struct nvmlEventSet_st {
    int next; /* number of the first event that it has not been given */
    int count;
    Registered registered[MAX_DEVICES];
};

API nvmlReturn_t nvmlEventSetCreate(nvmlEventSet_t *set) {
    BEGIN(NULL, NULL);
    NEED(set, NVML_ERROR_INVALID_ARGUMENT);
    *set = calloc(1, sizeof **set);
    NEED(*set, NVML_ERROR_MEMORY);
    (*set)->next = copy_events(NULL, 0, 0);
    return NVML_SUCCESS;
}

API nvmlReturn_t nvmlEventSetFree(nvmlEventSet_t set) {
    BEGIN(NULL, NULL);
    NEED(set, NVML_ERROR_INVALID_ARGUMENT);
    free(set);
    return NVML_SUCCESS;
}

API nvmlReturn_t nvmlDeviceGetSupportedEventTypes(nvmlDevice_t handle, unsigned long long *types) {
    Device device;
    BEGIN(handle, &device);
    NEED(types, NVML_ERROR_INVALID_ARGUMENT);
    *types = NVML_EVENT_XID_CRITICAL_ERROR | NVML_EVENT_DOUBLE_BIT_ECC_ERROR;
    return NVML_SUCCESS;
}

API nvmlReturn_t nvmlDeviceRegisterEvents(nvmlDevice_t handle, unsigned long long types,
                                          nvmlEventSet_t set) {
    Device device;
    BEGIN(handle, &device);
    NEED(set && set->count < MAX_DEVICES, NVML_ERROR_INVALID_ARGUMENT);
    NEED(device.parent < 0, NVML_ERROR_NOT_SUPPORTED);
    set->registered[set->count++] = (Registered){.device = handle, .types = types};
    return NVML_SUCCESS;
}

static int is_registered(nvmlEventSet_t set, nvmlDevice_t device, unsigned long long type) {
    for (int i = 0; i < set->count; i++)
        if (set->registered[i].device == device && (set->registered[i].types & type))
            return 1;
    return 0;
}

/* Gives the next event that concerns the set, if there is one. */
static int take(nvmlEventSet_t set, nvmlEventData_t *data, nvmlReturn_t *result) {
    Event event;
    int count;
    while (set->next < (count = copy_events(&event, set->next, 1))) {
        set->next++;
        *result = event.error;
        if (event.error != NVML_SUCCESS)
            return 1;
        nvmlDevice_t device = handle_for(event.uuid);
        if (!device || !is_registered(set, device, event.type))
            continue;
        *data = (nvmlEventData_t){.device = device,
                                  .eventType = event.type,
                                  .eventData = event.xid,
                                  .gpuInstanceId = NVML_INSTANCE_NONE,
                                  .computeInstanceId = NVML_INSTANCE_NONE};
        return 1;
    }
    set->next = count; /* the file was written anew with fewer */
    return 0;
}

API nvmlReturn_t nvmlEventSetWait_v2(nvmlEventSet_t set, nvmlEventData_t *data,
                                     unsigned int milliseconds) {
    NEED(set && data, NVML_ERROR_INVALID_ARGUMENT);
    struct timespec look = {.tv_nsec = (long)(LOOK_SECONDS * 1e9)};
    double left = milliseconds / 1000.0;
    nvmlReturn_t result;
    for (;;) {
        BEGIN(NULL, NULL);
        if (take(set, data, &result))
            return result;
        if (left <= 0)
            return NVML_ERROR_TIMEOUT;
        nanosleep(&look, NULL);
        left -= LOOK_SECONDS;
    }
}
