/*
 * A fake libnvidia-ml.so.1 that pynvml loads as it would the real one.
 *
 * It knows nothing itself: each call looks into the file that FAKE_NVML_STATE names, lines of key=value,
 * which it reads again whenever the file is another (its time or size), so a test may replace it at will:
 * each call sees one state, and a reading of many calls may tell a bit of either, as with a real driver.
 *
 *   count=2                              how many GPUs there are
 *   driver_version=580.00
 *   0.name=..., 0.uuid=..., 0.temperature=65, ...    figures of GPU 0 in NVML's own units
 *   0.field.186=180500                   what nvmlDeviceGetFieldValues gives; `i32:-2` for a signed one,
 *                                        `error:999` for a return code of its own
 *   0.process.0=compute 4711 1073741824  a process: kind, pid, bytes (- where the driver does not say)
 *   0.mig.1=MIG-... 2 0 1073741824 4294967296   part 1: uuid, GPU and compute instance, used, total
 *   nvmlDeviceGetCount_v2=999            a call's behaviour: an NVML return code, `hang` or `crash`
 *   1.nvmlDeviceGetTemperature=hang      the same for one GPU only
 *   prints=...                           what nvmlInit writes to standard output, as libraries shouldn't
 *   xid.1=0 79                           the first Xid event: GPU and code; given once to each process that
 *                                        listened before it came; the next is xid.2
 *   kernel=2                             the loaded kernel module: a library with another FAKE_BUILD
 *                                        says LIB_RM_VERSION_MISMATCH to everything
 *
 * Setters append lines to FAKE_NVML_STATE.set, which are looked at first. FAKE_NVML_CALLS names a file to
 * which each call is appended. A figure that is not in the file is NVML_ERROR_NOT_SUPPORTED. A call hangs
 * for as long as the file says so. To serve another call, write its function: `begin`, then `figure`.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#ifndef FAKE_BUILD
#define FAKE_BUILD 1
#endif

enum {
    SUCCESS = 0,
    UNINITIALIZED = 1,
    INVALID_ARGUMENT = 2,
    NOT_SUPPORTED = 3,
    NOT_FOUND = 6,
    INSUFFICIENT_SIZE = 7,
    TIMEOUT = 10,
    LIB_RM_VERSION_MISMATCH = 18
};

typedef int nvmlReturn_t;
typedef struct device *nvmlDevice_t; /* a GPU's index plus one; a MIG part is 1000 a GPU and its place more */
typedef unsigned long long u64;

static int initialised;

/* ---- the state ---- */

struct lines {
    struct timespec time;
    off_t size;
    char *text;   /* the file, each line cut at its `=` and end */
    char **pairs; /* key, value, key, value, ... */
    size_t count; /* of pairs */
};

static struct lines state, settings;

