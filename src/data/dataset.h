/* What the parts of src/data share: the data set, its sources' helpers, work spread over threads, samples as floats.
 *
 * A data set is a root (samples and targets, read through a small table of functions) or a subset (a list of places in a root; a
 * subset of a subset points at the root directly). Both are reference-counted; a subset holds its root. After a source has
 * returned it, a data set never changes, except for the marks of files that turned out unreadable later, so any number of
 * threads may read it. */
#ifndef SOMA_SRC_DATA_DATASET_H
#define SOMA_SRC_DATA_DATASET_H

#include <soma/data.h>
#include <soma/io.h>

#include "base/base.h"

#include <pthread.h>
#include <stdatomic.h>

/* ---- Lists of strings (strings.c) ------------------------------------------------------------------------------------- */

/* Texts one after another in one block. A zeroed struct is an empty list. */
typedef struct soma__strings {
    char *bytes;
    size_t used, room;
    size_t *start;
    int64_t n, n_room;
} soma__strings;
bool soma__strings_add(soma__strings *s, const char *text); /* false: no memory, recorded */
const char *soma__strings_at(const soma__strings *s, int64_t i);
void soma__strings_keep(soma__strings *s, const uint8_t *bad); /* drops the entries whose flag is set */
void soma__strings_sort(soma__strings *s);                     /* by bytes */
void soma__strings_free(soma__strings *s);
/* "a, b, c, …" with at most `most` names into `out`. Returns `out`. */
const char *soma__strings_show(const soma__strings *s, int most, char *out, size_t size);

char *soma__path_join(const char *folder, const char *name); /* NULL: no memory */
bool soma__is_file(const char *path);
bool soma__is_folder(const char *path);
bool soma__ends_with(const char *text, const char *end);     /* without regard to case */
bool soma__is_image_name(const char *name);                  /* .png, .jpg, .jpeg */
bool soma__is_integer(const char *text);                     /* an optional minus and 1 to 18 digits */
/* Names in `folder`, sorted, hidden ones left out; either list may be NULL. */
soma_status soma__list_folder(const char *folder, soma__strings *files, soma__strings *folders);

/* ---- Data sets (dataset.c) -------------------------------------------------------------------------------------------- */

/* One sample where it lies: bytes 0 … 255 that mean 0 … 1, or floats. */
typedef struct soma__sample {
    const uint8_t *u8;
    const float *f32;
} soma__sample;

typedef struct soma__data_kind {
    const char *name;
    /* Finds sample i; `scratch` has room for the sample's numbers as floats. On failure the error is recorded. Thread-safe. */
    soma_status (*read)(const soma_dataset *d, int64_t i, void *scratch, soma__sample *out);
} soma__data_kind;

typedef struct soma__image_want {
    int channels, height, width; /* 0: as the file is */
} soma__image_want;

struct soma_dataset {
    atomic_int refs;
    soma_dataset *source;       /* subsets: the root, else NULL */
    int64_t *index;             /* subsets: places in the root */
    int64_t count;
    char *describe;
    /* From here on only roots have values. */
    const soma__data_kind *kind;
    soma_task task;
    bool image;                 /* samples are [C, H, W] with values 0 … 1 */
    int ndim;
    int64_t shape[SOMA_MAX_DIMS], numel;
    const uint8_t *pixels;      /* [count, numel], in `block` or in `keep_x`, or NULL */
    const float *values;
    void *block;
    soma_tensor *keep_x;
    int64_t *labels;            /* SOMA_CLASSIFY */
    float *targets;             /* SOMA_REGRESS: [count, target_numel] */
    int target_ndim;            /* of one sample's targets, at least 1 */
    int64_t target_shape[SOMA_MAX_DIMS], target_numel;
    soma__strings classes;
    int *class_order;           /* the classes by name, for finding them */
    bool classes_numeric;       /* one of the classes is called by a number */
    soma__strings ids;          /* empty: numbered; made when first asked for */
    pthread_mutex_t lock;       /* of `ids` while they are made */
    soma__strings files;        /* images that are decoded when wanted */
    soma__image_want want;
    bool skip_bad;
    atomic_uchar *bad;          /* files that turned out unreadable while loading */
    atomic_llong skipped;
};

