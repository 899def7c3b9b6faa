/* Times one workload of bench/workloads.json, or records what it computes:
 *     bench_workloads [-t THREADS] [-s SECONDS] [-f workloads.json] [-d FOLDER] [-c FILE [-n STEPS]] NAME
 * NAME is a workload's, for inference with the batch behind it: c_lenet.infer64; with .bf16 behind it in mixed precision, with
 * .captured through soma_capture. Prints one line of JSON: the step's time in ms (median and least), how many were timed, its arithmetic, the process's largest memory, before the workload was made (base) and at the end.
 * -c times nothing: it writes inputs and results of a few steps to a .safetensors file. -d: where the folder of images is, or is made. */
#include "workload.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { MOST = 50000, LEAST = 3 };
static const double shortest = 50e-6; /* steps are timed in groups that take at least so long */

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static int by_value(const void *x, const void *y) {
    double a = *(const double *)x, b = *(const double *)y;
    return (a > b) - (a < b);
}

/* The most memory that was in use so far. (getrusage would count what the process was before exec, too.) */
static double largest_mb(void) {
    char line[256];
    long kilobytes = 0;
    FILE *f = fopen("/proc/self/status", "r");
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "VmHWM: %ld", &kilobytes) == 1)
            break;
    if (f)
        fclose(f);
    return (double)kilobytes * 1024e-6;
}

int64_t spec_int(const workload *w, const char *key, int64_t def) {
    const json_t *v = json_object_get(w->spec, key);
    return json_is_integer(v) ? (int64_t)json_integer_value(v) : json_is_true(v) ? 1 : def;
}

const char *spec_text(const workload *w, const char *key) {
    const char *text = json_string_value(json_object_get(w->spec, key));
    return text ? text : "";
}

int spec_shape(const workload *w, const char *key, int64_t first, int64_t *shape) {
    const json_t *list = json_object_get(w->spec, key);
    int n = 0;
    if (first)
        shape[n++] = first;
    for (size_t i = 0; i < json_array_size(list) && n < SOMA_MAX_DIMS; i++)
        shape[n++] = (int64_t)json_integer_value(json_array_get(list, i));
    return n;
}

void record_add(record *r, const char *name, int i, soma_tensor *t) {
    if (!t || r->n >= RECORD_ROOM)
        return;
    if (i < 0)
        snprintf(r->names[r->n], RECORD_NAME, "%s", name);
    else
        snprintf(r->names[r->n], RECORD_NAME, "%s.%d", name, i);
    soma_tensor *copy = soma_clone(soma_detach(t));
    if (copy)
        r->tensors[r->n++] = soma_keep(copy);
}

static bool record_write(const record *r, const char *path) {
    const char *names[RECORD_ROOM];
    for (int i = 0; i < r->n; i++)
        names[i] = r->names[i];
    return soma_error() == SOMA_OK && soma_safetensors_write(path, names, r->tensors, r->n, NULL, 0, false) == SOMA_OK;
}

/* The workload's object and what opens it. What stands behind a dot says how it runs. */
static bool (*find(const json_t *all, const char *name, workload *w))(workload *) {
    static const struct {
        const char *family;
        bool (*open)(workload *w);
    } families[] = {{"nets", net_open}, {"tables", table_open}, {"ops", op_open}, {"files", files_open}};
    char key[64];
    snprintf(key, sizeof key, "%s", name);
    char *mode = strchr(key, '.');
    if (mode) {
        *mode++ = 0;
        if (strncmp(mode, "infer", 5) == 0)
            w->infer = atoll(mode + 5);
        else if (strcmp(mode, "bf16") == 0)
            soma_set_autocast(SOMA_BF16);
        else if (strcmp(mode, "captured") == 0)
            w->captured = true;
        else
            return NULL;
    }
    for (size_t i = 0; i < sizeof families / sizeof *families; i++)
        if ((w->spec = json_object_get(json_object_get(all, families[i].family), key)))
            return families[i].open;
    return NULL;
}

static int measure(workload *w, double seconds, double *times) {
    double begin = now(), t = begin;
    int group = 1, n = 0;
    for (int i = 0; i < 5 && (i == 0 || t - begin < 0.3 * seconds); i++)
        w->step(w), t = now();
    t = now();
    w->step(w);
    double one = now() - t;
    if (one < shortest)
        group = (int)(shortest / (one > 1e-9 ? one : 1e-9)) + 1;
    else
        times[n++] = one;
    for (double end = now() + seconds; soma_error() == SOMA_OK && n < MOST && (n < LEAST || now() < end); n++) {
        t = now();
        for (int i = 0; i < group; i++)
            w->step(w);
        times[n] = (now() - t) / group;
    }
    qsort(times, (size_t)n, sizeof *times, by_value);
    return n;
}

int main(int argc, char **argv) {
    static double times[MOST];
    static record written;
    const char *file = "bench/workloads.json", *path = NULL;
    double seconds = 2;
    int steps = 3, option;
    workload w = {.folder = "."};
    while ((option = getopt(argc, argv, "t:s:f:d:c:n:")) != -1)
        switch (option) {
        case 't': soma_set_threads(atoi(optarg)); break;
        case 's': seconds = atof(optarg); break;
        case 'f': file = optarg; break;
        case 'd': w.folder = optarg; break;
        case 'c': path = optarg; break;
        case 'n': steps = atoi(optarg); break;
        default: return 2;
        }
    json_error_t wrong;
    json_t *all = json_load_file(file, 0, &wrong);
    const char *name = optind < argc ? argv[optind] : "";
    bool (*open)(workload *) = find(all, name, &w);
    if (!open) {
        fprintf(stderr, "bench_workloads: no workload '%s' in %s%s%s\n", name, file, all ? "" : ": ", all ? "" : wrong.text);
        return 2;
    }
    w.check = path != NULL;
    soma_seed((uint64_t)json_integer_value(json_object_get(all, "seed")));
    double base = largest_mb();
    bool ok = open(&w);
    int n = 0;
    if (ok && w.check) {
        w.compare(&w, &written, steps);
        ok = record_write(&written, path);
    } else if (ok) {
        n = measure(&w, seconds, times);
        ok = soma_error() == SOMA_OK;
    }
    if (!ok) {
        fprintf(stderr, "bench_workloads: %s: %s\n", name, soma_error_message());
        return 1;
    }
    if (!w.check)
        printf("{\"peer\": \"soma\", \"version\": \"%s/%s\", \"workload\": \"%s\", \"threads\": %d, \"median_ms\": %.6f, \"min_ms\": %.6f, \"n\": %d, "
               "\"gflop\": %.6f, \"mbytes\": %.3f, \"base_mb\": %.1f, \"peak_mb\": %.1f, \"heap_mb\": %.1f}\n",
               soma_version(), soma_isa(), name, soma_threads(), times[n / 2] * 1e3, times[0] * 1e3, n, w.gflop, w.mbytes, base, largest_mb(),
               (double)soma_memory_stats().peak * 1e-6);
    json_decref(all);
    return 0;
}
