// A CUDA driver without a GPU: device memory is the host's, kernels do nothing, limits and errors are an H100's.
//
//   cc -O2 -fPIC -shared -I$CUDA_PATH/include -Wl,-soname,libcuda.so.1 -o libcuda.so.1 cuda.c
//   cc -O2 -fPIC -shared -I$CUDA_PATH/include -DFAKE_CUPTI -Wl,-soname,libcupti.so.13 -o libcupti.so.13 cuda.c
//   ln -s libcuda.so.1 libcuda.so; LD_LIBRARY_PATH=$PWD:$CUDA_PATH/lib isoflop ... --device cuda
//
// With the real NVRTC beside it the whole CUDA build runs. What that proves: the libraries are found, every kernel
// is transpiled, compiled for sm_90a and launched within the card's limits, copies stay inside their allocations,
// handles are used on the card that they belong to, a capture holds nothing it may not hold; and how many launches,
// copies and waits a step has and what a launch costs the host. What it cannot prove: any number that a kernel
// computes (memory starts as zeros and only copies and memsets change it), time on the device, registers, races.
// The signatures are those of cuda.h (CUDA 13), checked by the C compiler.
//
//   FAKECUDA_DEVICES=1            cards; CUDA_VISIBLE_DEVICES is followed
//   FAKECUDA_MEMORY_MIB=81559     memory of a card; beyond it error 2
//   FAKECUDA_KERNEL_NS=2000       what a kernel takes on its stream's clock; events read the clock, waits wait for it
//   FAKECUDA_FAIL_AFTER=n         after n kernels on card FAKECUDA_FAIL_CARD (0), every call there is error 700
//   FAKECUDA_ZERO_READS=n         what is read back in n bytes or fewer (losses, norms) is zeros, not leftovers
//   FAKECUDA_PTX=DIR              keeps the PTX of every module
//   FAKECUDA_LOG=FILE             appends counts at exit, a name and a value a line: totals, then each card's
//   FAKECUDA_VERBOSE=1            counts on stderr where there is no FAKECUDA_LOG, and the first failed calls
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// cuda.h then declares every version of a call under its own name.
#define __CUDA_API_VERSION_INTERNAL
#include <cuda.h>

// The first fields of CUPTI's record of a call.
typedef struct {
    int site;  // 0 at enter, 1 at exit
    const char *name;
    const void *params;
    void *result;
    const char *symbol;  // the kernel's name, of a launch
    CUcontext context;
    uint32_t context_uid;
    uint64_t *data;  // the same 8 bytes at enter and exit
    uint32_t id;
} Told;
typedef void (*Listener)(void *user, int domain, uint32_t call, const Told *told);

#ifdef FAKE_CUPTI
// ---------------------------------------------------------------------------------------------------------------
// libcupti: who listens is kept by libcuda, where the calls are.

enum { CUPTI_OK = 0, CUPTI_INVALID_PARAMETER = 1, CUPTI_NOT_INITIALIZED = 15, CUPTI_SECOND_SUBSCRIBER = 39 };

static void *driver(const char *name) {
    void *lib = dlopen("libcuda.so.1", RTLD_LAZY | RTLD_NOLOAD);
    if (!lib) lib = dlopen("libcuda.so.1", RTLD_LAZY);
    return lib ? dlsym(lib, name) : 0;
}

int cuptiSubscribe(void **subscriber, Listener listener, void *user) {
    if (!subscriber) return CUPTI_INVALID_PARAMETER;
    int (*listen)(Listener, void *) = driver("fakecuda_listen");
    if (!listen) return CUPTI_NOT_INITIALIZED;
    if (!listen(listener, user)) return CUPTI_SECOND_SUBSCRIBER;
    *subscriber = (void *)listen;
    return CUPTI_OK;
}
int cuptiUnsubscribe(void *subscriber) {
    if (!subscriber) return CUPTI_INVALID_PARAMETER;
    ((int (*)(Listener, void *))subscriber)(0, 0);
    return CUPTI_OK;
}
int cuptiEnableCallback(uint32_t on, void *subscriber, int domain, uint32_t call) {
    void (*tell)(int, uint32_t, int) = driver("fakecuda_tell");
    if (!subscriber || !tell || domain < 1 || domain > 6) return CUPTI_INVALID_PARAMETER;
    if (domain == 1) tell(on != 0, call, 0);
    return CUPTI_OK;
}
int cuptiEnableDomain(uint32_t on, void *subscriber, int domain) {
    void (*tell)(int, uint32_t, int) = driver("fakecuda_tell");
    if (!subscriber || !tell || domain < 1 || domain > 6) return CUPTI_INVALID_PARAMETER;
    if (domain == 1) tell(on != 0, 0, 1);
    return CUPTI_OK;
}
int cuptiEnableAllDomains(uint32_t on, void *subscriber) { return cuptiEnableDomain(on, subscriber, 1); }
int cuptiGetVersion(uint32_t *version) {
    if (!version) return CUPTI_INVALID_PARAMETER;
    *version = 130001;
    return CUPTI_OK;
}
int cuptiGetResultString(int result, const char **text) {
    if (!text) return CUPTI_INVALID_PARAMETER;
    switch (result) {
        case CUPTI_OK: *text = "CUPTI_SUCCESS"; break;
        case CUPTI_INVALID_PARAMETER: *text = "CUPTI_ERROR_INVALID_PARAMETER"; break;
        case CUPTI_NOT_INITIALIZED: *text = "CUPTI_ERROR_NOT_INITIALIZED"; break;
        case CUPTI_SECOND_SUBSCRIBER: *text = "CUPTI_ERROR_MULTIPLE_SUBSCRIBERS_NOT_SUPPORTED"; break;
        default: *text = "CUPTI_ERROR_UNKNOWN";
    }
    return CUPTI_OK;
}

#else
// ---------------------------------------------------------------------------------------------------------------
// libcuda

#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

// An H100 SXM5 80 GB.
enum {
    THREADS_A_BLOCK = 1024,
    SHARED_A_BLOCK = 48 << 10,
    SHARED_OPT_IN = 227 << 10,
    SHARED_AN_SM = 228 << 10,
    MULTIPROCESSORS = 132,
    CAPABILITY = 90,
    PTX_ISA = 90,
    DRIVER = 13000,
    MOST_CARDS = 16,
};

#define OK CUDA_SUCCESS
#define INVALID CUDA_ERROR_INVALID_VALUE
#define ADD(x, n) __atomic_fetch_add(&(x), (n), __ATOMIC_RELAXED)
#define GET(x) __atomic_load_n(&(x), __ATOMIC_RELAXED)
#define PUT(x, n) __atomic_store_n(&(x), (n), __ATOMIC_RELAXED)

// What is counted, for each card.
#define COUNTS(X) \
    X(launches) X(replays) X(replayed_nodes) X(captures) X(captured_nodes) X(instantiated) \
    X(htod) X(htod_bytes) X(dtoh) X(dtoh_bytes) X(dtod) X(dtod_bytes) X(memsets) \
    X(waits) X(queries) X(events) X(streams) \
    X(allocations) X(allocated_bytes) X(frees) X(peak_bytes) X(host_allocations) X(host_bytes) \
    X(modules) X(ptx_bytes) X(shared_raised) X(tensor_maps) X(failed_calls)
#define AS_ENUM(name) N_##name,
#define AS_TEXT(name) #name,
enum { COUNTS(AS_ENUM) N_ALL };
static const char *const count_names[] = {COUNTS(AS_TEXT)};

typedef struct Card Card;
typedef struct Capture Capture;
typedef struct Graph Graph;

typedef struct CUctx_st Context;
typedef struct CUstream_st Stream;
typedef struct CUevent_st Event;
typedef struct CUfunc_st Kernel;
typedef struct CUmod_st Module;
enum { STREAM = 0x5354524d, EVENT = 0x4556454e, KERNEL = 0x4b45524e };

struct CUstream_st {
    unsigned magic, flags;
    int priority;
    Context *context;
    uint64_t clock;  // when its last work ends [ns]
    Capture *capture;
};
struct CUevent_st {
    unsigned magic;
    int recorded;
    Context *context;
    uint64_t at;
    Capture *capture;
};
struct CUctx_st {
    Card *card;
    Stream legacy;
    unsigned peers;  // a bit for each card
    int primary;
};
struct Card {
    int number;       // as the process counts
    int physical;     // as the machine counts
    int retained, poisoned;
    uint64_t live, kernels, busy;
    uint64_t n[N_ALL];
    Context primary;
};
struct CUfunc_st {
    unsigned magic;
    Card *card;
    Module *module;
    char *name;
    int fixed;      // static shared memory
    int dynamic;    // how much a launch may add
    int threads;    // most in a block
    int cluster[3];
    Kernel *next;
};
struct CUmod_st {
    Card *card;
    Kernel *kernels;
    int checked;  // its kernels are known, because it came as PTX
};

// A node of a graph: a kernel, a copy, a memset or a call of the host.
typedef struct {
    CUgraphNodeType type;
    CUDA_MEMCPY2D copy;
    int value;
    CUhostFn call;
    void *data;
} Node;
struct Graph {
    Card *card;
    Node *nodes;
    size_t count, room, kernels;
};
struct Capture {
    CUstreamCaptureMode mode;
    pthread_t thread;
    Stream *origin;
    cuuint64_t id;
    int broken;
    Graph *graph;
    Capture *next;
};

static Card cards[MOST_CARDS];
static int card_count, started, verbose;
static uint64_t memory_of_a_card, kernel_ns, zero_reads, fail_after = UINT64_MAX, born;
static int fail_card;
static const char *ptx_dir;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static Capture *captures;
static int capture_count;
static __thread Context *current, *stack[16];
static __thread int depth;
static __thread CUstreamCaptureMode thread_mode = CU_STREAM_CAPTURE_MODE_GLOBAL;

