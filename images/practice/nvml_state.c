/* Reads the simulated devices: from JSON text (with cJSON), or from NVIDIA_VISIBLE_DEVICES.
 *
 * Whatever the text holds, a State is filled within its bounds: what is too long is cut, what is too
 * much is left out, and a value of the wrong type keeps its default. */
#include "nvml_state.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define DEFAULT_NAME "Simulated A100 (practice)"
#define DEFAULT_UUID "GPU-5ca1ab1e-0000-4000-8000-%012x"
#define GIB (1024ULL * 1024 * 1024)

static void copy_text(char *target, const char *source) {
    snprintf(target, TEXT_SIZE, "%s", source);
}

static void read_text(const cJSON *object, const char *key, char *target) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    if (cJSON_IsString(item))
        copy_text(target, item->valuestring);
}

static unsigned long long read_number(const cJSON *object, const char *key,
                                      unsigned long long fallback) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    if (!cJSON_IsNumber(item) || !(item->valuedouble >= 0 && item->valuedouble < 1e18))
        return fallback;
    return (unsigned long long)item->valuedouble;
}

static unsigned int read_nvlinks(const cJSON *object, const char *key) {
    unsigned long long number = read_number(object, key, 0);
    return number < NVML_NVLINK_MAX_LINKS ? (unsigned int)number : NVML_NVLINK_MAX_LINKS;
}

/* nvmlInit_v2 and nvmlInitWithFlags are one call to who writes a fault for nvmlInit. */
static void base_name(const char *call, char *target) {
    copy_text(target, call);
    char *suffix = strstr(target, "_v");
    if (suffix)
        *suffix = '\0';
    if (strcmp(target, "nvmlInitWithFlags") == 0)
        copy_text(target, "nvmlInit");
}

const Fault *find_fault(const Faults *faults, const char *call) {
    char name[TEXT_SIZE];
    base_name(call, name);
    for (int i = 0; i < faults->count; i++)
        if (strcmp(faults->list[i].call, name) == 0)
            return &faults->list[i];
    return NULL;
}

static void read_faults(const cJSON *object, Faults *faults) {
    const cJSON *item;
    cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(object, "faults")) {
        if (faults->count == MAX_FAULTS || !item->string)
            return;
        Fault *fault = &faults->list[faults->count];
        if (cJSON_IsNumber(item)) {
            fault->error = (nvmlReturn_t)item->valueint;
        } else if (cJSON_IsObject(item)) {
            const cJSON *sleep = cJSON_GetObjectItemCaseSensitive(item, "sleep");
            fault->error = (nvmlReturn_t)read_number(item, "error", NVML_SUCCESS);
            if (cJSON_IsNumber(sleep) && sleep->valuedouble > 0)
                fault->sleep = sleep->valuedouble;
        } else {
            continue;
        }
        base_name(item->string, fault->call);
        faults->count++;
    }
}

static Device *add_device(State *state, const char *uuid, int parent, int position) {
    if (state->device_count == MAX_DEVICES)
        return NULL;
    Device *device = &state->devices[state->device_count++];
    copy_text(device->uuid, uuid);
    copy_text(device->name, DEFAULT_NAME);
    device->parent = parent;
    device->position = position;
    device->numa_node = -1;
    device->memory_total = 40 * GIB;
    device->temperature = 36;
    device->power = 55000;
    device->power_limit = 400000;
    device->capability_major = 8;
    device->persistence_mode = 1;
    device->ecc_mode = 1;
    device->clocks_event_reasons = 1; /* GPU idle */
    device->pcie_generation = device->pcie_max_generation = 4;
    device->pcie_width = device->pcie_max_width = 16;
    return device;
}