extern int64_t soma__data_in_memory; /* images up to so many bytes are decoded when a set opens; tests lower it */

static inline const soma_dataset *soma__data_root(const soma_dataset *d) { return d->source ? d->source : d; }
static inline int64_t soma__data_place(const soma_dataset *d, int64_t i) { return d->index ? d->index[i] : i; }

soma_data_opts soma__data_opts(const soma_data_opts *given); /* defaults, and what the caller's version of the struct has */
soma_dataset *soma__dataset_new(const soma__data_kind *kind);
extern const soma__data_kind soma__data_memory; /* pixels or values */
extern const soma__data_kind soma__data_files;  /* decoded when wanted */
/* y [count, …] as targets of regression. */
soma_status soma__dataset_numbers(soma_dataset *d, soma_tensor *y);
void soma__dataset_shape(soma_dataset *d, int ndim, const int64_t *shape);
/* Counts a sample that is left out and names it in the log; after ten it only counts. */
void soma__dataset_skip(soma_dataset *d, const char *message);
/* Forgets an error of our own making that is dealt with, so that it does not count as one that nobody read. */
static inline void soma__error_drop(void) {
    (void)soma_error();
    soma_error_clear();
}
/* Drops the samples whose flag is set from all lists. */
void soma__dataset_drop(soma_dataset *d, const uint8_t *bad);
/* The last step of every source: writes the description, "<what>: 60000 images of 1 x 28 x 28, …". Takes `d`; NULL on failure. */
soma_dataset *soma__dataset_finish(soma_dataset *d, const char *what, ...) SOMA_PRINTF(2, 3);

/* ---- Classes (labels.c) ------------------------------------------------------------------------------------------------- */

soma_status soma__classes_set(soma_dataset *d, const char *const *names, int64_t n);
soma_status soma__classes_numbered(soma_dataset *d, int64_t n); /* "0" … */
/* The class of that name; else, when no class is called by a number, the class of that number; else -1. */
int64_t soma__class_find(const soma_dataset *d, const char *text);
/* Where label i stands, for messages, such as "train.csv line 12". */
typedef const char *(*soma__place_fn)(const void *user, int64_t i, char *out, size_t size);
/* Fills d->labels from texts. Classes: as d has them already, or as `opts` gives them, or all that occur, numbers in the order of
 * numbers and anything else by bytes. */
soma_status soma__label_texts(soma_dataset *d, const char *const *texts, int64_t n, const soma_data_opts *opts,
                              soma__place_fn place, const void *user);
/* Fills d->labels from numbers 0 … , which `own` names (NULL: numbered); opts->classes rules the order. `name` is for messages. */
soma_status soma__label_numbers(soma_dataset *d, const int64_t *numbers, int64_t n, const soma__strings *own,
                                const soma_data_opts *opts, const char *name);

/* ---- Work over threads (work.c) --------------------------------------------------------------------------------------- */

/* Calls fn(arg, i, scratch) once for each i in [0, n) in several threads, each with a context of its own and `scratch` bytes.
 * Without `skip` the failure of the smallest i is recorded in the caller's context, whatever the threads did. With `skip`,
 * failures other than SOMA_ENOMEM set bad[i] and the first ten messages are handed to soma__dataset_skip in order. */
typedef soma_status (*soma__work_fn)(void *arg, int64_t i, void *scratch);
soma_status soma__work(int64_t n, size_t scratch, soma__work_fn fn, void *arg, soma_dataset *skip, uint8_t *bad);

/* ---- Images (images.c) -------------------------------------------------------------------------------------------------- */

