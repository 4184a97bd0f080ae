/* A card for the real torch, by the functions of CUDA's runtime that torch calls: preloaded, they come before
 * libcudart's own, which keeps its texts and its list of kernels. Nothing is computed; memory is the host's.
 *   gcc -shared -fPIC -o libmimalloc.so libcudart.c     (the name of a library that may be preloaded)
 * FAKE_CUDART_COUNT (1), FAKE_CUDART_CAPABILITY ("8.0"), FAKE_CUDART_SUM (16, what the sum of the doctor's probe
 * shall be), FAKE_CUDART_MALLOC and FAKE_CUDART_LAUNCH: the error that allocating or launching gives, 0;
 * FAKE_CUDART_LAUNCH=crash ends the process. FAKE_CUDART_FULL: a file; while it is there, the memory is full.
 * FAKE_CUDART_INIT: the error that the question for the cards gives, 0.
 * Of FAKE_CUDART_COUNT cards, as many are seen as CUDA_VISIBLE_DEVICES names.
 */
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef int error_t_;
typedef void *any;

static int last;

static int setting(const char *name, int otherwise) {
    const char *text = getenv(name);
    return text ? atoi(text) : otherwise;
}

static error_t_ say(int error) {
    if (error) last = error;
    return error;
}

error_t_ cudaGetLastError(void) {
    int error = last;
    last = 0;
    return error;
}

error_t_ cudaPeekAtLastError(void) { return last; }

/* ---- the device */

static int visible(void) {
    int count = setting("FAKE_CUDART_COUNT", 1);
    const char *text = getenv("CUDA_VISIBLE_DEVICES");
    if (!text) return count;
    int named = *text && *text != '-';
    for (; *text; text++) named += *text == ',';
    return named < count ? named : count;
}

error_t_ cudaGetDeviceCount(int *count) {
    *count = visible();
    return say(setting("FAKE_CUDART_INIT", 0));
}

static _Thread_local int current;

error_t_ cudaGetDevice(int *device) {
    *device = current;
    return 0;
}

error_t_ cudaSetDevice(int device) {
    if (device < 0 || device >= visible()) return say(101);
    current = device;
    return 0;
}

static void capability(int *major, int *minor) {
    const char *text = getenv("FAKE_CUDART_CAPABILITY");
    if (!text || sscanf(text, "%d.%d", major, minor) != 2) *major = 8, *minor = 0;
}

/* cudaDeviceProp of CUDA 12: where its fields are */
error_t_ cudaGetDeviceProperties_v2(char *p, int device) {
    (void)device;
    memset(p, 0, 1032);
    strcpy(p, "NVIDIA A100-SXM4-40GB");
    *(size_t *)(p + 288) = (size_t)40 << 30; /* totalGlobalMem */
    *(size_t *)(p + 296) = 49152;            /* sharedMemPerBlock */
    *(int *)(p + 304) = 65536;               /* regsPerBlock */
    *(int *)(p + 308) = 32;                  /* warpSize */
    *(int *)(p + 320) = 1024;                /* maxThreadsPerBlock */
    for (int i = 0; i < 3; i++) {
        ((int *)(p + 324))[i] = i < 2 ? 1024 : 64;         /* maxThreadsDim */
        ((int *)(p + 336))[i] = i < 1 ? 2147483647 : 65535; /* maxGridSize */
    }
    capability((int *)(p + 360), (int *)(p + 364));
    *(int *)(p + 388) = 108;        /* multiProcessorCount */
    *(int *)(p + 584) = 1;          /* pciBusID, as the practice NVML has it */
    *(int *)(p + 604) = 1;          /* unifiedAddressing */
    *(int *)(p + 616) = 40 << 20;   /* l2CacheSize */
    *(int *)(p + 624) = 2048;       /* maxThreadsPerMultiProcessor */
    *(size_t *)(p + 640) = 167936;  /* sharedMemPerMultiprocessor */
    *(int *)(p + 648) = 65536;      /* regsPerMultiprocessor */
    return 0;
}

error_t_ cudaDeviceGetAttribute(int *value, int attribute, int device) {
    (void)device;
    int major, minor;
    capability(&major, &minor);
    switch (attribute) {
    case 1: *value = 1024; break;   /* maximum threads of a block */
    case 10: *value = 32; break;    /* threads of a warp */
    case 16: *value = 108; break;   /* multiprocessors */
    case 39: *value = 2048; break;  /* threads of a multiprocessor */
    case 75: *value = major; break;
    case 76: *value = minor; break;
    default: *value = 0;
    }
    return 0;
}

/* ---- memory */

