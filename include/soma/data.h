/* soma: data sets, splits, transforms and the loader. */
#ifndef SOMA_DATA_H
#define SOMA_DATA_H

#include <soma/tensor.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct soma_dataset soma_dataset;

typedef enum soma_task { SOMA_CLASSIFY, SOMA_REGRESS, SOMA_UNLABELLED } soma_task;
typedef enum soma_part { SOMA_TRAIN, SOMA_TEST } soma_part;

/* ---- Sources -------------------------------------------------------------------------------------------------------- */

typedef struct soma_data_opts {
    int channels;          /* images: 1 grey, 3 RGB; 0: as the first image has */
    int height, width;     /* images are resized to this; 0: all must have the size of the first */
    bool skip_bad;         /* leave out unreadable samples with a warning in the log, instead of an error */
    const char *target;    /* the target column's name; NULL: tables' last one, "label" of a CSV with images */
    soma_task task;        /* of tables, unless auto_task, and of a CSV with images; SOMA_UNLABELLED: do without the target */
    bool auto_task;        /* tables: classification when the target is text or has at most 20 different whole numbers */
    soma_part part;        /* sets that have parts: IDX, and folders with train/ and test/ */
    int n_classes;         /* class names and order of a model, so that labels mean the same; 0: from the data. A label that is
                              none of them is an error, unless it is a number and no name is: then it is a place in the list */
    const char *const *classes;
    size_t size;
} soma_data_opts;
/* Opens whatever `path` is; NULL and an error that says what was looked for and what was found.
 * - A folder of IDX files: see soma_data_idx.
 * - A folder (or the CSV in it) with id and label columns and the images images/ID.png, .jpg or .jpeg, or beside the CSV. Of
 *   several CSV files the one called like the folder, train.csv or test.csv, or labels.csv. Only ids: SOMA_UNLABELLED.
 * - A folder per class, images in it at any depth; or a folder of images without labels. Ids are the files' names.
 * - A folder of which all folders are called train, test, val and so on: `part` of it. With a folder per class, the classes are
 *   those of train; with a CSV, those that occur, so give a test part the classes of the training part or the model.
 * - A .csv table of numbers. A column "id" names the rows; the target's classes may be text; cells must not be empty.
 * - A .npy array [N, …], with x.labels.npy or y.npy beside it as targets: whole numbers are classes, floats are regression. Bytes
 *   of 3 or 4 dimensions are images [N, H, W], [N, C, H, W] or [N, H, W, C].
 * - "drawn" or "drawn:N": N drawn silhouettes (10000, and 2000 others as the test part).
 * Classes that are all whole numbers are in the order of numbers, others by bytes. Images are kept as bytes in memory up to 4 GiB,
 * decoded when the set opens; beyond that only headers are read then, and each file when a loader wants it: with skip_bad a file
 * that turns out damaged is then missing from its batch. Images of differing sizes are an error unless height and width are given. */
#define soma_data_open(...) soma__data_open(__VA_ARGS__, .size = sizeof(soma_data_opts))
#define soma__data_open(path, ...) soma_data_open_ex((path), &(soma_data_opts){__VA_ARGS__})
SOMA_API soma_dataset *soma_data_open_ex(const char *path, const soma_data_opts *opts);
/* train-images-idx3-ubyte and its three relations, .gz or not, in `folder`. Classes are called by the lines of classes.txt beside
 * them, by Fashion-MNIST's ten names if the folder's name contains "fashion", else "0", "1", …. */
SOMA_API soma_dataset *soma_data_idx(const char *folder, soma_part part);
/* Images in memory: u8 [N, C, H, W], and classes (NULL: unlabelled); copied. */
SOMA_API soma_dataset *soma_data_images(const uint8_t *pixels, const int64_t *labels, int64_t n, int c, int h, int w);
/* x [N, …] and y [N] i64 (classes), y [N, …] float (regression) or NULL; keeps references. */
SOMA_API soma_dataset *soma_data_tensors(soma_tensor *x, soma_tensor *y);
/* Ten classes of apparel silhouettes, 28 x 28 grey, drawn from a seed: random shape, size, position and noise. Sample i is of
 * class i % 10, which are called as Fashion-MNIST's. */
SOMA_API soma_dataset *soma_data_drawn(int64_t n, uint64_t seed);
SOMA_API void soma_data_free(soma_dataset *d); /* reference-counted: subsets keep their source alive */

/* ---- What a data set is ----------------------------------------------------------------------------------------------- */