/* Gives `d` the images in d->files (paths, in order): decoded now, or when wanted if they are many; shape as opts says or as
 * the first image has. Drops unreadable ones when opts->skip_bad. */
soma_status soma__images_load(soma_dataset *d, const soma_data_opts *opts);
/* Gives `d` the `n` images of `pixels` [n, c, h, w], turned into opts' channels and size if those differ; copied, unless they lie
 * in `holder`, which is kept instead, and nothing is to be changed. */
soma_status soma__images_take(soma_dataset *d, const uint8_t *pixels, int64_t n, int c, int h, int w, const soma_data_opts *opts,
                              soma_tensor *holder);
/* Size and kind from the first bytes of a PNG or JPEG (header.c). */
soma_status soma__image_header(const char *path, int *height, int *width);

/* ---- Sources ---------------------------------------------------------------------------------------------------------- */

soma_dataset *soma__open_idx(const char *folder, const soma_data_opts *opts);
bool soma__looks_idx(const soma__strings *files);
soma_dataset *soma__open_image_csv(const char *csv, const soma_data_opts *opts);
bool soma__looks_image_csv(const char *csv);
soma_dataset *soma__open_table(const char *csv, const soma_data_opts *opts);
/* `all`: where the classes' folders are listed (the training part), NULL: in `folder` itself. */
soma_dataset *soma__open_class_folders(const char *folder, const char *all, const soma_data_opts *opts);
soma_dataset *soma__open_image_folder(const char *folder, const soma_data_opts *opts);
soma_dataset *soma__open_npy(const char *path, const soma_data_opts *opts);
soma_dataset *soma__open_drawn(int64_t n, uint64_t seed, const soma_data_opts *opts);
/* One silhouette: 28 x 28 pixels of class `index` % 10. A function of (seed, index). */
void soma__draw(uint64_t seed, int64_t index, uint8_t *pixels);
extern const char *const soma__apparel_names[10];

/* ---- Samples as floats (transform.c) ------------------------------------------------------------------------------------ */

/* out = v * hi + (v * lo + bias) for bytes, (x - mean) / std for floats, per group (channel or feature). hi has so few bits that
 * v * hi is exact: without normalisation the result is v / 255 correctly rounded. */
typedef struct soma__scaling {
    int64_t groups, inner;  /* numel = groups * inner */
    bool identity;          /* floats stay as they are */
    float *hi, *lo, *bias, *mean, *std;
} soma__scaling;
soma_status soma__scaling_init(soma__scaling *s, const soma_dataset *root, const soma_norm_stats *norm);
void soma__scaling_free(soma__scaling *s);

typedef struct soma__augment {
    bool flip;
    int shift, crop;
    double erase;
    int cutout;
    uint64_t seed;
} soma__augment;
/* What happens to one sample: mirrored, out[y][x] = in[y + dy][x + dx], rectangles erased. */
typedef struct soma__change {
    bool flip;
    int dx, dy;
    int erase_x, erase_y, erase_w, erase_h; /* w 0: none */
    int cut_x, cut_y, cut_w, cut_h;         /* the same */
} soma__change;
static inline bool soma__augments(const soma__augment *a) { return a->flip || a->shift || a->crop || a->cutout || a->erase > 0; }
soma__change soma__augment_draw(const soma__augment *a, int64_t epoch, int64_t position, int height, int width);
void soma__sample_plain(const soma__sample *in, const soma__scaling *s, float *out);
void soma__sample_changed(const soma__sample *in, const soma__scaling *s, int height, int width, const soma__change *change,
                          float *out);

/* Streams of random numbers that no other part of soma uses for the same seed. */
enum { SOMA__STREAM_SHUFFLE = 0xD1, SOMA__STREAM_AUGMENT = 0xD2, SOMA__STREAM_SPLIT = 0xD3, SOMA__STREAM_DRAWN = 0xD4 };
static inline uint64_t soma__stream(int use, uint64_t number) { return (uint64_t)use << 56 | (number & 0xffffffffffffff); }

#endif
