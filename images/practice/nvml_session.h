/* What NVML's functions share: the state, handles, and how a call begins. See nvml_session.c. */
#ifndef GPUCAMP_NVML_SESSION_H
#define GPUCAMP_NVML_SESSION_H

#include "nvml_state.h"

#define API __attribute__((visibility("default")))

/* What the state says to a call before its own work, after the delay of a fault; gives a copy of the
 * handle's device unless `device` is NULL. */
nvmlReturn_t begin(const char *call, nvmlDevice_t handle, Device *device);

nvmlReturn_t give_text(const char *text, char *buffer, unsigned int size);

/* Gives the handle of the first device that fits; a device may refuse its handle by a fault. */
nvmlReturn_t give_handle(const char *call, int (*fits)(const Device *, const void *),
                         const void *wanted, nvmlDevice_t *handle, nvmlReturn_t none);

/* The handle that a UUID always has, whether or not its device is there; NULL if there are too many. */
nvmlDevice_t handle_for(const char *uuid);

/* How two cards are linked: what the file says, else made up from their NUMA nodes. */
Link link_between(const Device *one, const Device *other);

/* Copies up to `room` events from number `first` on; gives how many there are in all. */
int copy_events(Event *events, int first, int room);

/* Copies the `link`-th NVLink's far end, a card, of a card; 0 if that link has none. */
int far_end(const Device *device, unsigned int link, Device *far);

int has_index(const Device *device, const void *index); /* an int: the number of a card */

typedef struct {
    char parent_uuid[TEXT_SIZE];
    int position;
} Slice;

int is_slice(const Device *device, const void *slice); /* for give_handle only */

#define BUS_ID "00000000:%02X:00.0"
#define BUS_ID_LEGACY "0000:%02X:00.0"

void bus_id(const Device *device, char *text, const char *format);

#define BEGIN(handle, device)                                                                      \
    do {                                                                                           \
        nvmlReturn_t begun = begin(__func__, handle, device);                                      \
        if (begun != NVML_SUCCESS)                                                                 \
            return begun;                                                                          \
    } while (0)

#define NEED(condition, error)                                                                     \
    do {                                                                                           \
        if (!(condition))                                                                          \
            return error;                                                                          \
    } while (0)

#endif
