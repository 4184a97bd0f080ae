/* A libcuda.so.1 that answers as it is told: FAKE_CUDA_INIT (an error code), FAKE_CUDA_VERSION (12080),
 * FAKE_CUDA_SLEEP (seconds in cuInit), FAKE_CUDA_CRASH (set: a fault in cuInit). Enough for the doctor's probe,
 * and for torch to say what it says about each error.
 *   gcc -shared -fPIC -o libcuda.so.1 libcuda.c     (-DINIT=34: what it answers when nobody told it)
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifndef INIT
#define INIT 0
#endif

static int setting(const char *name, int otherwise) {
    const char *text = getenv(name);
    return text ? atoi(text) : otherwise;
}

int cuInit(unsigned flags) {
    (void)flags;
    if (getenv("FAKE_CUDA_CRASH")) raise(SIGSEGV);
    sleep((unsigned)setting("FAKE_CUDA_SLEEP", 0));
    return setting("FAKE_CUDA_INIT", INIT);
}

int cuDriverGetVersion(int *version) {
    *version = setting("FAKE_CUDA_VERSION", 12080);
    return 0;
}

int cuDeviceGetCount(int *count) {
    *count = 1;
    return 0;
}

int cuGetErrorName(int code, const char **text) {
    *text = code == 100 ? "CUDA_ERROR_NO_DEVICE" : "CUDA_ERROR_UNKNOWN";
    return 0;
}

int cuGetErrorString(int code, const char **text) {
    switch (code) {
    case 100: *text = "no CUDA-capable device is detected"; break;
    case 802: *text = "system not yet initialized"; break;
    case 803: *text = "system has unsupported display driver / cuda driver combination"; break;
    case 804: *text = "forward compatibility was attempted on non supported HW"; break;
    default: *text = "unknown error";
    }
    return 0;
}

/* torch asks this one by its name: whether a context is there */
int cuDevicePrimaryCtxGetState(int device, unsigned *flags, int *active) {
    (void)device;
    *flags = 0, *active = 1;
    return 0;
}

static int unknown(void) { return 999; }

/* libcudart asks for every function by this one */
int cuGetProcAddress_v2(const char *name, void **function, int version, unsigned long flags, void *status) {
    (void)version, (void)flags, (void)status;
    if (!strcmp(name, "cuInit")) *function = (void *)cuInit;
    else if (!strcmp(name, "cuDriverGetVersion")) *function = (void *)cuDriverGetVersion;
    else if (!strcmp(name, "cuDeviceGetCount")) *function = (void *)cuDeviceGetCount;
    else if (!strcmp(name, "cuGetErrorString")) *function = (void *)cuGetErrorString;
    else if (!strcmp(name, "cuGetErrorName")) *function = (void *)cuGetErrorName;
    else if (!strncmp(name, "cuGetProcAddress", 16)) *function = (void *)cuGetProcAddress_v2;
    else *function = (void *)unknown;
    return 0;
}

int cuGetProcAddress(const char *name, void **function, int version, unsigned long flags) {
    return cuGetProcAddress_v2(name, function, version, flags, 0);
}