static void read_device(const cJSON *object, Device *device) {
    read_text(object, "name", device->name);
    device->memory_total = read_number(object, "memory_total", device->memory_total);
    device->memory_used = read_number(object, "memory_used", 0);
    device->memory_reserved = read_number(object, "memory_reserved", 0);
    device->utilization = read_number(object, "utilization", 0);
    device->memory_utilization = read_number(object, "memory_utilization", 0);
    device->minor = read_number(object, "minor", device->minor);
    device->temperature = read_number(object, "temperature", device->temperature);
    device->power = read_number(object, "power", device->power);
    device->power_limit = read_number(object, "power_limit", device->power_limit);
    device->compute_mode = read_number(object, "compute_mode", 0);
    device->persistence_mode = read_number(object, "persistence_mode", device->persistence_mode);
    device->retired_pages_pending = read_number(object, "retired_pages_pending", 0);
    device->recovery_action = read_number(object, "recovery_action", 0);
    device->clocks_event_reasons =
        read_number(object, "clocks_event_reasons", device->clocks_event_reasons);

    if (cJSON_GetObjectItemCaseSensitive(object, "numa_node"))
        device->numa_node = (int)read_number(object, "numa_node", 0) % MAX_DEVICES;
    device->switch_links = read_nvlinks(object, "nvswitch_links");
    device->lost = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(object, "lost"));

    const cJSON *capability = cJSON_GetObjectItemCaseSensitive(object, "compute_capability");
    if (cJSON_GetArraySize(capability) == 2) {
        device->capability_major = cJSON_GetArrayItem(capability, 0)->valueint;
        device->capability_minor = cJSON_GetArrayItem(capability, 1)->valueint;
    }
    const cJSON *ecc = cJSON_GetObjectItemCaseSensitive(object, "ecc");
    device->ecc_mode = read_number(ecc, "mode", device->ecc_mode);
    device->ecc_corrected = read_number(ecc, "corrected", 0);
    device->ecc_uncorrected = read_number(ecc, "uncorrected", 0);
    const cJSON *rows = cJSON_GetObjectItemCaseSensitive(object, "remapped_rows");
    device->rows_correctable = read_number(rows, "correctable", 0);
    device->rows_uncorrectable = read_number(rows, "uncorrectable", 0);
    device->rows_pending = read_number(rows, "pending", 0);
    device->rows_failure = read_number(rows, "failure", 0);
    const cJSON *pcie = cJSON_GetObjectItemCaseSensitive(object, "pcie");
    device->pcie_generation = read_number(pcie, "generation", device->pcie_generation);
    device->pcie_width = read_number(pcie, "width", device->pcie_width);
    device->pcie_max_generation = read_number(pcie, "max_generation", device->pcie_max_generation);
    device->pcie_max_width = read_number(pcie, "max_width", device->pcie_max_width);

    const cJSON *process;
    cJSON_ArrayForEach(process, cJSON_GetObjectItemCaseSensitive(object, "processes")) {
        if (device->process_count == MAX_PROCESSES)
            break;
        Process *entry = &device->processes[device->process_count++];
        entry->pid = read_number(process, "pid", 0);
        entry->memory = read_number(process, "memory", 0);
    }
    read_faults(object, &device->faults);
}

static int index_of_card(const State *state, const cJSON *uuid) {
    for (int i = 0; cJSON_IsString(uuid) && i < state->card_count; i++)
        if (strcmp(state->devices[i].uuid, uuid->valuestring) == 0)
            return i;
    return -1;
}

static void read_links(const cJSON *root, State *state) {
    const cJSON *object;
    cJSON_ArrayForEach(object, cJSON_GetObjectItemCaseSensitive(root, "links")) {
        const cJSON *between = cJSON_GetObjectItemCaseSensitive(object, "between");
        Link *link = &state->links[state->link_count];
        if (state->link_count == MAX_LINKS)
            return;
        for (int end = 0; end < 2; end++)
            link->between[end] = index_of_card(state, cJSON_GetArrayItem(between, end));
        if (link->between[0] < 0 || link->between[1] < 0)
            continue; /* a card that is away */
        link->nvlinks = read_nvlinks(object, "nvlinks");
        const cJSON *level = cJSON_GetObjectItemCaseSensitive(object, "level");
        const cJSON *p2p = cJSON_GetObjectItemCaseSensitive(object, "p2p");
        link->level = cJSON_IsNumber(level) ? level->valueint : -1;
        link->p2p = cJSON_IsNumber(p2p) ? p2p->valueint : -1;
        state->link_count++;
    }
}

static void read_events(const cJSON *root, State *state) {
    const cJSON *object;
    cJSON_ArrayForEach(object, cJSON_GetObjectItemCaseSensitive(root, "events")) {
        if (state->event_count == MAX_EVENTS)
            return;
        Event *event = &state->events[state->event_count++];
        read_text(object, "uuid", event->uuid);
        event->xid = read_number(object, "xid", 0);
        event->type = read_number(object, "type", NVML_EVENT_XID_CRITICAL_ERROR);
        event->error = (nvmlReturn_t)read_number(object, "error", NVML_SUCCESS);
    }
}

/* The UUID of a device's JSON object, or NULL for one that cannot be a device. */
static const char *uuid_of(const cJSON *object) {
    const cJSON *uuid = cJSON_GetObjectItemCaseSensitive(object, "uuid");
    return cJSON_IsString(uuid) ? uuid->valuestring : NULL;
}

void state_from_json(State *state, const char *json) {
    memset(state, 0, sizeof *state);
    copy_text(state->driver_version, "570.172.08");
    state->cuda_version = 12080;
    cJSON *root = json ? cJSON_Parse(json) : NULL;
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(root, "devices");
    if (!cJSON_IsObject(root) || !cJSON_IsArray(list)) {
        state->broken = NVML_ERROR_UNKNOWN;
        cJSON_Delete(root);
        return;
    }
    read_text(root, "driver_version", state->driver_version);
    state->cuda_version = (int)read_number(root, "cuda_version", 12080);
    read_faults(root, &state->faults);

    const cJSON *object;
    cJSON_ArrayForEach(object, list) {
        Device *device = uuid_of(object)
                             ? add_device(state, uuid_of(object), -1, state->card_count)
                             : NULL;
        if (!device)
            continue;
        device->minor = state->card_count++;
        read_device(object, device);
    }
    int card = 0;
    cJSON_ArrayForEach(object, list) {
        if (!uuid_of(object) || card == state->card_count)
            continue;
        const cJSON *part, *parts = cJSON_GetObjectItemCaseSensitive(object, "mig_devices");
        Device *parent = &state->devices[card];
        parent->mig_mode = cJSON_IsArray(parts);
        cJSON_ArrayForEach(part, parts) {
            Device *device = uuid_of(part)
                                 ? add_device(state, uuid_of(part), card, parent->mig_count)
                                 : NULL;
            if (!device)
                continue;
            parent->mig_count++;
            device->minor = parent->minor;
            device->numa_node = parent->numa_node;
            read_device(part, device);
            device->lost |= parent->lost;
        }
        card++;
    }
    read_links(root, state);
    read_events(root, state);
    cJSON_Delete(root);
}

