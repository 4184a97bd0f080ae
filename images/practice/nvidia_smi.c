/* nvidia-smi for practice mode: the table, -L and --query-gpu, from whatever libnvidia-ml.so.1 says.
 *
 * Texts and exit statuses are those of NVIDIA's tool where scripts and people look for them. */
#include "nvml.h"

#include <dlfcn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MIB (1024ULL * 1024)

static nvmlReturn_t (*init)(void);
static const char *(*error_string)(nvmlReturn_t);
static nvmlReturn_t (*driver_version)(char *, unsigned int);
static nvmlReturn_t (*cuda_version)(int *);
static nvmlReturn_t (*device_count)(unsigned int *);
static nvmlReturn_t (*handle_by_index)(unsigned int, nvmlDevice_t *);
static nvmlReturn_t (*get_uuid)(nvmlDevice_t, char *, unsigned int);
static nvmlReturn_t (*get_name)(nvmlDevice_t, char *, unsigned int);
static nvmlReturn_t (*get_memory)(nvmlDevice_t, nvmlMemory_t *);
static nvmlReturn_t (*get_utilization)(nvmlDevice_t, nvmlUtilization_t *);
static nvmlReturn_t (*get_temperature)(nvmlDevice_t, int, unsigned int *);
static nvmlReturn_t (*get_power)(nvmlDevice_t, unsigned int *);
static nvmlReturn_t (*get_power_limit)(nvmlDevice_t, unsigned int *);
static nvmlReturn_t (*get_pci)(nvmlDevice_t, nvmlPciInfo_t *);
static nvmlReturn_t (*get_capability)(nvmlDevice_t, int *, int *);
static nvmlReturn_t (*get_processes)(nvmlDevice_t, unsigned int *, nvmlProcessInfo_t *);
static nvmlReturn_t (*get_compute_mode)(nvmlDevice_t, unsigned int *);
static nvmlReturn_t (*get_mig_slice)(nvmlDevice_t, unsigned int, nvmlDevice_t *);

static const struct {
    void *pointer;
    const char *name;
} FUNCTIONS[] = {
    {&init, "nvmlInit_v2"},
    {&error_string, "nvmlErrorString"},
    {&driver_version, "nvmlSystemGetDriverVersion"},
    {&cuda_version, "nvmlSystemGetCudaDriverVersion"},
    {&device_count, "nvmlDeviceGetCount_v2"},
    {&handle_by_index, "nvmlDeviceGetHandleByIndex_v2"},
    {&get_uuid, "nvmlDeviceGetUUID"},
    {&get_name, "nvmlDeviceGetName"},
    {&get_memory, "nvmlDeviceGetMemoryInfo"},
    {&get_utilization, "nvmlDeviceGetUtilizationRates"},
    {&get_temperature, "nvmlDeviceGetTemperature"},
    {&get_power, "nvmlDeviceGetPowerUsage"},
    {&get_power_limit, "nvmlDeviceGetEnforcedPowerLimit"},
    {&get_pci, "nvmlDeviceGetPciInfo_v3"},
    {&get_capability, "nvmlDeviceGetCudaComputeCapability"},
    {&get_processes, "nvmlDeviceGetComputeRunningProcesses_v3"},
    {&get_compute_mode, "nvmlDeviceGetComputeMode"},
    {&get_mig_slice, "nvmlDeviceGetMigDeviceHandleByIndex"},
};

__attribute__((noreturn)) static void library_missing(void) {
    puts("NVIDIA-SMI couldn't find libnvidia-ml.so library in your system. Please make sure that the "
         "NVIDIA Display Driver is properly installed and present in your system.\n"
         "Please also try adding directory that contains libnvidia-ml.so to your system PATH.");
    exit(NVML_ERROR_LIBRARY_NOT_FOUND);
}

static void load(void) {
    void *library = dlopen("libnvidia-ml.so.1", RTLD_NOW);
    if (!library)
        library_missing();
    for (size_t i = 0; i < sizeof FUNCTIONS / sizeof *FUNCTIONS; i++) {
        void *function = dlsym(library, FUNCTIONS[i].name);
        if (!function)
            library_missing();
        memcpy(FUNCTIONS[i].pointer, &function, sizeof function);
    }
    nvmlReturn_t result = init();
    if (result == NVML_SUCCESS)
        return;
    if (result == NVML_ERROR_LIBRARY_NOT_FOUND)
        library_missing();
    if (result == NVML_ERROR_DRIVER_NOT_LOADED) {
        puts("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure "
             "that the latest NVIDIA driver is installed and running.");
        exit(9);
    }
    printf("Failed to initialize NVML: %s\n",
           result == 18 ? "Driver/library version mismatch" : error_string(result));
    exit(result < 255 ? (int)result : 255);
}