static void load(struct lines *lines, const char *path)
{
    struct stat now;
    FILE *file;
    char *line, *rest;

    if (stat(path, &now) != 0) {
        lines->count = 0;
        lines->size = -1;
        return;
    }
    if (now.st_size == lines->size && memcmp(&now.st_mtim, &lines->time, sizeof now.st_mtim) == 0)
        return;
    file = fopen(path, "re");
    if (!file)
        return;
    if (fstat(fileno(file), &now) != 0) { /* it may have been replaced since */
        fclose(file);
        return;
    }
    lines->time = now.st_mtim;
    lines->size = now.st_size;
    lines->count = 0;
    lines->text = realloc(lines->text, (size_t)now.st_size + 1);
    lines->text[fread(lines->text, 1, (size_t)now.st_size, file)] = 0;
    fclose(file);
    lines->pairs = realloc(lines->pairs, ((size_t)now.st_size / 2 + 1) * 2 * sizeof *lines->pairs);
    for (line = strtok_r(lines->text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        char *value = strchr(line, '=');

        if (!value)
            continue;
        *value = 0;
        lines->pairs[2 * lines->count] = line;
        lines->pairs[2 * lines->count + 1] = value + 1;
        lines->count++;
    }
}

/* Returns the last value of `key`, NULL where there is none. */
static const char *value_of(const struct lines *lines, const char *key)
{
    for (size_t at = lines->count; at-- > 0;)
        if (strcmp(lines->pairs[2 * at], key) == 0)
            return lines->pairs[2 * at + 1];
    return NULL;
}

/* Reads the state again, if it is another by now: once a call, so that no call tells half of two. */
static void refresh(void)
{
    const char *path = getenv("FAKE_NVML_STATE");
    char set[512];

    if (!path)
        return;
    snprintf(set, sizeof set, "%s.set", path);
    load(&settings, set);
    load(&state, path);
}

static const char *look_up(const char *key)
{
    const char *value = value_of(&settings, key);

    return value ? value : value_of(&state, key);
}

static const char *look_up_of(int gpu, const char *key)
{
    char full[128];

    snprintf(full, sizeof full, "%d.%s", gpu, key);
    return look_up(full);
}

static nvmlReturn_t set(int gpu, const char *key, const char *value)
{
    const char *path = getenv("FAKE_NVML_STATE");
    char name[512];
    FILE *file;

    snprintf(name, sizeof name, "%s.set", path ? path : "");
    file = fopen(name, "ae");
    if (!file)
        return 999;
    fprintf(file, "%d.%s=%s\n", gpu, key, value);
    return fclose(file) == 0 ? SUCCESS : 999;
}

/* ---- how a call goes ---- */

static void note(int gpu, const char *call)
{
    const char *path = getenv("FAKE_NVML_CALLS");
    FILE *file = path ? fopen(path, "ae") : NULL;

    if (file) {
        fprintf(file, "%d %s\n", gpu, call);
        fclose(file);
    }
}

/* What the file says of `call`: behaves so, and returns the code to give. `gpu` is -1 for the library. */
static nvmlReturn_t behave(int gpu, const char *call)
{
    const struct timespec nap = {0, 5000000};
    const char *how, *kernel;

    note(gpu, call);
    refresh();
    while ((how = gpu >= 0 ? look_up_of(gpu, call) : NULL) || (how = look_up(call))) {
        if (strcmp(how, "crash") == 0) {
            fprintf(stderr, "the fake NVML crashes in %s\n", call);
            abort();
        }
        if (strcmp(how, "hang") != 0)
            return atoi(how);
        nanosleep(&nap, NULL);
        refresh();
    }
    kernel = look_up("kernel");
    return kernel && atoi(kernel) != FAKE_BUILD ? LIB_RM_VERSION_MISMATCH : SUCCESS;
}

static int count(void)
{
    const char *value = look_up("count");

    return value ? atoi(value) : 0;
}

static int index_of(nvmlDevice_t device)
{
    return (int)((size_t)device % 1000) - 1;
}

/* The place of a MIG part, -1 where `device` is a whole GPU. */
static int part_of(nvmlDevice_t device)
{
    return (int)((size_t)device / 1000) - 1;
}

/* Starts a call on one GPU: its behaviour, then whether library and GPU are there. */
static nvmlReturn_t begin(nvmlDevice_t device, const char *call)
{
    int gpu = index_of(device);
    nvmlReturn_t code = behave(gpu, call);

    if (code != SUCCESS)
        return code;
    if (!initialised)
        return UNINITIALIZED;
    return gpu < 0 || gpu >= count() ? INVALID_ARGUMENT : SUCCESS;
}

static nvmlReturn_t begin_library(const char *call)
{
    nvmlReturn_t code = behave(-1, call);

    return code == SUCCESS && !initialised ? UNINITIALIZED : code;
}

static nvmlReturn_t figure(nvmlDevice_t device, const char *key, u64 *figure)
{
    const char *value = look_up_of(index_of(device), key);

    if (!value)
        return NOT_SUPPORTED;
    *figure = strtoull(value, NULL, 0);
    return SUCCESS;
}

static nvmlReturn_t small_figure(nvmlDevice_t device, const char *call, const char *key, unsigned int *out)
{
    u64 value = 0;
    nvmlReturn_t code = begin(device, call);

    if (code == SUCCESS)
        code = figure(device, key, &value);
    if (code == SUCCESS)
        *out = (unsigned int)value;
    return code;
}

static nvmlReturn_t copy(const char *value, char *out, unsigned int size)
{
    if (!value)
        return NOT_SUPPORTED;
    if (strlen(value) >= size)
        return INSUFFICIENT_SIZE;
    strcpy(out, value);
    return SUCCESS;
}

/* Writes word `at` of `value` into `word`; returns 0 where there are fewer. */
static int word_of(const char *value, int at, char *word, size_t size)
{
    for (; at > 0 && value; at--) {
        value = strchr(value, ' ');
        value = value ? value + 1 : NULL;
    }
    if (!value)
        return 0;
    snprintf(word, size, "%.*s", (int)strcspn(value, " "), value);
    return 1;
}

/* ---- the library ---- */

nvmlReturn_t nvmlInitWithFlags(unsigned int flags)
{
    nvmlReturn_t code = behave(-1, "nvmlInitWithFlags");
    const char *words = look_up("prints");

    (void)flags;
    if (words) {
        puts(words);
        fflush(stdout);
    }
    initialised = initialised || code == SUCCESS;
    return code;
}

nvmlReturn_t nvmlInit_v2(void)
{
    return nvmlInitWithFlags(0);
}

nvmlReturn_t nvmlShutdown(void)
{
    nvmlReturn_t code = behave(-1, "nvmlShutdown");

    initialised = initialised && code != SUCCESS;
    return code;
}

const char *nvmlErrorString(nvmlReturn_t code)
{
    (void)code;
    return "an error of the fake NVML";
}

nvmlReturn_t nvmlSystemGetDriverVersion(char *out, unsigned int size)
{
    nvmlReturn_t code = begin_library("nvmlSystemGetDriverVersion");

    return code == SUCCESS ? copy(look_up("driver_version"), out, size) : code;
}

nvmlReturn_t nvmlDeviceGetCount_v2(unsigned int *out)
{
    nvmlReturn_t code = begin_library("nvmlDeviceGetCount_v2");

    if (code == SUCCESS)
        *out = (unsigned int)count();
    return code;
}

nvmlReturn_t nvmlDeviceGetHandleByIndex_v2(unsigned int index, nvmlDevice_t *out)
{
    nvmlDevice_t device = (nvmlDevice_t)((size_t)index + 1);
    nvmlReturn_t code = begin(device, "nvmlDeviceGetHandleByIndex_v2");

    if (code == SUCCESS)
        *out = device;
    return code;
}

nvmlReturn_t nvmlDeviceGetHandleByUUID(const char *uuid, nvmlDevice_t *out)
{
    nvmlReturn_t code = begin_library("nvmlDeviceGetHandleByUUID");

    if (code != SUCCESS)
        return code;
    for (int gpu = 0; gpu < count(); gpu++) {
        const char *own = look_up_of(gpu, "uuid");

        if (own && strcmp(own, uuid) == 0) {
            *out = (nvmlDevice_t)((size_t)gpu + 1);
            return SUCCESS;
        }
    }
    return NOT_FOUND;
}

/* ---- one GPU ---- */

nvmlReturn_t nvmlDeviceGetUUID(nvmlDevice_t device, char *out, unsigned int size)
{
    nvmlReturn_t code = begin(device, "nvmlDeviceGetUUID");
    char key[32], word[128];

    if (code != SUCCESS || part_of(device) < 0)
        return code == SUCCESS ? copy(look_up_of(index_of(device), "uuid"), out, size) : code;
    snprintf(key, sizeof key, "mig.%d", part_of(device));
    return word_of(look_up_of(index_of(device), key), 0, word, sizeof word) ? copy(word, out, size)
                                                                           : NOT_FOUND;
}

nvmlReturn_t nvmlDeviceGetName(nvmlDevice_t device, char *out, unsigned int size)
{
    nvmlReturn_t code = begin(device, "nvmlDeviceGetName");

    return code == SUCCESS ? copy(look_up_of(index_of(device), "name"), out, size) : code;
}

nvmlReturn_t nvmlDeviceGetTemperature(nvmlDevice_t device, int sensor, unsigned int *celsius)
{
    (void)sensor;
    return small_figure(device, "nvmlDeviceGetTemperature", "temperature", celsius);
}

struct sensor {
    unsigned int version;
    int sensor, celsius;
};

nvmlReturn_t nvmlDeviceGetTemperatureV(nvmlDevice_t device, struct sensor *out)
{
    const char *key = out->sensor == 1 ? "hotspot_temperature" : "temperature";

    return small_figure(device, "nvmlDeviceGetTemperatureV", key, (unsigned int *)&out->celsius);
}

struct margin {
    unsigned int version;
    int celsius;
};

nvmlReturn_t nvmlDeviceGetMarginTemperature(nvmlDevice_t device, struct margin *out)
{
    return small_figure(device, "nvmlDeviceGetMarginTemperature", "margin", (unsigned int *)&out->celsius);
}

nvmlReturn_t nvmlDeviceGetTemperatureThreshold(nvmlDevice_t device, int kind, unsigned int *celsius)
{
    static const char *const KEYS[] = {
        "shutdown_temperature", "slowdown_temperature", "memory_max_temperature", "gpu_max_temperature", "",
        "target_temperature",
    };

    if (kind < 0 || kind > 5)
        return INVALID_ARGUMENT;
    return small_figure(device, "nvmlDeviceGetTemperatureThreshold", KEYS[kind], celsius);
}

#define PLAIN(NAME, KEY)                                           \
    nvmlReturn_t NAME(nvmlDevice_t device, unsigned int *out)      \
    {                                                              \
        return small_figure(device, #NAME, KEY, out);              \
    }

PLAIN(nvmlDeviceGetPowerUsage, "power_milliwatts")
PLAIN(nvmlDeviceGetPowerManagementDefaultLimit, "power_limit_default_milliwatts")
PLAIN(nvmlDeviceGetFanSpeed, "fan_percent")
PLAIN(nvmlDeviceGetNumFans, "fans")
PLAIN(nvmlDeviceGetMemoryBusWidth, "memory_bus_width")
PLAIN(nvmlDeviceGetPcieReplayCounter, "pcie_replays")
PLAIN(nvmlDeviceGetCurrPcieLinkGeneration, "pcie_generation")
PLAIN(nvmlDeviceGetMaxPcieLinkGeneration, "pcie_generation_max")
PLAIN(nvmlDeviceGetCurrPcieLinkWidth, "pcie_width")
PLAIN(nvmlDeviceGetMaxPcieLinkWidth, "pcie_width_max")
PLAIN(nvmlDeviceGetMaxMigDeviceCount, "mig_places")

/* The limit that was set, else that of the state. */
PLAIN(nvmlDeviceGetEnforcedPowerLimit, "power_limit_milliwatts")
PLAIN(nvmlDeviceGetPowerManagementLimit, "power_limit_milliwatts")

nvmlReturn_t nvmlDeviceGetPowerManagementLimitConstraints(nvmlDevice_t device, unsigned int *low,
                                                          unsigned int *high)
{
    const char *call = "nvmlDeviceGetPowerManagementLimitConstraints";
    nvmlReturn_t code = small_figure(device, call, "power_limit_min_milliwatts", low);

    return code == SUCCESS ? small_figure(device, call, "power_limit_max_milliwatts", high) : code;
}

nvmlReturn_t nvmlDeviceGetFanSpeed_v2(nvmlDevice_t device, unsigned int fan, unsigned int *percent)
{
    char key[32];

    snprintf(key, sizeof key, "fan.%u.percent", fan);
    return small_figure(device, "nvmlDeviceGetFanSpeed_v2", key, percent);
}

struct fan {
    unsigned int version, fan, speed;
};

nvmlReturn_t nvmlDeviceGetFanSpeedRPM(nvmlDevice_t device, struct fan *out)
{
    char key[32];

    snprintf(key, sizeof key, "fan.%u.rpm", out->fan);
    return small_figure(device, "nvmlDeviceGetFanSpeedRPM", key, &out->speed);
}

nvmlReturn_t nvmlDeviceGetClockInfo(nvmlDevice_t device, int kind, unsigned int *megahertz)
{
    static const char *const KEYS[] = {
        "graphics_clock_megahertz", "sm_clock_megahertz", "memory_clock_megahertz", "video_clock_megahertz",
    };

    return small_figure(device, "nvmlDeviceGetClockInfo", KEYS[kind & 3], megahertz);
}

nvmlReturn_t nvmlDeviceGetMaxClockInfo(nvmlDevice_t device, int kind, unsigned int *megahertz)
{
    const char *key = kind == 2 ? "memory_clock_max_megahertz" : "graphics_clock_max_megahertz";

    return small_figure(device, "nvmlDeviceGetMaxClockInfo", key, megahertz);
}

nvmlReturn_t nvmlDeviceGetPcieThroughput(nvmlDevice_t device, int counter, unsigned int *kibibytes)
{
    const char *key = counter == 0 ? "pcie_transmit_kibibytes" : "pcie_receive_kibibytes";

    return small_figure(device, "nvmlDeviceGetPcieThroughput", key, kibibytes);
}

nvmlReturn_t nvmlDeviceGetCurrentClocksThrottleReasons(nvmlDevice_t device, u64 *bits)
{
    nvmlReturn_t code = begin(device, "nvmlDeviceGetCurrentClocksThrottleReasons");

    return code == SUCCESS ? figure(device, "clock_event_bits", bits) : code;
}

struct utilisation {
    unsigned int gpu, memory;
};

nvmlReturn_t nvmlDeviceGetUtilizationRates(nvmlDevice_t device, struct utilisation *percent)
{
    u64 gpu = 0, memory = 0;
    nvmlReturn_t code = begin(device, "nvmlDeviceGetUtilizationRates");

    if (code == SUCCESS)
        code = figure(device, "utilisation_percent", &gpu);
    if (code == SUCCESS)
        code = figure(device, "memory_controller_percent", &memory);
    percent->gpu = (unsigned int)gpu;
    percent->memory = (unsigned int)memory;
    return code;
}

struct memory {
    u64 total, free, used;
};

nvmlReturn_t nvmlDeviceGetMemoryInfo(nvmlDevice_t device, struct memory *bytes)
{
    nvmlReturn_t code = begin(device, "nvmlDeviceGetMemoryInfo");
    char key[32], used[32], total[32];
    const char *part;

    if (code == SUCCESS && part_of(device) >= 0) {
        snprintf(key, sizeof key, "mig.%d", part_of(device));
        part = look_up_of(index_of(device), key);
        if (!word_of(part, 3, used, sizeof used) || !word_of(part, 4, total, sizeof total))
            return NOT_SUPPORTED;
        bytes->used = strtoull(used, NULL, 0);
        bytes->total = strtoull(total, NULL, 0);
    } else {
        if (code == SUCCESS)
            code = figure(device, "memory_total", &bytes->total);
        if (code == SUCCESS)
            code = figure(device, "memory_used", &bytes->used);
    }
    if (code == SUCCESS)
        bytes->free = bytes->total - bytes->used;
    return code;
}

/* ---- field values ---- */

struct field {
    unsigned int field, scope;
    long long timestamp, latency;
    int type;
    nvmlReturn_t code;
    union {
        double real;
        u64 whole;
        int small;
    } value;
};

nvmlReturn_t nvmlDeviceGetFieldValues(nvmlDevice_t device, int number, struct field *fields)
{
    nvmlReturn_t code = begin(device, "nvmlDeviceGetFieldValues");

    if (code == SUCCESS && !look_up_of(index_of(device), "fields"))
        code = NOT_SUPPORTED;
    for (int at = 0; code == SUCCESS && at < number; at++) {
        struct field *field = fields + at;
        char key[32];
        const char *value;

        snprintf(key, sizeof key, "field.%u", field->field);
        value = look_up_of(index_of(device), key);
        field->code = SUCCESS;
        field->type = 3;
        if (!value)
            field->code = NOT_SUPPORTED;
        else if (strncmp(value, "error:", 6) == 0)
            field->code = atoi(value + 6);
        else if (strncmp(value, "i32:", 4) == 0) {
            field->type = 5;
            field->value.small = atoi(value + 4);
        } else if (strncmp(value, "f64:", 4) == 0) {
            field->type = 0;
            field->value.real = atof(value + 4);
        } else
            field->value.whole = strtoull(value, NULL, 0);
    }
    return code;
}

/* ---- processes ---- */

struct process {
    unsigned int pid;
    u64 used;
    unsigned int gpu_instance, compute_instance;
};

static nvmlReturn_t processes(nvmlDevice_t device, const char *call, const char *kind, unsigned int *number,
                              struct process *out)
{
    nvmlReturn_t code = begin(device, call);
    unsigned int found = 0, room = *number;

    if (code == SUCCESS && !look_up_of(index_of(device), "processes"))
        code = NOT_SUPPORTED;
    if (code != SUCCESS)
        return code;
    for (int at = 0;; at++) {
        char key[32], word[32];
        const char *line;

        snprintf(key, sizeof key, "process.%d", at);
        line = look_up_of(index_of(device), key);
        if (!line)
            break;
        if (!word_of(line, 0, word, sizeof word) || strcmp(word, kind) != 0)
            continue;
        if (found < room && out) {
            word_of(line, 1, word, sizeof word);
            out[found].pid = (unsigned int)strtoul(word, NULL, 0);
            word_of(line, 2, word, sizeof word);
            out[found].used = strcmp(word, "-") == 0 ? ~0ULL : strtoull(word, NULL, 0);
        }
        found++;
    }
    *number = found;
    return found > room ? INSUFFICIENT_SIZE : SUCCESS;
}

nvmlReturn_t nvmlDeviceGetComputeRunningProcesses_v3(nvmlDevice_t device, unsigned int *number,
                                                     struct process *out)
{
    return processes(device, "nvmlDeviceGetComputeRunningProcesses_v3", "compute", number, out);
}

nvmlReturn_t nvmlDeviceGetGraphicsRunningProcesses_v3(nvmlDevice_t device, unsigned int *number,
                                                      struct process *out)
{
    return processes(device, "nvmlDeviceGetGraphicsRunningProcesses_v3", "graphics", number, out);
}

/* ---- parts of a divided GPU ---- */

nvmlReturn_t nvmlDeviceGetMigMode(nvmlDevice_t device, unsigned int *current, unsigned int *pending)
{
    nvmlReturn_t code = small_figure(device, "nvmlDeviceGetMigMode", "mig_mode", current);

    *pending = *current;
    return code;
}

nvmlReturn_t nvmlDeviceGetMigDeviceHandleByIndex(nvmlDevice_t device, unsigned int place, nvmlDevice_t *out)
{
    nvmlReturn_t code = begin(device, "nvmlDeviceGetMigDeviceHandleByIndex");
    char key[32];

    snprintf(key, sizeof key, "mig.%u", place);
    if (code == SUCCESS && !look_up_of(index_of(device), key))
        code = NOT_FOUND;
    if (code == SUCCESS)
        *out = (nvmlDevice_t)((size_t)device + 1000 * ((size_t)place + 1));
    return code;
}

static nvmlReturn_t part_number(nvmlDevice_t device, const char *call, int at, unsigned int *out)
{
    nvmlReturn_t code = begin(device, call);
    char key[32], word[32];

    snprintf(key, sizeof key, "mig.%d", part_of(device));
    if (code == SUCCESS && !word_of(look_up_of(index_of(device), key), at, word, sizeof word))
        code = NOT_FOUND;
    if (code == SUCCESS)
        *out = (unsigned int)strtoul(word, NULL, 0);
    return code;
}

nvmlReturn_t nvmlDeviceGetGpuInstanceId(nvmlDevice_t device, unsigned int *out)
{
    return part_number(device, "nvmlDeviceGetGpuInstanceId", 1, out);
}

nvmlReturn_t nvmlDeviceGetComputeInstanceId(nvmlDevice_t device, unsigned int *out)
{
    return part_number(device, "nvmlDeviceGetComputeInstanceId", 2, out);
}

/* ---- events ---- */

struct event {
    nvmlDevice_t device;
    u64 type, data;
    unsigned int gpu_instance, compute_instance;
};

static int told; /* how many Xid events are over: those from before the set, and those that were given */

static const char *next_event(void)
{
    char key[32];

    snprintf(key, sizeof key, "xid.%d", told + 1);
    return look_up(key);
}

nvmlReturn_t nvmlEventSetCreate(void **out)
{
    nvmlReturn_t code = begin_library("nvmlEventSetCreate");

    *out = &told;
    while (next_event())
        told++;
    return code;
}

nvmlReturn_t nvmlDeviceRegisterEvents(nvmlDevice_t device, u64 kinds, void *set)
{
    nvmlReturn_t code = begin(device, "nvmlDeviceRegisterEvents");

    (void)kinds;
    (void)set;
    return code == SUCCESS && !look_up_of(index_of(device), "events") ? NOT_SUPPORTED : code;
}

nvmlReturn_t nvmlEventSetWait_v2(void *set, struct event *out, unsigned int milliseconds)
{
    nvmlReturn_t code = begin_library("nvmlEventSetWait_v2");
    char gpu[16], xid[16];
    const char *line;

    (void)set;
    (void)milliseconds;
    if (code != SUCCESS)
        return code;
    line = next_event();
    if (!line || !word_of(line, 0, gpu, sizeof gpu) || !word_of(line, 1, xid, sizeof xid))
        return TIMEOUT;
    told++;
    out->device = (nvmlDevice_t)(strtoul(gpu, NULL, 0) + 1);
    out->type = 8;
    out->data = strtoull(xid, NULL, 0);
    return SUCCESS;
}

/* ---- setters ---- */

nvmlReturn_t nvmlDeviceSetPowerManagementLimit(nvmlDevice_t device, unsigned int milliwatts)
{
    nvmlReturn_t code = begin(device, "nvmlDeviceSetPowerManagementLimit");
    u64 low = 0, high = 0;
    char value[32];

    if (code == SUCCESS)
        code = figure(device, "power_limit_min_milliwatts", &low);
    if (code == SUCCESS)
        code = figure(device, "power_limit_max_milliwatts", &high);
    if (code == SUCCESS && (milliwatts < low || milliwatts > high))
        code = INVALID_ARGUMENT;
    if (code != SUCCESS)
        return code;
    snprintf(value, sizeof value, "%u", milliwatts);
    if (look_up_of(index_of(device), "field.190"))
        set(index_of(device), "field.190", value);
    if (look_up_of(index_of(device), "field.192"))
        set(index_of(device), "field.192", value);
    return set(index_of(device), "power_limit_milliwatts", value);
}

nvmlReturn_t nvmlDeviceSetGpuLockedClocks(nvmlDevice_t device, unsigned int low, unsigned int high)
{
    nvmlReturn_t code = begin(device, "nvmlDeviceSetGpuLockedClocks");
    char value[32];

    if (code == SUCCESS && low > high)
        code = INVALID_ARGUMENT;
    if (code != SUCCESS)
        return code;
    snprintf(value, sizeof value, "%u %u", low, high);
    return set(index_of(device), "locked_clocks_megahertz", value);
}

nvmlReturn_t nvmlDeviceResetGpuLockedClocks(nvmlDevice_t device)
{
    nvmlReturn_t code = begin(device, "nvmlDeviceResetGpuLockedClocks");

    return code == SUCCESS ? set(index_of(device), "locked_clocks_megahertz", "") : code;
}
