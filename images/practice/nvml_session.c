/* The library's session: initialising, what every call begins with, and which devices there are.
 *
 * Any thread may call any function; a call that a fault delays does not delay others. A handle stays
 * valid for the life of the process and means a UUID, so a device that leaves the state answers
 * GPU_IS_LOST and works again when it returns. */
#define _GNU_SOURCE
#include "nvml_session.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <time.h>

#define MAX_HANDLES 256
#define MAX_FILE_SIZE (4L * 1024 * 1024)

struct nvmlDevice_st {
    char uuid[TEXT_SIZE];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static State state;
static int initialised; /* calls of nvmlInit without their nvmlShutdown */
static struct stat file_seen;
static struct nvmlDevice_st handles[MAX_HANDLES];
static int handle_count;

/* ---- state and handles; the lock is held ------------------------------------------------- */

static char *read_file(const char *path) {
    FILE *file = fopen(path, "re");
    if (!file)
        return NULL;
    char *text = malloc(MAX_FILE_SIZE + 1);
    if (text)
        text[fread(text, 1, MAX_FILE_SIZE, file)] = '\0';
    fclose(file);
    return text;
}

static int same_file(const struct stat *a, const struct stat *b) {
    return a->st_ino == b->st_ino && a->st_dev == b->st_dev && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/* The file is looked at for every call, the environment only when NVML is initialised. */
static void refresh(int initialising) {
    const char *path = getenv("GPUCAMP_PRACTICE_FILE");
    if (!path || !*path) {
        if (initialising)
            state_from_environment(&state, getenv("NVIDIA_VISIBLE_DEVICES"));
        return;
    }
    struct stat now;
    if (stat(path, &now) != 0) {
        memset(&file_seen, 0, sizeof file_seen);
        state_from_json(&state, NULL);
        return;
    }
    if (!initialising && same_file(&now, &file_seen))
        return;
    file_seen = now;
    char *text = read_file(path);
    state_from_json(&state, text);
    free(text);
}

static Device *find_device(const char *uuid) {
    for (int i = 0; i < state.device_count; i++)
        if (strcmp(state.devices[i].uuid, uuid) == 0)
            return &state.devices[i];
    return NULL;
}

static nvmlDevice_t handle_of(const char *uuid) {
    for (int i = 0; i < handle_count; i++)
        if (strcmp(handles[i].uuid, uuid) == 0)
            return &handles[i];
    if (handle_count == MAX_HANDLES)
        return NULL;
    snprintf(handles[handle_count].uuid, TEXT_SIZE, "%s", uuid);
    return &handles[handle_count++];
}

static int is_handle(nvmlDevice_t handle) {
    for (int i = 0; i < handle_count; i++)
        if (handle == &handles[i])
            return 1;
    return 0;
}

/* ---- how every call begins ----------------------------------------------------------------- */

static void wait_seconds(double seconds) {
    struct timespec left = {.tv_sec = (time_t)seconds,
                            .tv_nsec = (long)((seconds - (double)(time_t)seconds) * 1e9)};
    while (nanosleep(&left, &left) != 0 && errno == EINTR)
        continue;
}

/* What the state says to a call before its own work; a copy of the handle's device in `device`. */
static nvmlReturn_t begin_locked(const char *call, nvmlDevice_t handle, Device *device,
                                 double *delay) {
    if (initialised == 0)
        return NVML_ERROR_UNINITIALIZED;
    refresh(0);
    if (state.broken)
        return state.broken;
    const Fault *fault = find_fault(&state.faults, call);
    if (device) {
        if (!is_handle(handle))
            return NVML_ERROR_INVALID_ARGUMENT;
        const Device *found = find_device(handle->uuid);
        if (!found || found->lost)
            return NVML_ERROR_GPU_IS_LOST;
        *device = *found;
        if (find_fault(&found->faults, call))
            fault = find_fault(&found->faults, call);
    }
    if (!fault)
        return NVML_SUCCESS;
    *delay = fault->sleep;
    return fault->error;
}

nvmlReturn_t begin(const char *call, nvmlDevice_t handle, Device *device) {
    double delay = 0;
    pthread_mutex_lock(&lock);
    nvmlReturn_t result = begin_locked(call, handle, device, &delay);
    pthread_mutex_unlock(&lock);
    if (delay > 0)
        wait_seconds(delay);
    return result;
}

nvmlReturn_t give_text(const char *text, char *buffer, unsigned int size) {
    NEED(buffer, NVML_ERROR_INVALID_ARGUMENT);
    NEED(strlen(text) < size, NVML_ERROR_INSUFFICIENT_SIZE);
    strcpy(buffer, text);
    return NVML_SUCCESS;
}

/* ---- library -------------------------------------------------------------------------------- */

API nvmlReturn_t nvmlInitWithFlags(unsigned int flags) {
    (void)flags;
    double delay = 0;
    pthread_mutex_lock(&lock);
    refresh(1);
    nvmlReturn_t result = state.broken;
    const Fault *fault = find_fault(&state.faults, "nvmlInit");
    if (!result && fault) {
        result = fault->error;
        delay = fault->sleep;
    }
    if (result == NVML_SUCCESS)
        initialised++;
    pthread_mutex_unlock(&lock);
    if (delay > 0)
        wait_seconds(delay);
    return result;
}

API nvmlReturn_t nvmlInit_v2(void) {
    return nvmlInitWithFlags(0);
}

API nvmlReturn_t nvmlInit(void) {
    return nvmlInitWithFlags(0);
}

API nvmlReturn_t nvmlShutdown(void) {
    BEGIN(NULL, NULL);
    pthread_mutex_lock(&lock);
    if (initialised > 0)
        initialised--;
    pthread_mutex_unlock(&lock);
    return NVML_SUCCESS;
}

API const char *nvmlErrorString(nvmlReturn_t result) {
    switch (result) {
    case NVML_SUCCESS: return "Success";
    case NVML_ERROR_UNINITIALIZED: return "Uninitialized";
    case NVML_ERROR_INVALID_ARGUMENT: return "Invalid Argument";
    case NVML_ERROR_NOT_SUPPORTED: return "Not Supported";
    case 4: return "Insufficient Permissions";
    case NVML_ERROR_NOT_FOUND: return "Not Found";
    case NVML_ERROR_INSUFFICIENT_SIZE: return "Insufficient Size";
    case NVML_ERROR_DRIVER_NOT_LOADED: return "Driver Not Loaded";
    case NVML_ERROR_TIMEOUT: return "Timeout";
    case NVML_ERROR_LIBRARY_NOT_FOUND: return "NVML Shared Library Not Found";
    case 13: return "Function Not Found";
    case NVML_ERROR_GPU_IS_LOST: return "GPU is lost";
    case 16: return "GPU requires reset";
    case 18: return "RM has detected an NVML/RM version mismatch.";
    case NVML_ERROR_MEMORY: return "Insufficient Memory";
    case NVML_ERROR_ARGUMENT_VERSION_MISMATCH: return "Argument version mismatch";
    default: return "Unknown Error";
    }
}

API nvmlReturn_t nvmlSystemGetDriverVersion(char *version, unsigned int length) {
    BEGIN(NULL, NULL);
    char text[TEXT_SIZE];
    pthread_mutex_lock(&lock);
    memcpy(text, state.driver_version, sizeof text);
    pthread_mutex_unlock(&lock);
    return give_text(text, version, length);
}

API nvmlReturn_t nvmlSystemGetNVMLVersion(char *version, unsigned int length) {
    BEGIN(NULL, NULL);
    char text[TEXT_SIZE + 8];
    pthread_mutex_lock(&lock);
    snprintf(text, sizeof text, "12.%s", state.driver_version);
    pthread_mutex_unlock(&lock);
    return give_text(text, version, length);
}

API nvmlReturn_t nvmlSystemGetCudaDriverVersion(int *version) {
    BEGIN(NULL, NULL);
    NEED(version, NVML_ERROR_INVALID_ARGUMENT);
    pthread_mutex_lock(&lock);
    *version = state.cuda_version;
    pthread_mutex_unlock(&lock);
    return NVML_SUCCESS;
}

API nvmlReturn_t nvmlSystemGetCudaDriverVersion_v2(int *version) {
    return nvmlSystemGetCudaDriverVersion(version);
}

/* ---- which devices there are ---------------------------------------------------------------- */

API nvmlReturn_t nvmlDeviceGetCount_v2(unsigned int *count) {
    BEGIN(NULL, NULL);
    NEED(count, NVML_ERROR_INVALID_ARGUMENT);
    pthread_mutex_lock(&lock);
    *count = (unsigned int)state.card_count;
    pthread_mutex_unlock(&lock);
    return NVML_SUCCESS;
}

API nvmlReturn_t nvmlDeviceGetCount(unsigned int *count) {
    return nvmlDeviceGetCount_v2(count);
}

nvmlReturn_t give_handle(const char *call, int (*fits)(const Device *, const void *),
                                const void *wanted, nvmlDevice_t *handle, nvmlReturn_t none) {
    NEED(handle && wanted, NVML_ERROR_INVALID_ARGUMENT);
    nvmlReturn_t result = none;
    double delay = 0;
    pthread_mutex_lock(&lock);
    for (int i = 0; i < state.device_count; i++) {
        const Device *device = &state.devices[i];
        if (!fits(device, wanted))
            continue;
        const Fault *fault = find_fault(&device->faults, call);
        *handle = handle_of(device->uuid);
        result = *handle ? NVML_SUCCESS : NVML_ERROR_MEMORY;
        if (device->lost)
            result = NVML_ERROR_GPU_IS_LOST;
        if (fault) {
            result = fault->error;
            delay = fault->sleep;
        }
        break;
    }
    pthread_mutex_unlock(&lock);
    if (delay > 0)
        wait_seconds(delay);
    return result;
}

int has_index(const Device *device, const void *index) {
    return device->parent < 0 && device->position == *(const int *)index;
}

static int has_uuid(const Device *device, const void *uuid) {
    return strcmp(device->uuid, uuid) == 0;
}

void bus_id(const Device *device, char *text, const char *format) {
    sprintf(text, format, device->minor + 1);
}

static int has_bus_id(const Device *device, const void *wanted) {
    char full[32], legacy[32];
    bus_id(device, full, BUS_ID);
    bus_id(device, legacy, BUS_ID_LEGACY);
    return device->parent < 0 &&
           (strcasecmp(wanted, full) == 0 || strcasecmp(wanted, legacy) == 0);
}

int is_slice(const Device *device, const void *wanted) {
    const Slice *slice = wanted;
    return device->parent >= 0 && device->position == slice->position &&
           strcmp(state.devices[device->parent].uuid, slice->parent_uuid) == 0;
}

API nvmlReturn_t nvmlDeviceGetHandleByIndex_v2(unsigned int index, nvmlDevice_t *handle) {
    BEGIN(NULL, NULL);
    int wanted = (int)index;
    return give_handle(__func__, has_index, &wanted, handle, NVML_ERROR_INVALID_ARGUMENT);
}

API nvmlReturn_t nvmlDeviceGetHandleByUUID(const char *uuid, nvmlDevice_t *handle) {
    BEGIN(NULL, NULL);
    return give_handle(__func__, has_uuid, uuid, handle, NVML_ERROR_NOT_FOUND);
}

API nvmlReturn_t nvmlDeviceGetHandleByPciBusId_v2(const char *id, nvmlDevice_t *handle) {
    BEGIN(NULL, NULL);
    return give_handle(__func__, has_bus_id, id, handle, NVML_ERROR_NOT_FOUND);
}

/* ---- for the functions about links and events ------------------------------------------------- */

nvmlDevice_t handle_for(const char *uuid) {
    pthread_mutex_lock(&lock);
    nvmlDevice_t handle = handle_of(uuid);
    pthread_mutex_unlock(&lock);
    return handle;
}

static const Link *find_link(int one, int other) {
    for (int i = 0; i < state.link_count; i++) {
        const int *ends = state.links[i].between;
        if ((ends[0] == one && ends[1] == other) || (ends[0] == other && ends[1] == one))
            return &state.links[i];
    }
    return NULL;
}

Link link_between(const Device *one, const Device *other) {
    int same_node = one->numa_node == other->numa_node;
    Link link = {.level = -1, .p2p = -1};
    pthread_mutex_lock(&lock);
    const Link *said = find_link(one->position, other->position);
    if (said)
        link = *said;
    pthread_mutex_unlock(&lock);
    if (link.level < 0)
        link.level = same_node ? NVML_TOPOLOGY_NODE : NVML_TOPOLOGY_SYSTEM;
    int joined = link.nvlinks > 0 || (one->switch_links > 0 && other->switch_links > 0);
    if (link.p2p < 0)
        link.p2p = joined ? NVML_P2P_STATUS_OK : NVML_P2P_STATUS_NOT_SUPPORTED;
    return link;
}

int far_end(const Device *device, unsigned int number, Device *far) {
    unsigned int first = 0;
    int found = 0;
    pthread_mutex_lock(&lock);
    for (int other = 0; other < state.card_count && !found; other++) {
        const Link *link = other == device->position ? NULL : find_link(device->position, other);
        if (!link)
            continue;
        found = number >= first && number < first + link->nvlinks;
        if (found)
            *far = state.devices[other];
        first += link->nvlinks;
    }
    pthread_mutex_unlock(&lock);
    return found;
}

int copy_events(Event *events, int first, int room) {
    pthread_mutex_lock(&lock);
    refresh(0);
    int count = state.event_count;
    for (int i = 0; i < room && first + i < count; i++)
        events[i] = state.events[first + i];
    pthread_mutex_unlock(&lock);
    return count;
}