/* ---- values as text; "[N/A]" and "[GPU is lost]" as NVIDIA's tool writes them ----------------- */

#define FIELD_SIZE 160

static void print_into(char *text, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, FIELD_SIZE, format, arguments);
    va_end(arguments);
}

/* 1 if `result` is no success; then `text` says so. */
static int failed(nvmlReturn_t result, char *text) {
    if (result == NVML_SUCCESS)
        return 0;
    if (result == NVML_ERROR_NOT_SUPPORTED)
        print_into(text, "[N/A]");
    else
        print_into(text, "[%s]", error_string(result));
    return 1;
}

typedef void (*Field)(unsigned int, nvmlDevice_t, int, char *);

static void field_index(unsigned int index, nvmlDevice_t device, int units, char *text) {
    (void)device, (void)units;
    print_into(text, "%u", index);
}

static void field_count(unsigned int index, nvmlDevice_t device, int units, char *text) {
    unsigned int count;
    (void)index, (void)device, (void)units;
    if (!failed(device_count(&count), text))
        print_into(text, "%u", count);
}

static void field_uuid(unsigned int index, nvmlDevice_t device, int units, char *text) {
    (void)index, (void)units;
    failed(get_uuid(device, text, 96), text);
}

static void field_name(unsigned int index, nvmlDevice_t device, int units, char *text) {
    (void)index, (void)units;
    failed(get_name(device, text, 96), text);
}

static void field_driver(unsigned int index, nvmlDevice_t device, int units, char *text) {
    (void)index, (void)device, (void)units;
    failed(driver_version(text, 80), text);
}

static void memory(nvmlDevice_t device, int units, char *text, int part) {
    nvmlMemory_t info;
    if (failed(get_memory(device, &info), text))
        return;
    unsigned long long bytes[] = {info.total, info.used, info.free};
    print_into(text, units ? "%llu MiB" : "%llu", bytes[part] / MIB);
}

static void field_memory_total(unsigned int index, nvmlDevice_t device, int units, char *text) {
    (void)index;
    memory(device, units, text, 0);
}

static void field_memory_used(unsigned int index, nvmlDevice_t device, int units, char *text) {
    (void)index;
    memory(device, units, text, 1);
}

static void field_memory_free(unsigned int index, nvmlDevice_t device, int units, char *text) {
    (void)index;
    memory(device, units, text, 2);
}

static void utilization(nvmlDevice_t device, int units, char *text, int of_memory) {
    nvmlUtilization_t rates;
    if (!failed(get_utilization(device, &rates), text))
        print_into(text, units ? "%u %%" : "%u", of_memory ? rates.memory : rates.gpu);
}

static void field_utilization(unsigned int index, nvmlDevice_t device, int units, char *text) {
    (void)index;
    utilization(device, units, text, 0);
}

static void field_utilization_memory(unsigned int index, nvmlDevice_t device, int units,
                                     char *text) {
    (void)index;
    utilization(device, units, text, 1);
}

static void field_temperature(unsigned int index, nvmlDevice_t device, int units, char *text) {
    unsigned int degrees;
    (void)index, (void)units;
    if (!failed(get_temperature(device, NVML_TEMPERATURE_GPU, &degrees), text))
        print_into(text, "%u", degrees);
}

static void field_power(unsigned int index, nvmlDevice_t device, int units, char *text) {
    unsigned int milliwatts;
    (void)index;
    if (!failed(get_power(device, &milliwatts), text))
        print_into(text, units ? "%.2f W" : "%.2f", milliwatts / 1000.0);
}

static void field_bus(unsigned int index, nvmlDevice_t device, int units, char *text) {
    nvmlPciInfo_t pci;
    (void)index, (void)units;
    if (!failed(get_pci(device, &pci), text))
        print_into(text, "%s", pci.busId);
}

static void field_capability(unsigned int index, nvmlDevice_t device, int units, char *text) {
    int major, minor;
    (void)index, (void)units;
    if (!failed(get_capability(device, &major, &minor), text))
        print_into(text, "%d.%d", major, minor);
}