error_t_ cudaMalloc(any *pointer, size_t size) {
    const char *full = getenv("FAKE_CUDART_FULL");
    int error = full && !access(full, F_OK) ? 2 : setting("FAKE_CUDART_MALLOC", 0);
    if (error) return say(error);
    *pointer = aligned_alloc(512, (size + 511) / 512 * 512);
    return *pointer ? 0 : say(2);
}

error_t_ cudaMemGetInfo(size_t *free_bytes, size_t *total) {
    *free_bytes = (size_t)39 << 30, *total = (size_t)40 << 30;
    return 0;
}

error_t_ cudaFree(any pointer) {
    free(pointer);
    return 0;
}

error_t_ cudaHostAlloc(any *pointer, size_t size, unsigned flags) {
    (void)flags;
    *pointer = aligned_alloc(512, (size + 511) / 512 * 512);
    return *pointer ? 0 : say(2);
}

error_t_ cudaFreeHost(any pointer) {
    free(pointer);
    return 0;
}

static error_t_ copy(any to, const void *from, size_t size, int kind) {
    memcpy(to, from, size);
    /* the only number that comes back is the sum */
    if (kind == 2 && size == 4) *(float *)to = (float)setting("FAKE_CUDART_SUM", 16);
    return 0;
}

error_t_ cudaMemcpyAsync(any to, const void *from, size_t size, int kind, any stream) {
    (void)stream;
    return copy(to, from, size, kind);
}

error_t_ cudaMemcpy(any to, const void *from, size_t size, int kind) { return copy(to, from, size, kind); }

error_t_ cudaMemsetAsync(any to, int value, size_t size, any stream) {
    (void)stream;
    memset(to, value, size);
    return 0;
}

/* cudaPointerAttributes: type 0 is memory that CUDA does not know */
error_t_ cudaPointerGetAttributes(any attributes, const void *pointer) {
    (void)pointer;
    memset(attributes, 0, 24);
    return 0;
}

/* ---- kernels */

static error_t_ launch(void) {
    const char *text = getenv("FAKE_CUDART_LAUNCH");
    if (text && !strcmp(text, "crash")) raise(SIGSEGV);
    return say(text ? atoi(text) : 0);
}

error_t_ cudaLaunchKernel(const void *f, long g0, int g1, long b0, int b1, any *arguments, size_t shared, any s) {
    (void)f, (void)g0, (void)g1, (void)b0, (void)b1, (void)arguments, (void)shared, (void)s;
    return launch();
}

error_t_ cudaLaunchKernelExC(const void *configuration, const void *f, any *arguments) {
    (void)configuration, (void)f, (void)arguments;
    return launch();
}

/* ---- what always goes well */

static int nothing(void) { return 0; }

/* torch asks for some of the driver's functions by name */
error_t_ cudaGetDriverEntryPoint(const char *name, any *function, unsigned long long flags, int *status) {
    (void)name, (void)flags;
    *function = (any)nothing;
    if (status) *status = 0;
    return 0;
}

error_t_ cudaGetDriverEntryPointByVersion(const char *name, any *function, unsigned version,
                                          unsigned long long flags, int *status) {
    (void)version;
    return cudaGetDriverEntryPoint(name, function, flags, status);
}

error_t_ cudaStreamIsCapturing(any stream, int *status) {
    (void)stream;
    *status = 0;
    return 0;
}

error_t_ cudaStreamGetCaptureInfo_v2(any stream, int *status) {
    (void)stream;
    *status = 0;
    return 0;
}

error_t_ cudaDeviceGetStreamPriorityRange(int *least, int *greatest) {
    *least = *greatest = 0;
    return 0;
}

error_t_ cudaDeviceCanAccessPeer(int *can, int one, int other) {
    (void)one, (void)other;
    *can = 0;
    return 0;
}

#define GIVES(name)                                                                                                  \
    error_t_ name(any *handle) {                                                                                     \
        *handle = (any)&last;                                                                                        \
        return 0;                                                                                                    \
    }
GIVES(cudaEventCreate)
GIVES(cudaEventCreateWithFlags)
GIVES(cudaStreamCreate)
GIVES(cudaStreamCreateWithFlags)
GIVES(cudaStreamCreateWithPriority)

#define WELL(name)                                                                                                   \
    error_t_ name(void) { return 0; }
WELL(cudaDeviceSynchronize)
WELL(cudaStreamSynchronize)
WELL(cudaStreamQuery)
WELL(cudaStreamWaitEvent)
WELL(cudaStreamDestroy)
WELL(cudaEventRecord)
WELL(cudaEventRecordWithFlags)
WELL(cudaEventQuery)
WELL(cudaEventSynchronize)
WELL(cudaEventDestroy)
WELL(cudaThreadExchangeStreamCaptureMode)
WELL(cudaHostRegister)
WELL(cudaHostUnregister)