static uint64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}
static uint64_t number(const char *name, uint64_t otherwise) {
    const char *text = getenv(name);
    return text && *text ? strtoull(text, 0, 10) : otherwise;
}

static void report(void) {
    const char *path = getenv("FAKECUDA_LOG");
    if (path && !*path) path = 0;
    if (!path && !verbose) return;
    char text[1 << 16];
    size_t n = 0;
    n += (size_t)snprintf(text, sizeof text, "process %d\nmilliseconds %lu\ncards %d\n", getpid(),
                          (unsigned long)((now() - born) / 1000000), card_count);
    for (int c = -1; c < card_count; c++)
        for (int i = 0; i < N_ALL; i++) {
            uint64_t sum = 0;
            for (int k = 0; k < card_count; k++)
                if (c < 0 || c == k) sum += GET(cards[k].n[i]);
            char card[16] = "";
            if (c >= 0) snprintf(card, sizeof card, "card%d_", c);
            n += (size_t)snprintf(text + n, sizeof text - n, "%s%s %lu\n", card, count_names[i], (unsigned long)sum);
        }
    // One write, so that processes that end together do not mix their lines.
    int file = path ? open(path, O_WRONLY | O_APPEND | O_CREAT, 0644) : 2;
    if (file < 0 || write(file, text, n) < 0) fprintf(stderr, "fakecuda: cannot write %s\n", path ? path : "stderr");
    if (path && file >= 0) close(file);
}

__attribute__((constructor)) static void begin(void) {
    born = now();
    verbose = getenv("FAKECUDA_VERBOSE") != 0;
    memory_of_a_card = number("FAKECUDA_MEMORY_MIB", 81559) << 20;
    kernel_ns = number("FAKECUDA_KERNEL_NS", 2000);
    fail_after = number("FAKECUDA_FAIL_AFTER", UINT64_MAX);
    fail_card = (int)number("FAKECUDA_FAIL_CARD", 0);
    zero_reads = number("FAKECUDA_ZERO_READS", 0);
    ptx_dir = getenv("FAKECUDA_PTX");
    int there = (int)number("FAKECUDA_DEVICES", 1);
    if (there > MOST_CARDS) there = MOST_CARDS;
    const char *visible = getenv("CUDA_VISIBLE_DEVICES");
    for (int i = 0; i < there; i++) {
        int physical = i;
        if (visible) {
            char *end;
            physical = (int)strtol(visible, &end, 10);
            if (end == visible || physical < 0 || physical >= there) break;
            visible = *end == ',' ? end + 1 : end;
        }
        Card *card = &cards[card_count];
        *card = (Card){.number = card_count, .physical = physical};
        card->primary = (Context){.card = card, .primary = 1};
        card->primary.legacy = (Stream){.magic = STREAM, .context = &card->primary};
        card_count++;
    }
    atexit(report);
}

// Callbacks ------------------------------------------------------------------------------------------------------

static Listener listener;
static void *listener_user;
static unsigned char listened[1024];
static int listening;  // the only thing that a call reads when nobody listens
static uint32_t call_ids;
static __thread int inside;

int fakecuda_listen(Listener who, void *user) {
    if (who && listener) return 0;
    PUT(listening, 0);
    memset(listened, 0, sizeof listened);
    listener_user = user;
    __atomic_store_n(&listener, who, __ATOMIC_RELEASE);
    return 1;
}
void fakecuda_tell(int on, uint32_t call, int all) {
    int any = 0;
    if (all) memset(listened, on, sizeof listened);
    else if (call < sizeof listened) listened[call] = (unsigned char)on;
    for (size_t i = 0; i < sizeof listened; i++) any |= listened[i];
    PUT(listening, any);
}

typedef struct {
    Told told;
    uint64_t data;
    uint32_t call;
    int on;
} Call;

static void enter(Call *c, uint32_t call, const char *name, const void *params, const char *symbol) {
    Context *context = current;
    c->on = !inside && listener && listened[call];
    if (!c->on) return;
    c->call = call;
    c->data = 0;
    c->told = (Told){.name = name, .params = params, .symbol = symbol, .context = context, .data = &c->data};
    c->told.context_uid = context ? (uint32_t)context->card->number + 1 : 0;
    c->told.id = ADD(call_ids, 1) + 1;
    inside = 1;
    listener(listener_user, 1, call, &c->told);
    inside = 0;
}
static void leave(Call *c, CUresult result) {
    Listener who = listener;
    if (!c->on || !who) return;
    c->told.site = 1;
    c->told.result = &result;
    inside = 1;
    who(listener_user, 1, c->call, &c->told);
    inside = 0;
}
static CUresult failed(CUresult result, const char *name) {
    if (result == CUDA_ERROR_NOT_READY) return result;
    ADD((current ? current->card : &cards[0])->n[N_failed_calls], 1);
    static int told;
    if (verbose && ADD(told, 1) < 40) fprintf(stderr, "fakecuda: %s -> %d\n", name, (int)result);
    return result;
}
static const char *symbol_of(const char *name, const void *params) {
    if (strncmp(name, "cuLaunch", 8) || !strcmp(name, "cuLaunchHostFunc")) return 0;
    Kernel *kernel = ((Kernel *const *)params)[!strcmp(name, "cuLaunchKernelEx")];
    return kernel && kernel->magic == KERNEL ? kernel->name : 0;
}