SOMA_API int64_t soma_data_count(const soma_dataset *d);
SOMA_API soma_task soma_data_task(const soma_dataset *d);
SOMA_API int soma_data_ndim(const soma_dataset *d);              /* of one sample, without the batch dimension */
SOMA_API const int64_t *soma_data_shape(const soma_dataset *d);
SOMA_API int soma_data_classes(const soma_dataset *d);           /* 0 for regression */
SOMA_API const char *soma_data_class(const soma_dataset *d, int i);
SOMA_API const char *soma_data_describe(const soma_dataset *d);  /* one line: kind, path, count, shape, classes */
SOMA_API const char *soma_data_id(const soma_dataset *d, int64_t i);  /* the id column, file name or number; owned by d */
SOMA_API int64_t soma_data_skipped(const soma_dataset *d);       /* samples left out by skip_bad */
/* One sample as numbers: x has room for the product of the shape (images: 0 … 1), y for one number (the class or the
 * target, NaN when unlabelled; NULL: not wanted; so may x be). Thread-safe. */
SOMA_API soma_status soma_data_get(const soma_dataset *d, int64_t i, float *x, double *y);
/* Mean and standard deviation (of the population) per channel (images) or per feature (tables), over the whole set; 1 as the
 * deviation where all values are equal, so that dividing by it is safe. */
typedef struct soma_norm_stats {
    int n;          /* channels or features */
    double *mean, *std;
} soma_norm_stats;
SOMA_API soma_status soma_data_stats(const soma_dataset *d, soma_norm_stats *out);
SOMA_API void soma_norm_stats_free(soma_norm_stats *s);

/* Two disjoint parts, neither empty; `fraction` of the samples go to *second. Stratified by class (largest remainders) unless
 * `plain`. Same seed, same split. Free both. */
SOMA_API soma_status soma_data_split(soma_dataset *d, double fraction, uint64_t seed, bool plain, soma_dataset **first,
                                     soma_dataset **second);
SOMA_API soma_dataset *soma_data_subset(soma_dataset *d, const int64_t *index, int64_t n);

/* ---- Loading batches -------------------------------------------------------------------------------------------------- */

typedef struct soma_loader soma_loader;
typedef struct soma_loader_opts {
    int64_t batch_size;            /* 0: 1, as PyTorch */
    bool shuffle, drop_last;
    uint64_t seed;                 /* order and transforms are a function of (seed, epoch) and nothing else */
    int workers;                   /* threads that prepare batches ahead; 0: one; negative: none, in the caller's thread */
    int prefetch;                  /* batches ahead; 0: 2 a worker */
    const soma_norm_stats *norm;   /* (x - mean) / std; NULL: none; copied */
    bool flip;                     /* images: mirrored with probability 1/2 */
    int shift;                     /* images: moved by up to so many pixels in each direction, edges 0 before normalisation */
    int crop;                      /* images: random crop after padding by so many pixels, same size (He et al. 2016) */
    bool reconstruct;              /* y is x itself, for autoencoders; the data's own targets are left out */
    double erase;                  /* images: probability of a random rectangle of zeros, after normalisation (Zhong et al. 2020) */
    int cutout;                    /* images: side of a square of zeros, its centre anywhere in the image (DeVries & Taylor 2017) */
    size_t size;
} soma_loader_opts;
/* `d` is kept referenced. Batches: x f32 [B, …shape]; y i64 [B] for classes, f32 [B, 1] for regression, NULL when unlabelled. */
#define soma_loader_new(...) soma__loader_new(__VA_ARGS__, .size = sizeof(soma_loader_opts))
#define soma__loader_new(d, ...) soma_loader_new_ex((d), &(soma_loader_opts){__VA_ARGS__})
SOMA_API soma_loader *soma_loader_new_ex(soma_dataset *d, const soma_loader_opts *opts);
/* Stops its threads and releases what the last step made, as soma_loader_next does. */
SOMA_API void soma_loader_free(soma_loader *l);

typedef struct soma_batch {
    soma_tensor *x, *y;        /* belong to the loader's scope: released by the next soma_loader_next */
    int64_t index;             /* of the batch in the epoch, from 0 */
    int64_t epoch;             /* from 0 */
    int64_t count;             /* samples in this batch */
    const int64_t *samples;    /* their places in the data set */
    size_t size;
} soma_batch;
/* Releases everything the last step made and gives the next batch; false at the end of an epoch or with an error pending.
 * The call after the end starts the next epoch; after an error was cleared, the batch that failed is tried again. */
SOMA_API bool soma_loader_next(soma_loader *l, soma_batch *batch);
SOMA_API int64_t soma_loader_batches(const soma_loader *l);  /* in an epoch */
SOMA_API soma_dataset *soma_loader_dataset(const soma_loader *l);
/* What the batches' y is: the data set's task, or SOMA_REGRESS with `reconstruct`. */
SOMA_API soma_task soma_loader_task(const soma_loader *l);
/* The loader was made with `reconstruct`. */
SOMA_API bool soma_loader_reconstructs(const soma_loader *l);
/* The place to go on from: the next soma_loader_next gives batch `batch` of epoch `epoch`; when `batch` is the number of batches,
 * it ends that epoch. */
SOMA_API soma_status soma_loader_seek(soma_loader *l, int64_t epoch, int64_t batch);
SOMA_API void soma_loader_tell(const soma_loader *l, int64_t *epoch, int64_t *batch);

#ifdef __cplusplus
}
#endif
#endif
