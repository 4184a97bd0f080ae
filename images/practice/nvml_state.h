/* What the simulated driver looks like now; read from a JSON file or from the environment. */
#ifndef GPUCAMP_NVML_STATE_H
#define GPUCAMP_NVML_STATE_H

#include "nvml.h"

#define TEXT_SIZE 96
#define MAX_DEVICES 64
#define MAX_FAULTS 32
#define MAX_PROCESSES 32
#define MAX_LINKS 256
#define MAX_EVENTS 256

typedef struct {
    char call[TEXT_SIZE]; /* an NVML function without its version suffix */
    nvmlReturn_t error;
    double sleep; /* seconds */
} Fault;

typedef struct {
    int count;
    Fault list[MAX_FAULTS];
} Faults;

typedef struct {
    unsigned int pid;
    unsigned long long memory;
} Process;

typedef struct {
    char uuid[TEXT_SIZE], name[TEXT_SIZE];
    int parent;    /* index of the MIG device's card, -1 for a card */
    int position;  /* among the cards, or among the MIG devices of its card */
    int mig_count; /* MIG devices of this card */
    int mig_mode;  /* whether it is divided into such, were it into none */
    unsigned long long memory_total, memory_used, memory_reserved;
    unsigned int utilization, memory_utilization;
    unsigned int minor, temperature, power, power_limit;
    int capability_major, capability_minor;
    unsigned int compute_mode, persistence_mode, ecc_mode;
    unsigned long long ecc_corrected, ecc_uncorrected, clocks_event_reasons;
    unsigned int rows_correctable, rows_uncorrectable, rows_pending, rows_failure;
    unsigned int retired_pages_pending, recovery_action;
    unsigned int pcie_generation, pcie_width, pcie_max_generation, pcie_max_width;
    int lost;      /* off the bus: every call about it says so */
    int numa_node; /* -1: the card does not say */
    unsigned int switch_links; /* NVLinks that go to an NVSwitch */
    int process_count;
    Process processes[MAX_PROCESSES];
    Faults faults;
} Device;

/* How two cards are linked, where the file says so. */
typedef struct {
    int between[2]; /* indices of cards */
    int level, p2p; /* NVML's numbers; -1: by the NUMA node, by the NVLinks */
    unsigned int nvlinks;
} Link;

typedef struct {
    char uuid[TEXT_SIZE]; /* of a card; "" for an error */
    unsigned long long type, xid;
    nvmlReturn_t error; /* what waiting returns instead of an event */
} Event;

typedef struct {
    nvmlReturn_t broken; /* what every call returns; 0 if the state was read */
    char driver_version[TEXT_SIZE];
    int cuda_version;
    int card_count;   /* cards come first, ... */
    int device_count; /* ... then MIG devices */
    Device devices[MAX_DEVICES];
    int link_count;
    Link links[MAX_LINKS];
    int event_count;
    Event events[MAX_EVENTS]; /* all that ever were, oldest first */
    Faults faults;
} State;

/* Fills `state` from GPUCAMP_PRACTICE_FILE (`json` is its text) or NVIDIA_VISIBLE_DEVICES. */
void state_from_json(State *state, const char *json);
void state_from_environment(State *state, const char *visible_devices);

/* The fault that `faults` hold for a call (its version suffix is ignored), or NULL. */
const Fault *find_fault(const Faults *faults, const char *call);

#endif
