/* `soma data get`: well-known data sets from any of several mirrors. What counts is the SHA-256 of a file, not where it came from; a
 * file is put in place only when that is right. libcurl is loaded when it is needed and not before: the tool starts without it. */
#include "data.h"
#include "term.h"

#include <soma/soma.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct remote_file {
    const char *name, *sha256;
    int64_t size;
} remote_file;
typedef struct remote_set {
    const char *name, *package; /* Debian's, NULL: none */
    remote_file files[4];
    const char *mirrors[4];
} remote_set;

static const remote_set sets[] = {
    {"fashion-mnist", "dataset-fashion-mnist",
     {{"train-images-idx3-ubyte.gz", "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84", 26421880},
      {"train-labels-idx1-ubyte.gz", "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845", 29515},
      {"t10k-images-idx3-ubyte.gz", "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073", 4422102},
      {"t10k-labels-idx1-ubyte.gz", "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5", 5148}},
     {"https://storage.googleapis.com/tensorflow/tf-keras-datasets", "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
      "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion"}},
    {"mnist", NULL,
     {{"train-images-idx3-ubyte.gz", "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609", 9912422},
      {"train-labels-idx1-ubyte.gz", "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c", 28881},
      {"t10k-images-idx3-ubyte.gz", "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6", 1648877},
      {"t10k-labels-idx1-ubyte.gz", "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6", 4542}},
     {"https://storage.googleapis.com/cvdf-datasets/mnist", "https://ossci-datasets.s3.amazonaws.com/mnist"}},
};
enum { SETS = sizeof sets / sizeof sets[0], FILES = 4 };

/* What curl hands over is collected here; more than the file's known size ends the transfer. */
typedef struct transfer {
    const args *a;
    const remote_file *file;
    uint8_t *data;
    size_t size;
    progress *bar;
    char reason[256];
} transfer;

#ifdef SOMA_HAVE_CURL
#include <curl/curl.h>
#include <dlfcn.h>

typedef struct curl_api {
    void *handle;
    CURL *(*init)(void);
    void (*cleanup)(CURL *);
    CURLcode (*setopt)(CURL *, CURLoption, ...);
    CURLcode (*perform)(CURL *);
    const char *(*strerror)(CURLcode);
} curl_api;

static bool load_curl(curl_api *api)
{
    static const char *const names[] = {"curl_easy_init", "curl_easy_cleanup", "curl_easy_setopt", "curl_easy_perform", "curl_easy_strerror"};
    void **const slots[] = {(void **)&api->init, (void **)&api->cleanup, (void **)&api->setopt, (void **)&api->perform,
                            (void **)&api->strerror};
    static const char *const libraries[] = {"libcurl.so.4", "libcurl-gnutls.so.4", "libcurl.so"};
    *api = (curl_api){0};
    for (int i = 0; i < 3 && !api->handle; i++)
        api->handle = dlopen(libraries[i], RTLD_NOW);
    for (int i = 0; i < 5 && api->handle; i++) {
        void *symbol = dlsym(api->handle, names[i]);
        if (!symbol)
            return false;
        memcpy(slots[i], &symbol, sizeof symbol); /* object to function pointer, as POSIX allows */
    }
    return api->handle != NULL;
}

static size_t receive(char *bytes, size_t size, size_t count, void *user)
{
    transfer *t = user;
    size_t n = size * count;
    if (n > (size_t)t->file->size - t->size)
        return 0; /* not the file that was asked for */
    memcpy(t->data + t->size, bytes, n);
    t->size += n;
    char before[128], after[128], now[HUMAN], all[HUMAN];
    snprintf(before, sizeof before, "%s", t->file->name);
    snprintf(after, sizeof after, "%s of %s", human_bytes(now, (double)t->size), human_bytes(all, (double)t->file->size));
    progress_show(t->bar, (double)t->size, (double)t->file->size, before, after);
    return n;
}

static bool fetch_url(const curl_api *api, const char *url, transfer *t)
{
    char detail[CURL_ERROR_SIZE] = "";
    CURL *curl = api->init();
    if (!curl) {
        snprintf(t->reason, sizeof t->reason, "libcurl could not be started");
        return false;
    }
    t->size = 0;
    api->setopt(curl, CURLOPT_URL, url);
    api->setopt(curl, CURLOPT_FOLLOWLOCATION, 1L);
    api->setopt(curl, CURLOPT_MAXREDIRS, 5L);
    api->setopt(curl, CURLOPT_FAILONERROR, 1L);
    api->setopt(curl, CURLOPT_NOSIGNAL, 1L);
    api->setopt(curl, CURLOPT_CONNECTTIMEOUT, 10L);
    api->setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1000L);
    api->setopt(curl, CURLOPT_LOW_SPEED_TIME, 30L);
    api->setopt(curl, CURLOPT_USERAGENT, "soma/0.1");
    api->setopt(curl, CURLOPT_ERRORBUFFER, detail);
    api->setopt(curl, CURLOPT_WRITEFUNCTION, receive);
    api->setopt(curl, CURLOPT_WRITEDATA, t);
    CURLcode code = api->perform(curl);
    api->cleanup(curl);
    if (code == CURLE_WRITE_ERROR)
        snprintf(t->reason, sizeof t->reason, "sent more than the file's %lld bytes", (long long)t->file->size);
    else if (code)
        snprintf(t->reason, sizeof t->reason, "%.200s", *detail ? detail : api->strerror(code));
    return code == CURLE_OK;
}
#else
typedef struct curl_api {
    int none;
} curl_api;