static void field_compute_mode(unsigned int index, nvmlDevice_t device, int units, char *text) {
    static const char *const MODES[] = {"Default", "Exclusive_Thread", "Prohibited",
                                        "Exclusive_Process"};
    unsigned int mode;
    (void)index, (void)units;
    if (!failed(get_compute_mode(device, &mode), text))
        print_into(text, "%s", mode < 4 ? MODES[mode] : "[Unknown Error]");
}

static const struct {
    const char *name, *heading;
    Field field;
} FIELDS[] = {
    {"index", "index", field_index},
    {"count", "count", field_count},
    {"uuid", "uuid", field_uuid},
    {"gpu_uuid", "uuid", field_uuid},
    {"name", "name", field_name},
    {"gpu_name", "name", field_name},
    {"driver_version", "driver_version", field_driver},
    {"memory.total", "memory.total [MiB]", field_memory_total},
    {"memory.used", "memory.used [MiB]", field_memory_used},
    {"memory.free", "memory.free [MiB]", field_memory_free},
    {"utilization.gpu", "utilization.gpu [%]", field_utilization},
    {"utilization.memory", "utilization.memory [%]", field_utilization_memory},
    {"temperature.gpu", "temperature.gpu", field_temperature},
    {"power.draw", "power.draw [W]", field_power},
    {"pci.bus_id", "pci.bus_id", field_bus},
    {"gpu_bus_id", "pci.bus_id", field_bus},
    {"compute_cap", "compute_cap", field_capability},
    {"compute_mode", "compute_mode", field_compute_mode},
};

#define FIELD_COUNT (sizeof FIELDS / sizeof *FIELDS)

/* ---- what it can be asked ----------------------------------------------------------------------- */

static unsigned int count_devices(void) {
    unsigned int count;
    nvmlReturn_t result = device_count(&count);
    if (result != NVML_SUCCESS) {
        printf("Failed to get the number of devices: %s\n", error_string(result));
        exit(result < 255 ? (int)result : 255);
    }
    if (count == 0) {
        puts("No devices were found");
        exit(NVML_ERROR_NOT_FOUND);
    }
    return count;
}

/* 0 if the device cannot be had; then a line says so. */
static int open_device(unsigned int index, nvmlDevice_t *device) {
    nvmlReturn_t result = handle_by_index(index, device);
    if (result == NVML_SUCCESS)
        return 1;
    printf("Unable to determine the device handle for GPU%u: %s\n", index, error_string(result));
    return 0;
}

static int list(void) {
    int status = 0;
    for (unsigned int i = 0, count = count_devices(); i < count; i++) {
        nvmlDevice_t device, slice;
        char name[FIELD_SIZE], uuid[FIELD_SIZE];
        if (!open_device(i, &device)) {
            status = NVML_ERROR_GPU_IS_LOST;
            continue;
        }
        field_name(i, device, 1, name);
        field_uuid(i, device, 1, uuid);
        printf("GPU %u: %s (UUID: %s)\n", i, name, uuid);
        for (unsigned int j = 0; get_mig_slice(device, j, &slice) == NVML_SUCCESS; j++) {
            field_name(j, slice, 1, name);
            field_uuid(j, slice, 1, uuid);
            printf("  MIG %-15s Device %2u: (UUID: %s)\n", name, j, uuid);
        }
    }
    return status;
}

static int query(char *names, int header, int units) {
    size_t chosen[64], chosen_count = 0;
    char *save = NULL;
    for (char *name = strtok_r(names, ", ", &save); name; name = strtok_r(NULL, ", ", &save)) {
        size_t i = 0;
        while (i < FIELD_COUNT && strcmp(FIELDS[i].name, name) != 0)
            i++;
        if (i == FIELD_COUNT) {
            printf("Field \"%s\" is not a valid field to query.\n\n", name);
            return 2;
        }
        if (chosen_count < 64)
            chosen[chosen_count++] = i;
    }
    unsigned int count = count_devices();
    for (size_t i = 0; header && i < chosen_count; i++)
        printf("%s%s", FIELDS[chosen[i]].heading, i + 1 < chosen_count ? ", " : "\n");
    int status = 0;
    for (unsigned int i = 0; i < count; i++) {
        nvmlDevice_t device;
        if (!open_device(i, &device)) {
            status = NVML_ERROR_GPU_IS_LOST;
            continue;
        }
        for (size_t j = 0; j < chosen_count; j++) {
            char text[FIELD_SIZE];
            FIELDS[chosen[j]].field(i, device, units, text);
            printf("%s%s", text, j + 1 < chosen_count ? ", " : "\n");
        }
    }
    return status;
}

#define WIDTH 75