// Every entry point is written API(CUPTI's number, name, (parameters), arguments ...) { body }: it runs the body and,
// where somebody listens, tells them before and after, with a struct of the arguments.
#define PICK(_1, _2, _3, _4, _5, _6, _7, _8, _9, _10, _11, _12, _13, _14, _15, _16, it, ...) it
#define EACH(...) PICK(__VA_ARGS__, F16, F15, F14, F13, F12, F11, F10, F9, F8, F7, F6, F5, F4, F3, F2, F1)(__VA_ARGS__)
#define F1(x) __typeof__(x) x;
#define F2(x, ...) F1(x) F1(__VA_ARGS__)
#define F3(x, ...) F1(x) F2(__VA_ARGS__)
#define F4(x, ...) F1(x) F3(__VA_ARGS__)
#define F5(x, ...) F1(x) F4(__VA_ARGS__)
#define F6(x, ...) F1(x) F5(__VA_ARGS__)
#define F7(x, ...) F1(x) F6(__VA_ARGS__)
#define F8(x, ...) F1(x) F7(__VA_ARGS__)
#define F9(x, ...) F1(x) F8(__VA_ARGS__)
#define F10(x, ...) F1(x) F9(__VA_ARGS__)
#define F11(x, ...) F1(x) F10(__VA_ARGS__)
#define F12(x, ...) F1(x) F11(__VA_ARGS__)
#define F13(x, ...) F1(x) F12(__VA_ARGS__)
#define F14(x, ...) F1(x) F13(__VA_ARGS__)
#define F15(x, ...) F1(x) F14(__VA_ARGS__)
#define F16(x, ...) F1(x) F15(__VA_ARGS__)
#define API(id, name, parameters, ...) \
    static CUresult do_##name parameters; \
    CUresult CUDAAPI name parameters { \
        CUresult result_; \
        if (__builtin_expect(GET(listening), 0)) { \
            struct { EACH(__VA_ARGS__) } params_ = {__VA_ARGS__}; \
            Call call_; \
            enter(&call_, id, #name, &params_, symbol_of(#name, &params_)); \
            result_ = do_##name(__VA_ARGS__); \
            leave(&call_, result_); \
        } else { \
            result_ = do_##name(__VA_ARGS__); \
        } \
        return __builtin_expect(result_ != OK, 0) ? failed(result_, #name) : OK; \
    } \
    static CUresult do_##name parameters
#define API0(id, name) \
    static CUresult do_##name(void); \
    CUresult CUDAAPI name(void) { \
        Call call = {.on = 0}; \
        if (__builtin_expect(GET(listening), 0)) enter(&call, id, #name, 0, 0); \
        CUresult result = do_##name(); \
        if (call.on) leave(&call, result); \
        return result ? failed(result, #name) : OK; \
    } \
    static CUresult do_##name(void)

#define TRY(x) \
    do { \
        CUresult tried = (x); \
        if (tried) return tried; \
    } while (0)

// Cards, contexts ------------------------------------------------------------------------------------------------

static CUresult alive(Card *card) { return GET(card->poisoned) ? CUDA_ERROR_ILLEGAL_ADDRESS : OK; }

// The card of the thread's context.
static CUresult here(Card **card) {
    if (!started) return CUDA_ERROR_NOT_INITIALIZED;
    if (!current) return CUDA_ERROR_INVALID_CONTEXT;
    *card = current->card;
    return alive(*card);
}
static CUresult device(CUdevice d, Card **card) {
    if (!started) return CUDA_ERROR_NOT_INITIALIZED;
    if (d < 0 || d >= card_count) return CUDA_ERROR_INVALID_DEVICE;
    *card = &cards[d];
    return OK;
}

API(1, cuInit, (unsigned int flags), flags) {
    if (flags) return INVALID;
    if (!card_count) return CUDA_ERROR_NO_DEVICE;
    started = 1;
    return OK;
}
API(2, cuDriverGetVersion, (int *version), version) {
    if (!version) return INVALID;
    *version = DRIVER;
    return OK;
}
API(4, cuDeviceGetCount, (int *count), count) {
    if (!started) return CUDA_ERROR_NOT_INITIALIZED;
    if (!count) return INVALID;
    *count = card_count;
    return OK;
}
API(3, cuDeviceGet, (CUdevice *out, int ordinal), out, ordinal) {
    Card *card;
    TRY(device(ordinal, &card));
    *out = ordinal;
    return OK;
}
API(5, cuDeviceGetName, (char *name, int room, CUdevice d), name, room, d) {
    Card *card;
    TRY(device(d, &card));
    snprintf(name, (size_t)room, "NVIDIA H100 80GB HBM3");
    return OK;
}
static CUresult uuid(CUuuid *out, CUdevice d) {
    Card *card;
    TRY(device(d, &card));
    memset(out->bytes, 0xfa, sizeof out->bytes);
    out->bytes[15] = (char)card->physical;
    return OK;
}
API(482, cuDeviceGetUuid, (CUuuid *out, CUdevice d), out, d) { return uuid(out, d); }
API(647, cuDeviceGetUuid_v2, (CUuuid *out, CUdevice d), out, d) { return uuid(out, d); }
API(332, cuDeviceGetPCIBusId, (char *text, int room, CUdevice d), text, room, d) {
    Card *card;
    TRY(device(d, &card));
    snprintf(text, (size_t)room, "0000:%02X:00.0", 0x18 + card->physical);
    return OK;
}
API(259, cuDeviceTotalMem_v2, (size_t *bytes, CUdevice d), bytes, d) {
    Card *card;
    TRY(device(d, &card));
    *bytes = memory_of_a_card;
    return OK;
}
API(9, cuDeviceGetAttribute, (int *value, CUdevice_attribute a, CUdevice d), value, a, d) {
    Card *card;
    TRY(device(d, &card));
    if (!value || a < 1 || a >= CU_DEVICE_ATTRIBUTE_MAX) return INVALID;
    switch (a) {
        case CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK: *value = THREADS_A_BLOCK; break;
        case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_X:
        case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Y: *value = 1024; break;
        case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Z: *value = 64; break;
        case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X: *value = 2147483647; break;
        case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Y:
        case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Z: *value = 65535; break;
        case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK: *value = SHARED_A_BLOCK; break;
        case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN: *value = SHARED_OPT_IN; break;
        case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR: *value = SHARED_AN_SM; break;
        case CU_DEVICE_ATTRIBUTE_RESERVED_SHARED_MEMORY_PER_BLOCK: *value = 1024; break;
        case CU_DEVICE_ATTRIBUTE_TOTAL_CONSTANT_MEMORY: *value = 65536; break;
        case CU_DEVICE_ATTRIBUTE_WARP_SIZE: *value = 32; break;
        case CU_DEVICE_ATTRIBUTE_MAX_PITCH: *value = 2147483647; break;
        case CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_BLOCK:
        case CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_MULTIPROCESSOR: *value = 65536; break;
        case CU_DEVICE_ATTRIBUTE_CLOCK_RATE: *value = 1980000; break;
        case CU_DEVICE_ATTRIBUTE_TEXTURE_ALIGNMENT:
        case CU_DEVICE_ATTRIBUTE_SURFACE_ALIGNMENT: *value = 512; break;
        case CU_DEVICE_ATTRIBUTE_TEXTURE_PITCH_ALIGNMENT: *value = 32; break;
        case CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT: *value = MULTIPROCESSORS; break;
        case CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR: *value = 2048; break;
        case CU_DEVICE_ATTRIBUTE_MAX_BLOCKS_PER_MULTIPROCESSOR: *value = 32; break;
        case CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE: *value = 2619000; break;
        case CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH: *value = 5120; break;
        case CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE: *value = 52428800; break;
        case CU_DEVICE_ATTRIBUTE_ASYNC_ENGINE_COUNT: *value = 3; break;
        case CU_DEVICE_ATTRIBUTE_PCI_BUS_ID: *value = 0x18 + card->physical; break;
        case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR: *value = CAPABILITY / 10; break;
        case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR: *value = CAPABILITY % 10; break;
        case CU_DEVICE_ATTRIBUTE_SINGLE_TO_DOUBLE_PRECISION_PERF_RATIO: *value = 2; break;
        case CU_DEVICE_ATTRIBUTE_GPU_OVERLAP:
        case CU_DEVICE_ATTRIBUTE_CAN_MAP_HOST_MEMORY:
        case CU_DEVICE_ATTRIBUTE_CONCURRENT_KERNELS:
        case CU_DEVICE_ATTRIBUTE_ECC_ENABLED:
        case CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING:
        case CU_DEVICE_ATTRIBUTE_STREAM_PRIORITIES_SUPPORTED:
        case CU_DEVICE_ATTRIBUTE_GLOBAL_L1_CACHE_SUPPORTED:
        case CU_DEVICE_ATTRIBUTE_LOCAL_L1_CACHE_SUPPORTED:
        case CU_DEVICE_ATTRIBUTE_MANAGED_MEMORY:
        case CU_DEVICE_ATTRIBUTE_CONCURRENT_MANAGED_ACCESS:
        case CU_DEVICE_ATTRIBUTE_COMPUTE_PREEMPTION_SUPPORTED:
        case CU_DEVICE_ATTRIBUTE_COOPERATIVE_LAUNCH:
        case CU_DEVICE_ATTRIBUTE_HOST_REGISTER_SUPPORTED:
        case CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED:
        case CU_DEVICE_ATTRIBUTE_CLUSTER_LAUNCH:
        case CU_DEVICE_ATTRIBUTE_TENSOR_MAP_ACCESS_SUPPORTED: *value = 1; break;
        default: *value = 0;
    }
    return OK;
}

API(386, cuDevicePrimaryCtxRetain, (CUcontext *out, CUdevice d), out, d) {
    Card *card;
    TRY(device(d, &card));
    ADD(card->retained, 1);
    *out = &card->primary;
    return OK;
}
static CUresult release(CUdevice d) {
    Card *card;
    TRY(device(d, &card));
    if (GET(card->retained) <= 0) return CUDA_ERROR_INVALID_CONTEXT;
    ADD(card->retained, -1);
    return OK;
}
API(544, cuDevicePrimaryCtxRelease_v2, (CUdevice d), d) { return release(d); }
static CUresult create(CUcontext *out, CUdevice d) {
    Card *card;
    TRY(device(d, &card));
    TRY(alive(card));
    Context *context = calloc(1, sizeof *context);
    context->card = card;
    context->legacy = (Stream){.magic = STREAM, .context = context};
    if (depth < 16) stack[depth++] = current;
    *out = current = context;
    return OK;
}
API(235, cuCtxCreate_v2, (CUcontext *out, unsigned int flags, CUdevice d), out, flags, d) { return create(out, d); }
API(322, cuCtxDestroy_v2, (CUcontext context), context) {
    if (!context || context->primary) return CUDA_ERROR_INVALID_CONTEXT;
    if (current == context) current = depth ? stack[--depth] : 0;
    return OK;  // kept, because streams of it may still be named
}
API(303, cuCtxSetCurrent, (CUcontext context), context) {
    if (!started) return CUDA_ERROR_NOT_INITIALIZED;
    current = context;
    return OK;
}
API(304, cuCtxGetCurrent, (CUcontext *out), out) {
    if (!started) return CUDA_ERROR_NOT_INITIALIZED;
    *out = current;
    return OK;
}
API(323, cuCtxPushCurrent_v2, (CUcontext context), context) {
    if (!context || depth >= 16) return CUDA_ERROR_INVALID_CONTEXT;
    stack[depth++] = current;
    current = context;
    return OK;
}
API(324, cuCtxPopCurrent_v2, (CUcontext *out), out) {
    if (!current) return CUDA_ERROR_INVALID_CONTEXT;
    if (out) *out = current;
    current = depth ? stack[--depth] : 0;
    return OK;
}
API(16, cuCtxGetDevice, (CUdevice *out), out) {
    if (!started) return CUDA_ERROR_NOT_INITIALIZED;
    if (!current) return CUDA_ERROR_INVALID_CONTEXT;
    *out = current->card->number;
    return OK;
}
API(370, cuCtxGetStreamPriorityRange, (int *least, int *greatest), least, greatest) {
    Card *card;
    TRY(here(&card));
    if (least) *least = 0;
    if (greatest) *greatest = -5;
    return OK;
}

// Cards see each other, as by NVLink, once a context asks for it.
API(312, cuDeviceCanAccessPeer, (int *can, CUdevice d, CUdevice other), can, d, other) {
    Card *a, *b;
    TRY(device(d, &a));
    TRY(device(other, &b));
    *can = a != b;
    return OK;
}
API(454, cuDeviceGetP2PAttribute, (int *value, CUdevice_P2PAttribute attribute, CUdevice d, CUdevice other), value,
    attribute, d, other) {
    Card *a, *b;
    TRY(device(d, &a));
    TRY(device(other, &b));
    if (a == b) return CUDA_ERROR_INVALID_DEVICE;
    *value = attribute != CU_DEVICE_P2P_ATTRIBUTE_PERFORMANCE_RANK;
    return OK;
}
API(313, cuCtxEnablePeerAccess, (CUcontext other, unsigned int flags), other, flags) {
    Card *card;
    TRY(here(&card));
    if (!other || flags) return INVALID;
    if (other->card == card) return CUDA_ERROR_INVALID_DEVICE;
    unsigned bit = 1u << other->card->number;
    return __atomic_fetch_or(&current->peers, bit, __ATOMIC_RELAXED) & bit ? CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED : OK;
}
API(314, cuCtxDisablePeerAccess, (CUcontext other), other) {
    Card *card;
    TRY(here(&card));
    if (!other) return INVALID;
    unsigned bit = 1u << other->card->number;
    return __atomic_fetch_and(&current->peers, ~bit, __ATOMIC_RELAXED) & bit ? OK : CUDA_ERROR_PEER_ACCESS_NOT_ENABLED;
}

// Captures -------------------------------------------------------------------------------------------------------

// What could disturb a capture is refused with 900 and breaks the capture: on any thread while a global one is open,
// on the capturing thread unless it is relaxed (the rules of cuThreadExchangeStreamCaptureMode).
static CUresult quiet(void) {
    if (!GET(capture_count) || thread_mode == CU_STREAM_CAPTURE_MODE_RELAXED) return OK;
    CUresult result = OK;
    pthread_mutex_lock(&lock);
    for (Capture *c = captures; c; c = c->next) {
        int mine = pthread_equal(c->thread, pthread_self()) && c->mode != CU_STREAM_CAPTURE_MODE_RELAXED;
        int everyones = c->mode == CU_STREAM_CAPTURE_MODE_GLOBAL && thread_mode == CU_STREAM_CAPTURE_MODE_GLOBAL;
        if (mine || everyones) {
            c->broken = 1;
            result = CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
        }
    }
    pthread_mutex_unlock(&lock);
    return result;
}
static CUresult record(Capture *c, Node node) {
    pthread_mutex_lock(&lock);
    Graph *g = c->graph;
    if (g->count == g->room) {
        g->room = g->room ? 2 * g->room : 64;
        g->nodes = realloc(g->nodes, g->room * sizeof *g->nodes);
    }
    g->nodes[g->count++] = node;
    g->kernels += node.type == CU_GRAPH_NODE_TYPE_KERNEL;
    CUresult result = c->broken ? CUDA_ERROR_STREAM_CAPTURE_INVALIDATED : OK;
    pthread_mutex_unlock(&lock);
    if (result == OK) ADD(g->card->n[N_captured_nodes], 1);
    return result;
}

// Streams, events ------------------------------------------------------------------------------------------------

// A handle's stream and the card that it is on. The null stream is the current context's.
static CUresult stream_of(CUstream handle, Stream **stream, Card **card) {
    if (!started) return CUDA_ERROR_NOT_INITIALIZED;
    if (handle == 0 || handle == CU_STREAM_LEGACY || handle == CU_STREAM_PER_THREAD) {
        TRY(here(card));
        *stream = &current->legacy;
        // A capturing stream that waits for the null stream must not see it used.
        if (GET(capture_count)) {
            CUresult result = OK;
            pthread_mutex_lock(&lock);
            for (Capture *c = captures; c; c = c->next)
                if (c->origin->context == current && !(c->origin->flags & CU_STREAM_NON_BLOCKING)) {
                    c->broken = 1;
                    result = CUDA_ERROR_STREAM_CAPTURE_IMPLICIT;
                }
            pthread_mutex_unlock(&lock);
            return result;
        }
        return OK;
    }
    if (handle->magic != STREAM) return CUDA_ERROR_INVALID_HANDLE;
    *stream = handle;
    *card = handle->context->card;
    return alive(*card);
}
static void work(Stream *s, Card *card, uint64_t ns) {
    uint64_t end = now(), before = GET(s->clock);
    if (before > end) end = before;
    end += ns;
    PUT(s->clock, end);
    if (end > GET(card->busy)) PUT(card->busy, end);
}
static void wait_until(uint64_t end) {
    for (uint64_t t; (t = now()) < end;)
        if (end - t > 100000) {
            uint64_t left = end - t - 60000;
            nanosleep(&(struct timespec){(time_t)(left / 1000000000u), (long)(left % 1000000000u)}, 0);
        }
}

static CUresult stream_new(CUstream *out, unsigned flags, int priority) {
    Card *card;
    TRY(here(&card));
    if (!out || flags > CU_STREAM_NON_BLOCKING) return INVALID;
    *out = malloc(sizeof **out);
    **out = (Stream){.magic = STREAM, .flags = flags, .priority = priority, .context = current};
    ADD(card->n[N_streams], 1);
    return OK;
}
API(124, cuStreamCreate, (CUstream *out, unsigned int flags), out, flags) { return stream_new(out, flags, 0); }
API(367, cuStreamCreateWithPriority, (CUstream *out, unsigned int flags, int priority), out, flags, priority) {
    return stream_new(out, flags, priority > 0 ? 0 : priority < -5 ? -5 : priority);
}
API(326, cuStreamDestroy_v2, (CUstream s), s) {
    Card *card;
    TRY(stream_of(s, &s, &card));
    if (s == &s->context->legacy) return CUDA_ERROR_INVALID_HANDLE;
    s->magic = 0;
    free(s);
    return OK;
}
API(126, cuStreamSynchronize, (CUstream s), s) {
    Card *card;
    TRY(stream_of(s, &s, &card));
    ADD(card->n[N_waits], 1);
    if (s->capture) {
        s->capture->broken = 1;
        return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    }
    wait_until(GET(s->clock));
    return alive(card);
}
API(125, cuStreamQuery, (CUstream s), s) {
    Card *card;
    TRY(stream_of(s, &s, &card));
    ADD(card->n[N_queries], 1);
    if (s->capture) {
        s->capture->broken = 1;
        return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    }
    TRY(quiet());
    return GET(s->clock) > now() ? CUDA_ERROR_NOT_READY : OK;
}
API(483, cuStreamGetCtx, (CUstream s, CUcontext *out), s, out) {
    Card *card;
    TRY(stream_of(s, &s, &card));
    *out = s->context;
    return OK;
}

API(118, cuEventCreate, (CUevent *out, unsigned int flags), out, flags) {
    Card *card;
    TRY(here(&card));
    *out = malloc(sizeof **out);
    **out = (Event){.magic = EVENT, .context = current};
    ADD(card->n[N_events], 1);
    (void)flags;
    return OK;
}
static CUresult event_of(CUevent e, Card **card) {
    if (!e || e->magic != EVENT) return CUDA_ERROR_INVALID_HANDLE;
    *card = e->context->card;
    return alive(*card);
}
API(325, cuEventDestroy_v2, (CUevent e), e) {
    Card *card;
    CUresult result = event_of(e, &card);
    if (result == CUDA_ERROR_INVALID_HANDLE) return result;
    e->magic = 0;
    free(e);
    return result;
}
API(119, cuEventRecord, (CUevent e, CUstream s), e, s) {
    Card *card, *other;
    TRY(event_of(e, &other));
    TRY(stream_of(s, &s, &card));
    if (e->context != s->context) return CUDA_ERROR_INVALID_HANDLE;
    e->recorded = 1;
    e->capture = s->capture;
    if (s->capture) return s->capture->broken ? CUDA_ERROR_STREAM_CAPTURE_INVALIDATED : OK;
    uint64_t n = now(), clock = GET(s->clock);
    PUT(e->at, clock > n ? clock : n);
    return OK;
}
API(120, cuEventQuery, (CUevent e), e) {
    Card *card;
    TRY(event_of(e, &card));
    ADD(card->n[N_queries], 1);
    if (e->capture) return CUDA_ERROR_CAPTURED_EVENT;
    TRY(quiet());
    return e->recorded && GET(e->at) > now() ? CUDA_ERROR_NOT_READY : OK;
}
API(121, cuEventSynchronize, (CUevent e), e) {
    Card *card;
    TRY(event_of(e, &card));
    ADD(card->n[N_waits], 1);
    if (e->capture) return CUDA_ERROR_CAPTURED_EVENT;
    if (e->recorded) wait_until(GET(e->at));
    return alive(card);
}
static CUresult elapsed(float *ms, CUevent a, CUevent b) {
    Card *card, *other;
    TRY(event_of(a, &card));
    TRY(event_of(b, &other));
    if (a->context != b->context || !a->recorded || !b->recorded) return CUDA_ERROR_INVALID_HANDLE;
    if (a->capture || b->capture) return CUDA_ERROR_CAPTURED_EVENT;
    uint64_t n = now();
    if (GET(a->at) > n || GET(b->at) > n) return CUDA_ERROR_NOT_READY;
    *ms = (float)(1e-6 * ((double)GET(b->at) - (double)GET(a->at)));
    return OK;
}
API(123, cuEventElapsedTime, (float *ms, CUevent a, CUevent b), ms, a, b) { return elapsed(ms, a, b); }
API(780, cuEventElapsedTime_v2, (float *ms, CUevent a, CUevent b), ms, a, b) { return elapsed(ms, a, b); }
API(295, cuStreamWaitEvent, (CUstream s, CUevent e, unsigned int flags), s, e, flags) {
    Card *card, *other;
    TRY(event_of(e, &other));
    TRY(stream_of(s, &s, &card));
    (void)flags;
    if (e->capture) {
        // A stream that waits for a captured event joins the capture until it ends.
        if (s->capture && s->capture != e->capture) return CUDA_ERROR_STREAM_CAPTURE_MERGE;
        s->capture = e->capture;
        return OK;
    }
    if (s->capture) {
        s->capture->broken = 1;
        return CUDA_ERROR_STREAM_CAPTURE_ISOLATION;
    }
    if (e->recorded && GET(e->at) > GET(s->clock)) PUT(s->clock, GET(e->at));
    return OK;
}
API0(17, cuCtxSynchronize) {
    Card *card;
    TRY(here(&card));
    ADD(card->n[N_waits], 1);
    TRY(quiet());
    wait_until(GET(card->busy));
    return alive(card);
}

// Memory ---------------------------------------------------------------------------------------------------------

typedef struct {
    uintptr_t start;
    size_t bytes;
    Card *card;
} Span;
static Span *spans;  // sorted
static size_t span_count, span_room;

static size_t after(uintptr_t p) {  // the first span that starts behind p
    size_t a = 0, b = span_count;
    while (a < b) {
        size_t m = (a + b) / 2;
        if (spans[m].start <= p) a = m + 1;
        else b = m;
    }
    return a;
}
// Is all of this inside one allocation?
static CUresult within(CUdeviceptr p, size_t n) {
    pthread_mutex_lock(&lock);
    size_t i = after((uintptr_t)p);
    int in = i > 0 && p - spans[i - 1].start <= spans[i - 1].bytes && n <= spans[i - 1].bytes - (p - spans[i - 1].start);
    pthread_mutex_unlock(&lock);
    return in || !n ? OK : INVALID;
}
// Address space is reserved and pages come as they are touched: a pool of 20 GB costs nothing until it is written.
enum { LARGE = 1 << 20 };
static CUresult take(Card *card, CUdeviceptr *out, size_t n) {
    if (!out || !n) return INVALID;
    size_t bytes = (n + 511) / 512 * 512;
    uint64_t live = ADD(card->live, bytes) + bytes;
    void *p = 0;
    if (live <= memory_of_a_card) {
        p = bytes < LARGE ? aligned_alloc(512, bytes)
                          : mmap(0, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (p == MAP_FAILED) p = 0;
        if (p && bytes < LARGE) memset(p, 0, bytes);
    }
    if (!p) {
        ADD(card->live, -bytes);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    for (uint64_t peak = GET(card->n[N_peak_bytes]); peak < live;)
        if (__atomic_compare_exchange_n(&card->n[N_peak_bytes], &peak, live, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) break;
    ADD(card->n[N_allocations], 1);
    ADD(card->n[N_allocated_bytes], bytes);
    pthread_mutex_lock(&lock);
    if (span_count == span_room) {
        span_room = span_room ? 2 * span_room : 256;
        spans = realloc(spans, span_room * sizeof *spans);
    }
    size_t i = after((uintptr_t)p);
    memmove(spans + i + 1, spans + i, (span_count - i) * sizeof *spans);
    spans[i] = (Span){(uintptr_t)p, bytes, card};
    span_count++;
    pthread_mutex_unlock(&lock);
    *out = (CUdeviceptr)p;
    return OK;
}
static CUresult give(CUdeviceptr p) {
    if (!p) return OK;
    pthread_mutex_lock(&lock);
    size_t i = after((uintptr_t)p);
    if (!i || spans[i - 1].start != p) {
        pthread_mutex_unlock(&lock);
        return INVALID;
    }
    Span s = spans[i - 1];
    memmove(spans + i - 1, spans + i, (span_count - i) * sizeof *spans);
    span_count--;
    pthread_mutex_unlock(&lock);
    ADD(s.card->live, -s.bytes);
    ADD(s.card->n[N_frees], 1);
    if (s.bytes < LARGE) free((void *)s.start);
    else munmap((void *)s.start, s.bytes);
    return OK;
}

API(242, cuMemGetInfo_v2, (size_t *free_bytes, size_t *total), free_bytes, total) {
    Card *card;
    TRY(here(&card));
    *total = memory_of_a_card;
    *free_bytes = memory_of_a_card - GET(card->live);
    return OK;
}
API(243, cuMemAlloc_v2, (CUdeviceptr *out, size_t n), out, n) {
    Card *card;
    TRY(here(&card));
    TRY(quiet());
    return take(card, out, n);
}
API(245, cuMemFree_v2, (CUdeviceptr p), p) {
    Card *card;
    TRY(here(&card));
    TRY(quiet());
    wait_until(GET(card->busy));  // the real one waits for the card
    return give(p);
}
// In a capture an asynchronous allocation is a node of the graph, as on the card.
static CUresult take_async(CUdeviceptr *out, size_t n, CUstream s) {
    Card *card;
    TRY(stream_of(s, &s, &card));
    if (s->capture) TRY(record(s->capture, (Node){.type = CU_GRAPH_NODE_TYPE_MEM_ALLOC}));
    return take(card, out, n);
}
API(598, cuMemAllocAsync, (CUdeviceptr *out, size_t n, CUstream s), out, n, s) { return take_async(out, n, s); }
API(600, cuMemFreeAsync, (CUdeviceptr p, CUstream s), p, s) {
    Card *card;
    TRY(stream_of(s, &s, &card));
    if (s->capture) return record(s->capture, (Node){.type = CU_GRAPH_NODE_TYPE_MEM_FREE});
    return give(p);
}
API(310, cuPointerGetAttribute, (void *data, CUpointer_attribute attribute, CUdeviceptr p), data, attribute, p) {
    TRY(within(p, 1));
    pthread_mutex_lock(&lock);
    Span s = spans[after((uintptr_t)p) - 1];
    pthread_mutex_unlock(&lock);
    switch (attribute) {
        case CU_POINTER_ATTRIBUTE_CONTEXT: *(CUcontext *)data = &s.card->primary; return OK;
        case CU_POINTER_ATTRIBUTE_MEMORY_TYPE: *(unsigned *)data = CU_MEMORYTYPE_DEVICE; return OK;
        case CU_POINTER_ATTRIBUTE_DEVICE_POINTER: *(CUdeviceptr *)data = p; return OK;
        case CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL: *(int *)data = s.card->number; return OK;
        default: return CUDA_ERROR_NOT_SUPPORTED;
    }
}

// Pools exist in name: a card has one.
static CUresult pool(CUmemoryPool *out, CUdevice d) {
    Card *card;
    TRY(device(d, &card));
    *out = (CUmemoryPool)card;
    return OK;
}
API(606, cuDeviceGetDefaultMemPool, (CUmemoryPool *out, CUdevice d), out, d) { return pool(out, d); }
API(610, cuDeviceGetMemPool, (CUmemoryPool *out, CUdevice d), out, d) { return pool(out, d); }
API(609, cuDeviceSetMemPool, (CUdevice d, CUmemoryPool p), d, p) { return pool(&p, d); }
API(603, cuMemPoolSetAttribute, (CUmemoryPool p, CUmemPool_attribute a, void *value), p, a, value) { return OK; }
API(604, cuMemPoolGetAttribute, (CUmemoryPool p, CUmemPool_attribute a, void *value), p, a, value) {
    memset(value, 0, a <= CU_MEMPOOL_ATTR_REUSE_ALLOW_INTERNAL_DEPENDENCIES ? 4 : 8);
    return OK;
}

static CUresult host(void **out, size_t n) {
    Card *card;
    TRY(here(&card));
    TRY(quiet());
    if (!out || !n) return INVALID;
    *out = aligned_alloc(4096, (n + 4095) / 4096 * 4096);
    if (!*out) return CUDA_ERROR_OUT_OF_MEMORY;
    ADD(card->n[N_host_allocations], 1);
    ADD(card->n[N_host_bytes], n);
    return OK;
}
API(294, cuMemAllocHost_v2, (void **out, size_t n), out, n) { return host(out, n); }
API(39, cuMemHostAlloc, (void **out, size_t n, unsigned int flags), out, n, flags) { return host(out, n); }
API(38, cuMemFreeHost, (void *p), p) {
    Card *card;
    TRY(here(&card));
    TRY(quiet());
    free(p);
    return OK;
}

// Every copy is one of rows; a plain one has a single row.
static CUresult end_of(CUmemorytype type, CUdeviceptr dev, const void *mem, size_t x, size_t y, size_t pitch,
                       const CUDA_MEMCPY2D *c, char **out) {
    if (type != CU_MEMORYTYPE_HOST && type != CU_MEMORYTYPE_DEVICE && type != CU_MEMORYTYPE_UNIFIED) return INVALID;
    if (c->Height > 1 && pitch < x + c->WidthInBytes) return INVALID;
    size_t begin = y * pitch + x, bytes = c->WidthInBytes + (c->Height - 1) * pitch;
    *out = (type == CU_MEMORYTYPE_HOST ? (char *)mem : (char *)dev) + begin;
    return type == CU_MEMORYTYPE_DEVICE ? within(dev + begin, bytes) : OK;
}
static CUresult run_copy(const CUDA_MEMCPY2D *c, Card *card) {
    char *from, *to;
    if (!c->WidthInBytes || !c->Height) return OK;
    TRY(end_of(c->srcMemoryType, c->srcDevice, c->srcHost, c->srcXInBytes, c->srcY, c->srcPitch, c, &from));
    TRY(end_of(c->dstMemoryType, c->dstDevice, c->dstHost, c->dstXInBytes, c->dstY, c->dstPitch, c, &to));
    int zero = c->dstMemoryType == CU_MEMORYTYPE_HOST && c->WidthInBytes * c->Height <= zero_reads;
    for (size_t y = 0; y < c->Height; y++)
        if (zero) memset(to + y * c->dstPitch, 0, c->WidthInBytes);
        else memmove(to + y * c->dstPitch, from + y * c->srcPitch, c->WidthInBytes);
    int i = c->srcMemoryType == CU_MEMORYTYPE_HOST ? N_htod : c->dstMemoryType == CU_MEMORYTYPE_HOST ? N_dtoh : N_dtod;
    ADD(card->n[i], 1);
    ADD(card->n[i + 1], c->WidthInBytes * c->Height);
    return OK;
}
static CUresult copy_rows(const CUDA_MEMCPY2D *c, CUstream s) {
    Card *card;
    TRY(stream_of(s, &s, &card));
    if (s->capture) return record(s->capture, (Node){.type = CU_GRAPH_NODE_TYPE_MEMCPY, .copy = *c});
    TRY(run_copy(c, card));
    work(s, card, 0);
    return OK;
}
// A synchronous copy waits for the card's work, as one on the null stream does.
static CUresult copy_now(const CUDA_MEMCPY2D *c) {
    Card *card;
    TRY(here(&card));
    TRY(quiet());
    ADD(card->n[N_waits], 1);
    wait_until(GET(card->busy));
    return run_copy(c, card);
}
#define ROW(a, b, n, from, to) \
    (&(CUDA_MEMCPY2D){.srcMemoryType = CU_MEMORYTYPE_##from, .srcDevice = (CUdeviceptr)(b), .srcHost = (void *)(b), \
                      .dstMemoryType = CU_MEMORYTYPE_##to, .dstDevice = (CUdeviceptr)(a), .dstHost = (void *)(a), \
                      .srcPitch = (n), .dstPitch = (n), .WidthInBytes = (n), .Height = 1})
API(276, cuMemcpyHtoD_v2, (CUdeviceptr to, const void *from, size_t n), to, from, n) {
    return copy_now(ROW(to, from, n, HOST, DEVICE));
}
API(278, cuMemcpyDtoH_v2, (void *to, CUdeviceptr from, size_t n), to, from, n) {
    return copy_now(ROW(to, from, n, DEVICE, HOST));
}
API(280, cuMemcpyDtoD_v2, (CUdeviceptr to, CUdeviceptr from, size_t n), to, from, n) {
    return copy_now(ROW(to, from, n, DEVICE, DEVICE));
}
API(277, cuMemcpyHtoDAsync_v2, (CUdeviceptr to, const void *from, size_t n, CUstream s), to, from, n, s) {
    return copy_rows(ROW(to, from, n, HOST, DEVICE), s);
}
API(279, cuMemcpyDtoHAsync_v2, (void *to, CUdeviceptr from, size_t n, CUstream s), to, from, n, s) {
    return copy_rows(ROW(to, from, n, DEVICE, HOST), s);
}
API(281, cuMemcpyDtoDAsync_v2, (CUdeviceptr to, CUdeviceptr from, size_t n, CUstream s), to, from, n, s) {
    return copy_rows(ROW(to, from, n, DEVICE, DEVICE), s);
}
API(318, cuMemcpyPeer, (CUdeviceptr to, CUcontext a, CUdeviceptr from, CUcontext b, size_t n), to, a, from, b, n) {
    return copy_now(ROW(to, from, n, DEVICE, DEVICE));
}
API(319, cuMemcpyPeerAsync, (CUdeviceptr to, CUcontext a, CUdeviceptr from, CUcontext b, size_t n, CUstream s), to, a,
    from, b, n, s) {
    return copy_rows(ROW(to, from, n, DEVICE, DEVICE), s);
}
API(289, cuMemcpy2DAsync_v2, (const CUDA_MEMCPY2D *copy, CUstream s), copy, s) { return copy_rows(copy, s); }

static CUresult run_fill(CUdeviceptr p, int value, size_t bytes, size_t n, Card *card) {
    TRY(within(p, n * bytes));
    if (bytes == 1) memset((void *)p, value, n);
    else if (bytes == 2) for (size_t i = 0; i < n; i++) ((uint16_t *)p)[i] = (uint16_t)value;
    else for (size_t i = 0; i < n; i++) ((uint32_t *)p)[i] = (uint32_t)value;
    ADD(card->n[N_memsets], 1);
    return OK;
}
static CUresult fill(CUdeviceptr p, int value, size_t bytes, size_t n, CUstream s) {
    Card *card;
    TRY(stream_of(s, &s, &card));
    if (s->capture) {
        TRY(within(p, n * bytes));
        Node node = {.type = CU_GRAPH_NODE_TYPE_MEMSET, .value = value};
        node.copy = (CUDA_MEMCPY2D){.dstDevice = p, .WidthInBytes = bytes, .Height = n};
        return record(s->capture, node);
    }
    TRY(run_fill(p, value, bytes, n, card));
    work(s, card, 0);
    return OK;
}
API(249, cuMemsetD8_v2, (CUdeviceptr p, unsigned char v, size_t n), p, v, n) { return fill(p, v, 1, n, 0); }
API(251, cuMemsetD32_v2, (CUdeviceptr p, unsigned int v, size_t n), p, v, n) { return fill(p, (int)v, 4, n, 0); }
API(216, cuMemsetD8Async, (CUdeviceptr p, unsigned char v, size_t n, CUstream s), p, v, n, s) { return fill(p, v, 1, n, s); }
API(220, cuMemsetD32Async, (CUdeviceptr p, unsigned int v, size_t n, CUstream s), p, v, n, s) {
    return fill(p, (int)v, 4, n, s);
}

// Modules, kernels -----------------------------------------------------------------------------------------------

static int numbers(const char *text, int *out, int most) {  // "a, b, c"
    int n = 0;
    for (; n < most; n++) {
        char *end;
        out[n] = (int)strtol(text, &end, 10);
        if (end == text) break;
        text = end;
        while (*text == ' ' || *text == ',') text++;
    }
    return n;
}
// Reads of PTX what the driver would hold a launch to: entries, blocks, clusters, static shared memory.
static CUresult read_ptx(Module *m, const char *ptx) {
    int version[2] = {0, 0}, target = 0, n[3];
    char kind[8] = "";
    const char *at = strstr(ptx, ".version ");
    if (!at || sscanf(at, ".version %d.%d", &version[0], &version[1]) != 2) return CUDA_ERROR_INVALID_PTX;
    if (10 * version[0] + version[1] > PTX_ISA) return CUDA_ERROR_UNSUPPORTED_PTX_VERSION;
    at = strstr(ptx, ".target ");
    if (!at || sscanf(at, ".target sm_%d%7[a-z]", &target, kind) < 1) return CUDA_ERROR_INVALID_PTX;
    if (target > CAPABILITY || (*kind == 'a' && target != CAPABILITY)) return CUDA_ERROR_NO_BINARY_FOR_GPU;
    Kernel *kernel = 0;
    for (const char *line = ptx; line; line = strchr(line, '\n')) {
        line += strspn(line, "\n\t ");
        if ((at = strstr(line, ".entry ")) && at < line + strcspn(line, "\n")) {
            at += strlen(".entry ");
            kernel = calloc(1, sizeof *kernel);
            *kernel = (Kernel){.magic = KERNEL, .card = m->card, .module = m, .threads = THREADS_A_BLOCK,
                               .name = strndup(at, strcspn(at, "( \n")), .next = m->kernels};
            m->kernels = kernel;
        } else if (!kernel) {
            continue;
        } else if (!strncmp(line, ".maxntid ", 9)) {
            int have = numbers(line + 9, n, 3);
            kernel->threads = 1;
            for (int i = 0; i < have; i++) kernel->threads *= n[i];
        } else if (!strncmp(line, ".reqnctapercluster ", 19)) {
            int have = numbers(line + 19, n, 3);
            for (int i = 0; i < 3; i++) kernel->cluster[i] = i < have ? n[i] : 1;
        } else if (!strncmp(line, ".shared ", 8)) {
            const char *end = line + strcspn(line, ";\n"), *b = line;
            int bytes = 0, count = 1;
            while ((b = strchr(b + 1, '.')) && b < end)
                if (strchr("bfsu", b[1]) && b[2] >= '1' && b[2] <= '9') bytes = atoi(b + 2) / 8;
            if ((b = strchr(line, '[')) && b < end) count = atoi(b + 1);
            kernel->fixed += bytes * count;
        }
    }
    for (Kernel *k = m->kernels; k; k = k->next) {
        if (k->fixed > SHARED_A_BLOCK) return CUDA_ERROR_INVALID_PTX;  // ptxas: uses too much shared data
        k->dynamic = SHARED_A_BLOCK - k->fixed;
    }
    m->checked = 1;
    return OK;
}
static CUresult load(CUmodule *out, const void *image) {
    Card *card;
    TRY(here(&card));
    TRY(quiet());
    if (!out || !image) return INVALID;
    Module *m = calloc(1, sizeof *m);
    m->card = card;
    if (memcmp(image, "\177ELF", 4)) {  // a cubin is believed
        size_t n = strlen(image);
        CUresult result = read_ptx(m, image);
        static int files;
        if (ptx_dir) {
            char path[4096];
            snprintf(path, sizeof path, "%s/%d-%05d.ptx", ptx_dir, getpid(), ADD(files, 1));
            FILE *f = fopen(path, "w");
            if (f) {
                fwrite(image, 1, n, f);
                fclose(f);
            }
        }
        if (result) return result;
        ADD(card->n[N_ptx_bytes], n);
    }
    ADD(card->n[N_modules], 1);
    *out = m;
    return OK;
}
API(19, cuModuleLoadData, (CUmodule *out, const void *image), out, image) { return load(out, image); }
API(22, cuModuleUnload, (CUmodule m), m) {
    Card *card;
    TRY(here(&card));
    return m ? OK : CUDA_ERROR_INVALID_HANDLE;
}
API(23, cuModuleGetFunction, (CUfunction *out, CUmodule m, const char *name), out, m, name) {
    Card *card;
    TRY(here(&card));
    if (!m) return CUDA_ERROR_INVALID_HANDLE;
    for (Kernel *k = m->kernels; k; k = k->next)
        if (!strcmp(k->name, name)) {
            *out = k;
            return OK;
        }
    if (m->checked) return CUDA_ERROR_NOT_FOUND;
    Kernel *k = calloc(1, sizeof *k);
    *k = (Kernel){.magic = KERNEL, .card = m->card, .module = m, .name = strdup(name), .threads = THREADS_A_BLOCK,
                  .dynamic = SHARED_A_BLOCK, .next = m->kernels};
    *out = m->kernels = k;
    return OK;
}
API(241, cuModuleGetGlobal_v2, (CUdeviceptr *p, size_t *n, CUmodule m, const char *name), p, n, m, name) {
    return CUDA_ERROR_NOT_FOUND;
}

static CUresult kernel_of(Kernel *k, Card **card) {
    if (!k || k->magic != KERNEL) return CUDA_ERROR_INVALID_HANDLE;
    *card = k->card;
    return alive(*card);
}
API(481, cuFuncSetAttribute, (CUfunction k, CUfunction_attribute a, int value), k, a, value) {
    Card *card;
    TRY(kernel_of(k, &card));
    if (a == CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES) {
        if (value < 0 || value + k->fixed > SHARED_OPT_IN) return INVALID;
        if (value > SHARED_A_BLOCK - k->fixed) ADD(card->n[N_shared_raised], 1);
        PUT(k->dynamic, value);
    } else if (a == CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT) {
        if (value < -1 || value > 100) return INVALID;
    } else if (a < CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES || a >= CU_FUNC_ATTRIBUTE_MAX) {
        return INVALID;
    }
    return OK;
}
API(85, cuFuncGetAttribute, (int *value, CUfunction_attribute a, CUfunction k), value, a, k) {
    Card *card;
    TRY(kernel_of(k, &card));
    switch (a) {
        case CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK: *value = k->threads; break;
        case CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES: *value = k->fixed; break;
        case CU_FUNC_ATTRIBUTE_NUM_REGS: *value = 32; break;  // not known without ptxas
        case CU_FUNC_ATTRIBUTE_PTX_VERSION:
        case CU_FUNC_ATTRIBUTE_BINARY_VERSION: *value = CAPABILITY; break;
        case CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES: *value = GET(k->dynamic); break;
        default: *value = 0;
    }
    return OK;
}

// So many kernels more on this card, unless its time has come.
static CUresult spend(Card *card, uint64_t kernels) {
    uint64_t before = ADD(card->kernels, kernels);
    if (card->number == fail_card && before + kernels > fail_after) PUT(card->poisoned, 1);
    return alive(card);
}
static CUresult launch(Kernel *k, const unsigned *grid, const unsigned *block, unsigned shared, CUstream s,
                       const unsigned *cluster) {
    Card *card, *other;
    if (!current) return CUDA_ERROR_INVALID_CONTEXT;
    TRY(kernel_of(k, &other));
    TRY(stream_of(s, &s, &card));
    // The kernel, the stream and the thread must be on the same card.
    if (k->card != card || s->context != current) return CUDA_ERROR_INVALID_HANDLE;
    uint64_t threads = (uint64_t)block[0] * block[1] * block[2];
    if (!grid[0] || !grid[1] || !grid[2] || !threads) return INVALID;
    if (grid[0] > 2147483647u || grid[1] > 65535 || grid[2] > 65535) return INVALID;
    if (block[0] > 1024 || block[1] > 1024 || block[2] > 64 || threads > THREADS_A_BLOCK) return INVALID;
    if (threads > (uint64_t)k->threads || shared > (unsigned)GET(k->dynamic)) return INVALID;
    int fixed[3] = {k->cluster[0], k->cluster[1], k->cluster[2]};
    for (int i = 0; i < 3 && cluster; i++) fixed[i] = (int)cluster[i];
    for (int i = 0; i < 3; i++)
        if (fixed[i] > 1 && grid[i] % (unsigned)fixed[i]) return CUDA_ERROR_INVALID_CLUSTER_SIZE;
    if (fixed[0] && fixed[0] * fixed[1] * fixed[2] > 8) return CUDA_ERROR_INVALID_CLUSTER_SIZE;
    if (s->capture) return record(s->capture, (Node){.type = CU_GRAPH_NODE_TYPE_KERNEL});
    TRY(spend(card, 1));
    ADD(card->n[N_launches], 1);
    work(s, card, kernel_ns);
    return OK;
}
API(307, cuLaunchKernel, (CUfunction k, unsigned int gx, unsigned int gy, unsigned int gz, unsigned int bx, unsigned int by,
                          unsigned int bz, unsigned int shared, CUstream s, void **args, void **extra),
    k, gx, gy, gz, bx, by, bz, shared, s, args, extra) {
    return launch(k, (unsigned[]){gx, gy, gz}, (unsigned[]){bx, by, bz}, shared, s, 0);
}
API(652, cuLaunchKernelEx, (const CUlaunchConfig *c, CUfunction k, void **args, void **extra), c, k, args, extra) {
    const unsigned *cluster = 0;
    unsigned asked[3];
    for (unsigned i = 0; i < c->numAttrs; i++)
        if (c->attrs[i].id == CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION) {
            asked[0] = c->attrs[i].value.clusterDim.x;
            asked[1] = c->attrs[i].value.clusterDim.y;
            asked[2] = c->attrs[i].value.clusterDim.z;
            cluster = asked;
        }
    return launch(k, (unsigned[]){c->gridDimX, c->gridDimY, c->gridDimZ},
                  (unsigned[]){c->blockDimX, c->blockDimY, c->blockDimZ}, c->sharedMemBytes, c->hStream, cluster);
}
API(527, cuLaunchHostFunc, (CUstream s, CUhostFn call, void *data), s, call, data) {
    Card *card;
    TRY(stream_of(s, &s, &card));
    if (s->capture) return record(s->capture, (Node){.type = CU_GRAPH_NODE_TYPE_HOST, .call = call, .data = data});
    call(data);  // at once, where the driver would use a thread of its own
    return OK;
}

// Graphs ---------------------------------------------------------------------------------------------------------

API(541, cuThreadExchangeStreamCaptureMode, (CUstreamCaptureMode *mode), mode) {
    CUstreamCaptureMode old = thread_mode;
    thread_mode = *mode;
    *mode = old;
    return OK;
}
API(539, cuStreamBeginCapture_v2, (CUstream s, CUstreamCaptureMode mode), s, mode) {
    Card *card;
    if (s == 0 || s == CU_STREAM_LEGACY) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    TRY(stream_of(s, &s, &card));
    if (s->capture) return CUDA_ERROR_ILLEGAL_STATE;
    static cuuint64_t ids;
    Capture *c = calloc(1, sizeof *c);
    *c = (Capture){.mode = mode, .thread = pthread_self(), .origin = s, .id = ADD(ids, 1) + 1};
    c->graph = calloc(1, sizeof *c->graph);
    c->graph->card = card;
    pthread_mutex_lock(&lock);
    c->next = captures;
    captures = c;
    ADD(capture_count, 1);
    s->capture = c;
    pthread_mutex_unlock(&lock);
    ADD(card->n[N_captures], 1);
    return OK;
}
API(497, cuStreamEndCapture, (CUstream s, CUgraph *out), s, out) {
    Card *card;
    TRY(stream_of(s, &s, &card));
    Capture *c = s->capture;
    if (!c) return CUDA_ERROR_ILLEGAL_STATE;
    if (c->origin != s) return CUDA_ERROR_STREAM_CAPTURE_UNMATCHED;
    if (c->mode != CU_STREAM_CAPTURE_MODE_RELAXED && !pthread_equal(c->thread, pthread_self()))
        return CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD;
    pthread_mutex_lock(&lock);
    Capture **link = &captures;
    while (*link != c) link = &(*link)->next;
    *link = c->next;
    ADD(capture_count, -1);
    s->capture = 0;
    pthread_mutex_unlock(&lock);
    // The record of the capture stays: events may point to it.
    *out = c->broken ? 0 : (CUgraph)c->graph;
    return c->broken ? CUDA_ERROR_STREAM_CAPTURE_INVALIDATED : OK;
}
API(499, cuStreamIsCapturing, (CUstream s, CUstreamCaptureStatus *status), s, status) {
    Card *card;
    TRY(stream_of(s, &s, &card));
    *status = !s->capture          ? CU_STREAM_CAPTURE_STATUS_NONE
              : s->capture->broken ? CU_STREAM_CAPTURE_STATUS_INVALIDATED
                                   : CU_STREAM_CAPTURE_STATUS_ACTIVE;
    return OK;
}
API(534, cuGraphGetNodes, (CUgraph graph, CUgraphNode *nodes, size_t *n), graph, nodes, n) {
    Graph *g = (Graph *)graph;
    if (!g || !n) return INVALID;
    if (!nodes) {
        *n = g->count;
        return OK;
    }
    for (size_t i = 0; i < *n; i++) nodes[i] = i < g->count ? (CUgraphNode)(g->nodes + i) : 0;
    if (*n > g->count) *n = g->count;
    return OK;
}
API(509, cuGraphNodeGetType, (CUgraphNode node, CUgraphNodeType *type), node, type) {
    *type = ((Node *)node)->type;
    return OK;
}
static CUresult copy_graph(Graph *g, Graph **out) {
    if (!g) return INVALID;
    Graph *x = malloc(sizeof *x);
    *x = *g;
    x->nodes = malloc((g->count + 1) * sizeof *x->nodes);
    if (g->count) memcpy(x->nodes, g->nodes, g->count * sizeof *x->nodes);
    x->room = g->count + 1;
    *out = x;
    return OK;
}
static CUresult instantiate(CUgraphExec *out, CUgraph graph) {
    Card *card;
    TRY(here(&card));
    TRY(copy_graph((Graph *)graph, (Graph **)out));
    ADD(card->n[N_instantiated], 1);
    return OK;
}
API(643, cuGraphInstantiateWithFlags, (CUgraphExec *out, CUgraph graph, unsigned long long flags), out, graph, flags) {
    return instantiate(out, graph);
}
API(580, cuGraphUpload, (CUgraphExec exec, CUstream s), exec, s) {
    Card *card;
    TRY(stream_of(s, &s, &card));
    return exec ? OK : INVALID;
}
API(514, cuGraphLaunch, (CUgraphExec exec, CUstream s), exec, s) {
    Card *card;
    Graph *g = (Graph *)exec;
    TRY(stream_of(s, &s, &card));
    if (!g) return INVALID;
    if (g->card != card) return CUDA_ERROR_INVALID_HANDLE;
    if (s->capture) return record(s->capture, (Node){.type = CU_GRAPH_NODE_TYPE_GRAPH});
    TRY(spend(card, g->kernels));
    ADD(card->n[N_replays], 1);
    ADD(card->n[N_replayed_nodes], g->count);
    work(s, card, kernel_ns * g->kernels);
    for (size_t i = 0; i < g->count && g->count > g->kernels; i++) {
        Node *n = &g->nodes[i];
        if (n->type == CU_GRAPH_NODE_TYPE_MEMCPY) TRY(run_copy(&n->copy, card));
        else if (n->type == CU_GRAPH_NODE_TYPE_MEMSET)
            TRY(run_fill(n->copy.dstDevice, n->value, n->copy.WidthInBytes, n->copy.Height, card));
        else if (n->type == CU_GRAPH_NODE_TYPE_HOST) n->call(n->data);
    }
    return OK;
}
static CUresult drop_graph(Graph *g) {
    if (!g) return INVALID;
    free(g->nodes);
    free(g);
    return OK;
}
API(517, cuGraphDestroy, (CUgraph graph), graph) { return drop_graph((Graph *)graph); }
API(516, cuGraphExecDestroy, (CUgraphExec exec), exec) { return drop_graph((Graph *)exec); }

// Tensor maps: the driver's rules for addresses, strides and boxes, not the 128 bytes.
static int element_bytes(CUtensorMapDataType type) {
    switch (type) {
        case CU_TENSOR_MAP_DATA_TYPE_UINT8: return 1;
        case CU_TENSOR_MAP_DATA_TYPE_UINT16:
        case CU_TENSOR_MAP_DATA_TYPE_FLOAT16:
        case CU_TENSOR_MAP_DATA_TYPE_BFLOAT16: return 2;
        case CU_TENSOR_MAP_DATA_TYPE_INT64:
        case CU_TENSOR_MAP_DATA_TYPE_UINT64:
        case CU_TENSOR_MAP_DATA_TYPE_FLOAT64: return 8;
        default: return 4;
    }
}
static CUresult map_ok(CUtensorMap *map, cuuint32_t least, cuuint32_t rank, const void *address, const cuuint64_t *dims,
                       const cuuint64_t *strides, const cuuint32_t *steps, CUtensorMapInterleave interleave) {
    Card *card;
    TRY(here(&card));
    if (!map || (uintptr_t)map % 64 || rank < least || rank > 5 || !dims || !steps) return INVALID;
    if (!address || (uintptr_t)address % (interleave == CU_TENSOR_MAP_INTERLEAVE_32B ? 32 : 16)) return INVALID;
    for (cuuint32_t i = 0; i < rank; i++) {
        if (!dims[i] || dims[i] > 1ull << 32 || !steps[i] || steps[i] > 8) return INVALID;
        if (i + 1 < rank && (strides[i] % 16 || strides[i] >= 1ull << 40)) return INVALID;
    }
    memset(map, 0, sizeof *map);
    ADD(card->n[N_tensor_maps], 1);
    return OK;
}
API(697, cuTensorMapEncodeTiled, (CUtensorMap *map, CUtensorMapDataType type, cuuint32_t rank, void *address,
                                  const cuuint64_t *dims, const cuuint64_t *strides, const cuuint32_t *box,
                                  const cuuint32_t *steps, CUtensorMapInterleave interleave, CUtensorMapSwizzle swizzle,
                                  CUtensorMapL2promotion promotion, CUtensorMapFloatOOBfill fill_with),
    map, type, rank, address, dims, strides, box, steps, interleave, swizzle, promotion, fill_with) {
    TRY(map_ok(map, 1, rank, address, dims, strides, steps, interleave));
    for (cuuint32_t i = 0; i < rank; i++)
        if (!box[i] || box[i] > 256) return INVALID;
    if (interleave == CU_TENSOR_MAP_INTERLEAVE_NONE) {
        size_t inner = (size_t)box[0] * (size_t)element_bytes(type);
        size_t most = swizzle == CU_TENSOR_MAP_SWIZZLE_NONE  ? SIZE_MAX
                      : swizzle == CU_TENSOR_MAP_SWIZZLE_32B ? 32
                      : swizzle == CU_TENSOR_MAP_SWIZZLE_64B ? 64
                                                             : 128;
        if (inner % 16 || inner > most) return INVALID;
    }
    return OK;
}
API(698, cuTensorMapEncodeIm2col, (CUtensorMap *map, CUtensorMapDataType type, cuuint32_t rank, void *address,
                                   const cuuint64_t *dims, const cuuint64_t *strides, const int *lower, const int *upper,
                                   cuuint32_t channels, cuuint32_t pixels, const cuuint32_t *steps,
                                   CUtensorMapInterleave interleave, CUtensorMapSwizzle swizzle,
                                   CUtensorMapL2promotion promotion, CUtensorMapFloatOOBfill fill_with),
    map, type, rank, address, dims, strides, lower, upper, channels, pixels, steps, interleave, swizzle, promotion,
    fill_with) {
    TRY(map_ok(map, 3, rank, address, dims, strides, steps, interleave));
    return channels <= 256 && pixels <= 1024 ? OK : INVALID;
}
// Compute capability 10 and above.
API(781, cuTensorMapEncodeIm2colWide, (CUtensorMap *map, CUtensorMapDataType type, cuuint32_t rank, void *address,
                                       const cuuint64_t *dims, const cuuint64_t *strides, int lower, int upper,
                                       cuuint32_t channels, cuuint32_t pixels, const cuuint32_t *steps,
                                       CUtensorMapInterleave interleave, CUtensorMapIm2ColWideMode mode,
                                       CUtensorMapSwizzle swizzle, CUtensorMapL2promotion promotion,
                                       CUtensorMapFloatOOBfill fill_with),
    map, type, rank, address, dims, strides, lower, upper, channels, pixels, steps, interleave, mode, swizzle, promotion,
    fill_with) {
    return CUDA_ERROR_NOT_SUPPORTED;
}

// Names ----------------------------------------------------------------------------------------------------------

#define ERRORS(X) \
    X(CUDA_SUCCESS, "no error") \
    X(CUDA_ERROR_INVALID_VALUE, "invalid argument") \
    X(CUDA_ERROR_OUT_OF_MEMORY, "out of memory") \
    X(CUDA_ERROR_NOT_INITIALIZED, "initialization error") \
    X(CUDA_ERROR_NO_DEVICE, "no CUDA-capable device is detected") \
    X(CUDA_ERROR_INVALID_DEVICE, "invalid device ordinal") \
    X(CUDA_ERROR_INVALID_CONTEXT, "invalid device context") \
    X(CUDA_ERROR_NO_BINARY_FOR_GPU, "no kernel image is available for execution on the device") \
    X(CUDA_ERROR_INVALID_PTX, "a PTX JIT compilation failed") \
    X(CUDA_ERROR_UNSUPPORTED_PTX_VERSION, "the provided PTX was compiled with an unsupported toolchain.") \
    X(CUDA_ERROR_FILE_NOT_FOUND, "file not found") \
    X(CUDA_ERROR_INVALID_HANDLE, "invalid resource handle") \
    X(CUDA_ERROR_ILLEGAL_STATE, "the operation cannot be performed in the present state") \
    X(CUDA_ERROR_NOT_FOUND, "named symbol not found") \
    X(CUDA_ERROR_NOT_READY, "device not ready") \
    X(CUDA_ERROR_ILLEGAL_ADDRESS, "an illegal memory access was encountered") \
    X(CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES, "too many resources requested for launch") \
    X(CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED, "peer access is already enabled") \
    X(CUDA_ERROR_PEER_ACCESS_NOT_ENABLED, "peer access has not been enabled") \
    X(CUDA_ERROR_LAUNCH_FAILED, "unspecified launch failure") \
    X(CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE, "too many blocks in cooperative launch") \
    X(CUDA_ERROR_NOT_SUPPORTED, "operation not supported") \
    X(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, "operation not permitted when stream is capturing") \
    X(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, "operation failed due to a previous error during capture") \
    X(CUDA_ERROR_STREAM_CAPTURE_MERGE, "operation would result in a merge of separate capture sequences") \
    X(CUDA_ERROR_STREAM_CAPTURE_UNMATCHED, "capture was not ended in the same stream as it began") \
    X(CUDA_ERROR_STREAM_CAPTURE_ISOLATION, "dependency created on uncaptured work in another stream") \
    X(CUDA_ERROR_STREAM_CAPTURE_IMPLICIT, "operation would make the legacy stream depend on a capturing blocking stream") \
    X(CUDA_ERROR_CAPTURED_EVENT, "operation not permitted on an event last recorded in a capturing stream") \
    X(CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD, "attempt to terminate a thread-local capture sequence from another thread") \
    X(CUDA_ERROR_INVALID_CLUSTER_SIZE, "a cluster of that size cannot be launched") \
    X(CUDA_ERROR_UNKNOWN, "unknown error")
#define AS_NAME(code, text) \
    case code: *out = #code; return OK;
#define AS_STRING(code, text) \
    case code: *out = text; return OK;
CUresult CUDAAPI cuGetErrorName(CUresult error, const char **out) {
    switch (error) {
        ERRORS(AS_NAME)
        default: *out = 0; return INVALID;
    }
}
CUresult CUDAAPI cuGetErrorString(CUresult error, const char **out) {
    switch (error) {
        ERRORS(AS_STRING)
        default: *out = 0; return INVALID;
    }
}

// NVRTC asks for tables of calls that are not in cuda.h, and does without.
CUresult CUDAAPI cuGetExportTable(const void **table, const CUuuid *id) {
    (void)id;
    *table = 0;
    return CUDA_ERROR_NOT_FOUND;
}
CUresult CUDAAPI cuGetProcAddress_v2(const char *symbol, void **out, int version, cuuint64_t flags,
                                     CUdriverProcAddressQueryResult *status) {
    (void)version, (void)flags;
    Dl_info info;
    void *own = dladdr((void *)begin, &info) ? dlopen(info.dli_fname, RTLD_LAZY | RTLD_NOLOAD) : 0;
    *out = 0;
    static const char *const ends[] = {"_v4", "_v2", ""};
    for (int i = 0; own && !*out && i < 3; i++) {
        char name[128];
        snprintf(name, sizeof name, "%s%s", symbol, ends[i]);
        *out = dlsym(own, name);
    }
    if (status) *status = *out ? CU_GET_PROC_ADDRESS_SUCCESS : CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND;
    return *out ? OK : CUDA_ERROR_NOT_FOUND;
}
#endif