static bool load_curl(curl_api *api)
{
    api->none = 0;
    return false;
}

static bool fetch_url(const curl_api *api, const char *url, transfer *t)
{
    (void)api, (void)url;
    snprintf(t->reason, sizeof t->reason, "this soma was built without libcurl");
    return false;
}
#endif

static bool is_right(const void *data, size_t size, const remote_file *file)
{
    char hex[65];
    if (size != (size_t)file->size)
        return false;
    soma_sha256(data, size, hex);
    return !strcmp(hex, file->sha256);
}

/* 1: the file is there and right; 0: it is not there; -1: another file of that name is there. */
static int already_there(const char *path, const remote_file *file)
{
    soma_bytes bytes = {0};
    struct stat info;
    if (stat(path, &info))
        return 0;
    bool right = info.st_size == file->size && soma_read_file(path, false, (size_t)file->size + 1, &bytes) == SOMA_OK &&
                 is_right(bytes.data, bytes.size, file);
    soma_bytes_free(&bytes);
    soma_error_clear();
    return right ? 1 : -1;
}

/* Tries the mirrors in turn, the user's first. Puts what was wrong with each into one line. */
static int fetch_file(const curl_api *api, transfer *t, const remote_set *set, const char *path)
{
    const char *own = arg_text(t->a, "mirror");
    for (int m = own ? -1 : 0; m < 4 && (m < 0 || set->mirrors[m]); m++) {
        const char *mirror = m < 0 ? own : set->mirrors[m];
        char url[1024];
        snprintf(url, sizeof url, "%.800s%s%s", mirror, mirror[strlen(mirror) - 1] == '/' ? "" : "/", t->file->name);
        bool got = fetch_url(api, url, t);
        progress_end(t->bar);
        if (got && is_right(t->data, t->size, t->file))
            return soma_write_file(path, t->data, t->size) ? library_error(t->a) : 0;
        if (got)
            snprintf(t->reason, sizeof t->reason, "the file there is another one (its SHA-256 is wrong)");
        note(t->a, "%s: %s", mirror, t->reason);
    }
    char hint[128] = "";
    if (set->package)
        snprintf(hint, sizeof hint, "; on Debian, apt-get install %s has the same images in /usr/share/datasets", set->package);
    return work_error(t->a, "%s could not be had from any mirror (%s). Without a network: copy the four files of %s into a folder yourself%s",
                      t->file->name, t->reason, set->name, hint);
}

static int fetch_set(const args *a, const remote_set *set, const char *dir)
{
    curl_api api;
    bool have_curl = load_curl(&api);
    progress bar;
    progress_begin(&bar, arg_flag(a, "quiet"), 10);
    for (int i = 0; i < FILES; i++) {
        const remote_file *file = &set->files[i];
        char path[4200], bytes[HUMAN];
        snprintf(path, sizeof path, "%.4000s/%s", dir, file->name);
        int there = already_there(path, file);
        if (there < 0)
            return work_error(a, "%s is another file of that name (its SHA-256 is not that of %s); move it away or choose another --to",
                              path, set->name);
        if (there)
            continue;
        if (!have_curl)
            return work_error(a, "downloads need libcurl, which is not here (Debian: apt-get install libcurl4)%s%s",
                              set->package ? "; or take the data from the package " : "", set->package ? set->package : "");
        transfer t = {.a = a, .file = file, .bar = &bar, .data = malloc((size_t)file->size)};
        if (!t.data)
            return work_error(a, "no memory for %s", human_bytes(bytes, (double)file->size));
        int code = fetch_file(&api, &t, set, path);
        free(t.data);
        if (code)
            return code;
        note(a, "%s: %s, SHA-256 right", path, human_bytes(bytes, (double)file->size));
    }
    return 0;
}

int download_set(const args *a, const char *name)
{
    const remote_set *set = NULL;
    const char *names[SETS];
    for (int i = 0; i < SETS; i++) {
        names[i] = sets[i].name;
        if (!strcmp(name, sets[i].name))
            set = &sets[i];
    }
    if (!set) {
        const char *near = nearest_name(name, names, SETS);
        return near ? usage_error(a, "there is no set '%s' to get; did you mean '%s'?", name, near)
                    : usage_error(a, "there is no set '%s' to get; expected fashion-mnist or mnist", name);
    }
    const char *dir = arg_text(a, "to") ? arg_text(a, "to") : set->name;
    bool made = mkdir(dir, 0777) == 0;
    if (!made && errno != EEXIST)
        return work_error(a, "cannot make the folder %s: %s", dir, strerror(errno));
    int code = fetch_set(a, set, dir);
    if (!code)
        printf("%s\n", dir);
    else if (made)
        rmdir(dir); /* goes only when nothing came to be in it */
    return code;
}