static void rule(void) {
    char line[WIDTH + 3];
    memset(line, '-', sizeof line - 1);
    line[sizeof line - 1] = '\0';
    printf("+%s+\n", line);
}

static void row(const char *format, ...) {
    char text[4 * FIELD_SIZE];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    printf("| %-*.*s |\n", WIDTH, WIDTH, text);
}

static void device_rows(unsigned int index, nvmlDevice_t device) {
    char name[FIELD_SIZE], bus[FIELD_SIZE], temperature[FIELD_SIZE], power[FIELD_SIZE];
    char used[FIELD_SIZE], total[FIELD_SIZE], load[FIELD_SIZE];
    unsigned int limit = 0;
    field_name(index, device, 1, name);
    field_bus(index, device, 1, bus);
    field_temperature(index, device, 1, temperature);
    field_power(index, device, 1, power);
    field_memory_used(index, device, 1, used);
    field_memory_total(index, device, 1, total);
    field_utilization(index, device, 1, load);
    get_power_limit(device, &limit);
    row("%3u  %-44.44s %s", index, name, bus);
    row("%4sC   %s / %uW   %s / %s   %s", temperature, power, limit / 1000, used, total, load);
}

static void process_rows(unsigned int index, nvmlDevice_t device) {
    nvmlProcessInfo_t infos[64];
    unsigned int count = 64;
    if (get_processes(device, &count, infos) != NVML_SUCCESS)
        return;
    for (unsigned int i = 0; i < count; i++)
        row("%3u %10u   C   %-40s %8lluMiB", index, infos[i].pid, "[Not Found]",
            infos[i].usedGpuMemory / MIB);
}

static int table(void) {
    char driver[FIELD_SIZE], date[64];
    int cuda = 0, status = 0;
    time_t now = time(NULL);
    unsigned int count = count_devices();
    strftime(date, sizeof date, "%a %b %e %H:%M:%S %Y", localtime(&now));
    field_driver(0, NULL, 1, driver);
    cuda_version(&cuda);
    puts(date);
    rule();
    row("NVIDIA-SMI (practice)   Driver Version: %-14s CUDA Version: %d.%d", driver, cuda / 1000,
        cuda % 1000 / 10);
    row("Simulated devices: nothing can be computed on them.");
    rule();
    row("GPU  %-44s %s", "Name", "Bus-Id");
    row(" Temp   Pwr:Usage/Cap   Memory-Usage   GPU-Util");
    rule();
    for (unsigned int i = 0; i < count; i++) {
        nvmlDevice_t device;
        if (open_device(i, &device))
            device_rows(i, device);
        else
            status = NVML_ERROR_GPU_IS_LOST;
    }
    rule();
    row("GPU        PID Type   %-40s GPU Memory", "Process name");
    rule();
    for (unsigned int i = 0; i < count; i++) {
        nvmlDevice_t device;
        if (handle_by_index(i, &device) == NVML_SUCCESS)
            process_rows(i, device);
    }
    rule();
    return status;
}

static int usage(const char *wrong) {
    if (wrong)
        printf("Invalid combination of input arguments: %s\n", wrong);
    puts("Stand-in for nvidia-smi (practice mode). It knows:\n"
         "  nvidia-smi\n"
         "  nvidia-smi -L\n"
         "  nvidia-smi --query-gpu=FIELD,... --format=csv[,noheader][,nounits]");
    printf("Fields:");
    for (size_t i = 0; i < FIELD_COUNT; i++)
        printf(" %s", FIELDS[i].name);
    putchar('\n');
    return wrong ? 2 : 0;
}

int main(int count, char **arguments) {
    const char *names = NULL, *format = NULL;
    int listing = 0;
    for (int i = 1; i < count; i++) {
        const char *argument = arguments[i];
        if (strcmp(argument, "-h") == 0 || strcmp(argument, "--help") == 0)
            return usage(NULL);
        else if (strcmp(argument, "-L") == 0 || strcmp(argument, "--list-gpus") == 0)
            listing = 1;
        else if (strncmp(argument, "--query-gpu=", 12) == 0)
            names = argument + 12;
        else if (strncmp(argument, "--format=", 9) == 0)
            format = argument + 9;
        else
            return usage(argument);
    }
    if (names && (!format || strncmp(format, "csv", 3) != 0 || listing))
        return usage("--query-gpu needs --format=csv");
    load();
    if (listing)
        return list();
    if (!names)
        return table();
    char *copy = strdup(names);
    return copy ? query(copy, !strstr(format, "noheader"), !strstr(format, "nounits")) : 1;
}
