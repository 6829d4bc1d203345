/*
 * A fake libnvidia-ml.so.1 that pynvml loads as it would the real one.
 *
 * It knows nothing itself: each call reads the file that FAKE_NVML_STATE names, lines of key=value.
 *
 *   count=2                              how many GPUs there are
 *   driver_version=580.00
 *   0.name=..., 0.uuid=..., 0.temperature=65, ...    figures of GPU 0 in NVML's own units
 *   nvmlDeviceGetCount_v2=999            a call's behaviour: an NVML return code, `hang` or `crash`
 *   1.nvmlDeviceGetTemperature=hang      the same for one GPU only
 *   prints=...                           what nvmlInit writes to standard output, as libraries shouldn't
 *
 * A figure that is not in the file is NVML_ERROR_NOT_SUPPORTED. A call hangs for as long as the file
 * says so. To serve another call, write its function: `begin`, then `figure`.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { SUCCESS = 0, UNINITIALIZED = 1, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, INSUFFICIENT_SIZE = 7 };

typedef int nvmlReturn_t;
typedef struct device *nvmlDevice_t; /* the GPU's index plus one: a handle is never null */

static int initialised;

/* Copies the value of `key` into `value`; returns 0 where the file has none. */
static int look_up(const char *key, char *value, size_t size)
{
    const char *path = getenv("FAKE_NVML_STATE");
    FILE *file = path ? fopen(path, "re") : NULL;
    char line[512];
    size_t length = strlen(key);
    int found = 0;

    if (!file)
        return 0;
    while (!found && fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = 0;
        if (strncmp(line, key, length) == 0 && line[length] == '=') {
            snprintf(value, size, "%s", line + length + 1);
            found = 1;
        }
    }
    fclose(file);
    return found;
}

static int look_up_of(int gpu, const char *key, char *value, size_t size)
{
    char full[128];

    snprintf(full, sizeof full, "%d.%s", gpu, key);
    return look_up(full, value, size);
}

/* What the file says of `call`: behaves so, and returns the code to give. `gpu` is -1 for the library. */
static nvmlReturn_t behave(int gpu, const char *call)
{
    const struct timespec nap = {0, 5000000};
    char how[64];

    while ((gpu >= 0 && look_up_of(gpu, call, how, sizeof how)) || look_up(call, how, sizeof how)) {
        if (strcmp(how, "crash") == 0) {
            fprintf(stderr, "the fake NVML crashes in %s\n", call);
            abort();
        }
        if (strcmp(how, "hang") != 0)
            return atoi(how);
        nanosleep(&nap, NULL);
    }
    return SUCCESS;
}

static int count(void)
{
    char value[32];

    return look_up("count", value, sizeof value) ? atoi(value) : 0;
}

/* Starts a call on one GPU: its behaviour, then whether library and GPU are there. */
static nvmlReturn_t begin(nvmlDevice_t device, const char *call)
{
    int gpu = (int)(size_t)device - 1;
    nvmlReturn_t code = behave(gpu, call);

    if (code != SUCCESS)
        return code;
    if (!initialised)
        return UNINITIALIZED;
    return gpu < 0 || gpu >= count() ? INVALID_ARGUMENT : SUCCESS;
}

static nvmlReturn_t figure(nvmlDevice_t device, const char *key, unsigned long long *figure)
{
    char value[64];

    if (!look_up_of((int)(size_t)device - 1, key, value, sizeof value))
        return NOT_SUPPORTED;
    *figure = strtoull(value, NULL, 0);
    return SUCCESS;
}

static nvmlReturn_t small_figure(nvmlDevice_t device, const char *call, const char *key, unsigned int *out)
{
    unsigned long long value = 0;
    nvmlReturn_t code = begin(device, call);

    if (code == SUCCESS)
        code = figure(device, key, &value);
    if (code == SUCCESS)
        *out = (unsigned int)value;
    return code;
}

static nvmlReturn_t text(nvmlDevice_t device, const char *call, const char *key, char *out, unsigned int size)
{
    char value[256];
    nvmlReturn_t code = begin(device, call);

    if (code != SUCCESS)
        return code;
    if (!look_up_of((int)(size_t)device - 1, key, value, sizeof value))
        return NOT_SUPPORTED;
    if (strlen(value) >= size)
        return INSUFFICIENT_SIZE;
    strcpy(out, value);
    return SUCCESS;
}