/* The number that a practice device's UUID ends in, which is its minor as on the host; else
 * `fallback`. */
static unsigned int minor_of(const char *uuid, unsigned int fallback) {
    char first[TEXT_SIZE];
    snprintf(first, sizeof first, DEFAULT_UUID, 0U);
    size_t prefix = strlen(first) - 12;
    if (strlen(uuid) != strlen(first) || strncmp(uuid, first, prefix) != 0)
        return fallback;
    unsigned long last = strtoul(uuid + prefix, NULL, 16);
    return last < 256 ? (unsigned int)last : fallback;
}

/* A card for one entry of NVIDIA_VISIBLE_DEVICES; NULL if the entry names none. */
static Device *add_visible(State *state, const char *entry) {
    char uuid[TEXT_SIZE], *rest;
    unsigned long index = strtoul(entry, &rest, 10);
    if (entry[0] >= '0' && entry[0] <= '9' && *rest == '\0' && index < MAX_DEVICES)
        snprintf(uuid, sizeof uuid, DEFAULT_UUID, (unsigned int)index);
    else if (strncmp(entry, "GPU-", 4) == 0 || strncmp(entry, "MIG-", 4) == 0)
        snprintf(uuid, sizeof uuid, "GPU-%.90s", entry + 4);
    else
        return NULL;
    Device *device = add_device(state, uuid, -1, state->card_count);
    if (device)
        device->minor = minor_of(uuid, (unsigned int)state->card_count++);
    return device;
}

/* Practice devices whose files the stand-in hook made: plain ones, as a card's never are. A process
 * that `docker exec` starts lacks the hook's environment and has only these. */
static void add_device_files(State *state) {
    char path[TEXT_SIZE], uuid[TEXT_SIZE];
    struct stat file;
    for (unsigned int minor = 0; minor < MAX_DEVICES; minor++) {
        snprintf(path, sizeof path, "/dev/nvidia%u", minor);
        if (lstat(path, &file) == 0 && S_ISREG(file.st_mode)) {
            snprintf(uuid, sizeof uuid, DEFAULT_UUID, minor);
            add_visible(state, uuid);
        }
    }
}

/* The plan that hub_ext/inventory/practice.py has, too: pairs with four NVLinks, four cards on a
 * NUMA node, two nodes. */
static void link_practice_cards(State *state) {
    for (int i = 0; i < state->card_count; i++) {
        Device *device = &state->devices[i];
        device->numa_node = (int)(device->minor / 4 % 2);
        for (int other = 0; other < i && state->link_count < MAX_LINKS; other++) {
            if (state->devices[other].minor / 2 != device->minor / 2)
                continue;
            state->links[state->link_count++] =
                (Link){.between = {other, i}, .level = -1, .p2p = -1, .nvlinks = 4};
        }
    }
}

void state_from_environment(State *state, const char *visible_devices) {
    memset(state, 0, sizeof *state);
    copy_text(state->driver_version, "570.172.08");
    state->cuda_version = 12080;
    if (!visible_devices || !*visible_devices || strcmp(visible_devices, "void") == 0 ||
        strcmp(visible_devices, "none") == 0) {
        add_device_files(state);
        link_practice_cards(state);
        if (state->card_count == 0)
            state->broken = NVML_ERROR_LIBRARY_NOT_FOUND;
        return;
    }
    char *list = strdup(strcmp(visible_devices, "all") == 0 ? "0,1" : visible_devices);
    if (!list) {
        state->broken = NVML_ERROR_MEMORY;
        return;
    }
    /* a MIG device is seen as the one slice of a card; cards come first in the table */
    const char *slices[MAX_DEVICES] = {NULL};
    char *save = NULL;
    for (char *entry = strtok_r(list, ", ", &save); entry; entry = strtok_r(NULL, ", ", &save)) {
        const Device *card = add_visible(state, entry);
        if (card && strncmp(entry, "MIG-", 4) == 0)
            slices[card->position] = entry;
    }
    link_practice_cards(state);
    for (int card = 0; card < state->card_count; card++) {
        if (slices[card] && add_device(state, slices[card], card, 0))
            state->devices[card].mig_count = state->devices[card].mig_mode = 1;
    }
    free(list);
}
