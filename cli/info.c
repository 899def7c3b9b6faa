/* `soma info`: what this soma is and what it found on this machine. */
#define _GNU_SOURCE /* sched_getaffinity */
#include "gnuplot.h"
#include "options.h"
#include "term.h"

#include <soma/soma.h>

#include <dlfcn.h>
#include <jansson.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

/* The value of the first "key : value" line in a /proc file; false when there is none. */
static bool proc_value(const char *path, const char *key, char *out, size_t size)
{
    FILE *f = fopen(path, "r");
    char line[512];
    bool found = false;
    while (f && !found && fgets(line, sizeof line, f)) {
        char *colon = strchr(line, ':');
        if (strncmp(line, key, strlen(key)) || !colon)
            continue;
        colon += 1 + strspn(colon + 1, " \t");
        colon[strcspn(colon, "\n")] = 0;
        snprintf(out, size, "%s", colon);
        found = true;
    }
    if (f)
        fclose(f);
    return found;
}

static int64_t memory_total(const char *key)
{
    char text[64];
    return proc_value("/proc/meminfo", key, text, sizeof text) ? atoll(text) * 1024 : 0;
}

/* The container's limit, when it is lower than the machine's memory; else 0. */
static int64_t memory_limit(void)
{
    static const char *const paths[] = {"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"};
    for (int i = 0; i < 2; i++) {
        FILE *f = fopen(paths[i], "r");
        long long v = 0;
        bool ok = f && fscanf(f, "%lld", &v) == 1;
        if (f)
            fclose(f);
        if (ok && v > 0 && v < memory_total("MemTotal"))
            return v;
    }
    return 0;
}

/* Size in bytes of the cache of this level that holds data; 0 when the system does not say. */
static int64_t cache_size(int level)
{
    for (int i = 0; i < 8; i++) {
        char path[128], kind[32] = "", size[32] = "";
        int found = 0;
        snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu0/cache/index%d/level", i);
        FILE *f = fopen(path, "r");
        if (!f)
            break;
        bool ok = fscanf(f, "%d", &found) == 1;
        fclose(f);
        snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu0/cache/index%d/type", i);
        if (ok && (f = fopen(path, "r"))) {
            ok = fscanf(f, "%31s", kind) == 1;
            fclose(f);
        }
        snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu0/cache/index%d/size", i);
        if (ok && (f = fopen(path, "r"))) {
            ok = fscanf(f, "%31s", size) == 1;
            fclose(f);
        }
        if (ok && found == level && strcmp(kind, "Instruction")) {
            char *unit;
            int64_t n = strtoll(size, &unit, 10);
            return *unit == 'K' ? n * 1024 : *unit == 'M' ? n * 1024 * 1024 : n;
        }
    }
    return 0;
}

static int cores_allowed(void)
{
    cpu_set_t set;
    return sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : (int)sysconf(_SC_NPROCESSORS_ONLN);
}

/* Parts that soma was built with are asked for their version through the loaded libraries; NULL: not in. */
static const char *version_of(const char *function)
{
    union {
        void *object;
        const char *(*call)(void *);
    } f = {.object = dlsym(RTLD_DEFAULT, function)};
    return f.object ? f.call(NULL) : NULL;
}

typedef struct part {
    const char *name, *use, *found;
} part;

static int find_parts(part *out)
{
    static char curl[64], gnuplot[64];
    void *handle = dlopen("libcurl.so.4", RTLD_LAZY);
    bool has_curl = false;
    if (handle) {
        union {
            void *object;
            const char *(*call)(void);
        } f = {.object = dlsym(handle, "curl_version")};
        if (f.object)
            snprintf(curl, sizeof curl, "%.*s", (int)strcspn(f.call(), " "), f.call());
        has_curl = f.object != NULL;
    }
#ifndef SOMA_HAVE_CURL
    has_curl = false;
#endif
    bool has_gnuplot = gnuplot_version(gnuplot, sizeof gnuplot);
    part parts[] = {
        {"libpng", "PNG images", version_of("png_get_libpng_ver")},
        {"LAPACK", "factorisations", dlsym(RTLD_DEFAULT, "dgesdd_") ? "yes" : NULL},
        {"libjpeg", "JPEG images", dlsym(RTLD_DEFAULT, "jpeg_std_error") ? "yes" : NULL},
        {"zlib", ".gz data", version_of("zlibVersion")},
        {"jansson", "JSON", JANSSON_VERSION},
        {"libcurl", "soma data get", has_curl ? curl : NULL},
        {"gnuplot", "plots", has_gnuplot ? gnuplot : NULL},
    };
    memcpy(out, parts, sizeof parts);
    return (int)(sizeof parts / sizeof parts[0]);
}

static int run_info(args *a)
{
    if (a->n_rest)
        return usage_error(a, "takes no arguments, but was given '%s'", a->rest[0]);
    struct utsname system;
    char cpu[256] = "", bytes[HUMAN], other[HUMAN];
    uname(&system);
    if (!proc_value("/proc/cpuinfo", "model name", cpu, sizeof cpu))
        snprintf(cpu, sizeof cpu, "%s", system.machine);
    int64_t total = memory_total("MemTotal"), available = memory_total("MemAvailable"), limit = memory_limit();
    part parts[8];
    int n_parts = find_parts(parts);
    if (arg_flag(a, "json")) {
        json_t *optional = json_object();
        for (int i = 0; i < n_parts; i++)
            json_object_set_new(optional, parts[i].name, parts[i].found ? json_string(parts[i].found) : json_null());
        return print_json(a, json_pack("{s:s, s:s, s:s, s:s, s:i, s:i, s:{s:I, s:I, s:I}, s:{s:I, s:I, s:I}, s:o, s:i}",
                                       "version", soma_version(), "system", system.sysname, "cpu", cpu, "isa", soma_isa(),
                                       "cores", cores_allowed(), "threads", soma_threads(),
                                       "memory", "total", (json_int_t)total, "available", (json_int_t)available, "limit", (json_int_t)limit,
                                       "caches", "l1", (json_int_t)cache_size(1), "l2", (json_int_t)cache_size(2), "l3",
                                       (json_int_t)cache_size(3), "parts", optional, "operators", soma_op_count()));
    }
    printf("soma %s\n\n", soma_version());
    printf("processor     %s\n", cpu);
    printf("instructions  %s (SOMA_ISA forces a lower one)\n", soma_isa());
    printf("threads       %d of %d cores that this process may use\n", soma_threads(), cores_allowed());
    printf("caches        L1 %lld KiB, L2 %lld KiB, L3 %lld KiB\n", (long long)cache_size(1) / 1024, (long long)cache_size(2) / 1024,
           (long long)cache_size(3) / 1024);
    printf("memory        %s, %s available\n", human_bytes(bytes, (double)total), human_bytes(other, (double)available));
    if (limit)
        printf("memory limit  %s\n", human_bytes(bytes, (double)limit));
    printf("operators     %d (soma ops)\n\nparts\n", soma_op_count());
    for (int i = 0; i < n_parts; i++)
        printf("  %-10s  %-14s  %s\n", parts[i].name, parts[i].found ? parts[i].found : "no", parts[i].use);
    return 0;
}

const command cmd_info = {
    .name = "info",
    .summary = "show version, processor, threads, memory and which optional parts are in",
    .usage = "[--json]",
    .details = "Shows what this soma is and what it found on this machine. Instructions are the set that kernels use; threads are as "
               "many as the affinity mask and the container's quota allow.",
    .example = "soma info\nSOMA_ISA=avx2 soma info --json",
    .run = run_info,
};
