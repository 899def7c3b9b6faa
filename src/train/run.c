/* The run folder. A folder that holds a run is never written over by accident: soma__run_open refuses it unless it is told
 * to replace that run or to go on with it. Only files that a run makes are ever removed. */
#include "data/dataset.h"
#include "nn/nn.h"
#include "train/train.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool starts(const char *text, const char *start) {
    return strncmp(text, start, strlen(start)) == 0;
}

static bool is_run_file(const char *name) {
    size_t n = strlen(name), tail = strlen(".safetensors");
    if (starts(name, "checkpoint-")) return n > tail && strcmp(name + n - tail, ".safetensors") == 0;
    return strcmp(name, "config.json") == 0 || strcmp(name, "metrics.jsonl") == 0 || strcmp(name, "doctor.jsonl") == 0 || strcmp(name, "model.safetensors") == 0;
}

/* A temporary file, ".soma-PROCESS-NUMBER.tmp", of a write that its process did not live to finish. */
static bool is_leftover(const char *name) {
    long process = 0;
    unsigned number = 0;
    int length = 0;
    char proc[64];
    if (sscanf(name, ".soma-%ld-%u.tmp%n", &process, &number, &length) < 2 || length == 0 || name[length]) return false;
    snprintf(proc, sizeof(proc), "/proc/%ld", process);
    return process != (long)getpid() && access("/proc/self", F_OK) == 0 && access(proc, F_OK) != 0;
}

/* Removes every file in the folder that `wanted` picks, or only counts them. */
static soma_status sweep(const char *dir, bool (*wanted)(const char *), bool count_only, int *count) {
    DIR *folder = opendir(dir);
    *count = 0;
    if (!folder) return soma_fail(SOMA_EIO, "%s: cannot read the run folder: %s", dir, strerror(errno));
    soma_status status = SOMA_OK;
    for (struct dirent *entry; status == SOMA_OK && (entry = readdir(folder));) {
        if (!wanted(entry->d_name)) continue;
        ++*count;
        if (!count_only && unlinkat(dirfd(folder), entry->d_name, 0) != 0)
            status = soma_fail(SOMA_EIO, "%s/%s: cannot remove: %s", dir, entry->d_name, strerror(errno));
    }
    closedir(folder);
    return status;
}

/* The folder and those above it. */
static soma_status make_folders(const char *dir) {
    char *path = soma__strdup(dir);
    if (!path) return soma_error();
    soma_status status = SOMA_OK;
    for (char *at = path + 1; status == SOMA_OK; at++) {
        if (*at && *at != '/') continue;
        char kept = *at;
        *at = 0;
        struct stat info;
        if (mkdir(path, 0777) != 0 && errno != EEXIST)
            status = soma_fail(SOMA_EIO, "%s: cannot make the run folder: %s", path, strerror(errno));
        else if (stat(path, &info) != 0 || !S_ISDIR(info.st_mode))
            status = soma_fail(SOMA_EIO, "%s: cannot make the run folder: a file of that name is there", path);
        *at = kept;
        if (!kept) break;
    }
    soma__free(path);
    return status;
}

soma_status soma__run_open(const char *dir, bool overwrite) {
    if (!dir[0]) return soma_fail(SOMA_EINVAL, "the run folder's name is empty");
    soma_status status = make_folders(dir);
    int found = 0;
    if (status == SOMA_OK) status = sweep(dir, is_run_file, true, &found);
    if (status == SOMA_OK && found && !overwrite)
        return soma_fail(SOMA_ESTATE, "%s holds a run already; give another folder, resume that run, or ask to replace it",
                         dir);
    if (status == SOMA_OK && found) status = sweep(dir, is_run_file, false, &found);
    return status;
}

void soma__run_tidy(const char *dir) {
    int found = 0;
    if (soma__failed()) return;
    if (sweep(dir, is_leftover, false, &found) != SOMA_OK) {
        soma__log(SOMA_LOG_WARNING, "%s", soma_error_message());
        soma_error_clear();
    }
}

soma_status soma__run_save_model(const char *dir, soma_module *net, const soma_pair *meta, int n_meta) {
    char *path = soma__path_join(dir, "model.safetensors");
    if (!path) return soma_error();
    soma_status status = soma_nn_save_meta(net, path, meta, n_meta);
    soma__free(path);
    return status;
}