nvmlReturn_t nvmlInitWithFlags(unsigned int flags)
{
    nvmlReturn_t code = behave(-1, "nvmlInitWithFlags");
    char words[256];

    (void)flags;
    if (look_up("prints", words, sizeof words)) {
        puts(words);
        fflush(stdout);
    }
    initialised = initialised || code == SUCCESS;
    return code;
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
    nvmlReturn_t code = behave(-1, "nvmlSystemGetDriverVersion");

    if (code == SUCCESS && !initialised)
        code = UNINITIALIZED;
    if (code == SUCCESS && !look_up("driver_version", out, size))
        code = NOT_SUPPORTED;
    return code;
}

nvmlReturn_t nvmlDeviceGetCount_v2(unsigned int *out)
{
    nvmlReturn_t code = behave(-1, "nvmlDeviceGetCount_v2");

    if (code == SUCCESS && !initialised)
        code = UNINITIALIZED;
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

nvmlReturn_t nvmlDeviceGetUUID(nvmlDevice_t device, char *out, unsigned int size)
{
    return text(device, "nvmlDeviceGetUUID", "uuid", out, size);
}

nvmlReturn_t nvmlDeviceGetName(nvmlDevice_t device, char *out, unsigned int size)
{
    return text(device, "nvmlDeviceGetName", "name", out, size);
}

nvmlReturn_t nvmlDeviceGetTemperature(nvmlDevice_t device, int sensor, unsigned int *celsius)
{
    (void)sensor;
    return small_figure(device, "nvmlDeviceGetTemperature", "temperature", celsius);
}

nvmlReturn_t nvmlDeviceGetTemperatureThreshold(nvmlDevice_t device, int kind, unsigned int *celsius)
{
    const char *key = kind == 0 ? "shutdown_temperature" : "slowdown_temperature";

    return small_figure(device, "nvmlDeviceGetTemperatureThreshold", key, celsius);
}

nvmlReturn_t nvmlDeviceGetPowerUsage(nvmlDevice_t device, unsigned int *milliwatts)
{
    return small_figure(device, "nvmlDeviceGetPowerUsage", "power_milliwatts", milliwatts);
}

nvmlReturn_t nvmlDeviceGetEnforcedPowerLimit(nvmlDevice_t device, unsigned int *milliwatts)
{
    return small_figure(device, "nvmlDeviceGetEnforcedPowerLimit", "power_limit_milliwatts", milliwatts);
}

nvmlReturn_t nvmlDeviceGetFanSpeed(nvmlDevice_t device, unsigned int *percent)
{
    return small_figure(device, "nvmlDeviceGetFanSpeed", "fan_percent", percent);
}

nvmlReturn_t nvmlDeviceGetClockInfo(nvmlDevice_t device, int kind, unsigned int *megahertz)
{
    const char *key = kind == 0 ? "graphics_clock_megahertz" : "memory_clock_megahertz";

    return small_figure(device, "nvmlDeviceGetClockInfo", key, megahertz);
}

nvmlReturn_t nvmlDeviceGetCurrentClocksThrottleReasons(nvmlDevice_t device, unsigned long long *bits)
{
    nvmlReturn_t code = begin(device, "nvmlDeviceGetCurrentClocksThrottleReasons");

    return code == SUCCESS ? figure(device, "clock_event_bits", bits) : code;
}

struct utilisation {
    unsigned int gpu, memory;
};

nvmlReturn_t nvmlDeviceGetUtilizationRates(nvmlDevice_t device, struct utilisation *percent)
{
    const char *call = "nvmlDeviceGetUtilizationRates";
    nvmlReturn_t code = small_figure(device, call, "utilisation_percent", &percent->gpu);

    if (code == SUCCESS)
        code = small_figure(device, call, "memory_controller_percent", &percent->memory);
    return code;
}

struct memory {
    unsigned long long total, free, used;
};

nvmlReturn_t nvmlDeviceGetMemoryInfo(nvmlDevice_t device, struct memory *bytes)
{
    nvmlReturn_t code = begin(device, "nvmlDeviceGetMemoryInfo");

    if (code == SUCCESS)
        code = figure(device, "memory_total", &bytes->total);
    if (code == SUCCESS)
        code = figure(device, "memory_used", &bytes->used);
    if (code == SUCCESS)
        bytes->free = bytes->total - bytes->used;
    return code;
}
