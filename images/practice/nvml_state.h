/* What the simulated driver looks like now; read from a JSON file or from the environment. */
#ifndef GPUCAMP_NVML_STATE_H
#define GPUCAMP_NVML_STATE_H

#include "nvml.h"

#define TEXT_SIZE 96
#define MAX_DEVICES 64
#define MAX_FAULTS 32
#define MAX_PROCESSES 32

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
    unsigned long long memory_total, memory_used, memory_reserved;
    unsigned int utilization, memory_utilization;
    unsigned int minor, temperature, power, power_limit;
    int capability_major, capability_minor;
    unsigned int compute_mode, persistence_mode, ecc_mode;
    unsigned long long ecc_corrected, ecc_uncorrected, clocks_event_reasons;
    unsigned int rows_correctable, rows_uncorrectable, rows_pending, rows_failure;
    unsigned int retired_pages_pending, recovery_action;
    unsigned int pcie_generation, pcie_width, pcie_max_generation, pcie_max_width;
    int process_count;
    Process processes[MAX_PROCESSES];
    Faults faults;
} Device;

typedef struct {
    nvmlReturn_t broken; /* what every call returns; 0 if the state was read */
    char driver_version[TEXT_SIZE];
    int cuda_version;
    int card_count;   /* cards come first, ... */
    int device_count; /* ... then MIG devices */
    Device devices[MAX_DEVICES];
    Faults faults;
} State;

/* Fills `state` from GPUCAMP_PRACTICE_FILE (`json` is its text) or NVIDIA_VISIBLE_DEVICES. */
void state_from_json(State *state, const char *json);
void state_from_environment(State *state, const char *visible_devices);

/* The fault that `faults` hold for a call (its version suffix is ignored), or NULL. */
const Fault *find_fault(const Faults *faults, const char *call);

#endif
