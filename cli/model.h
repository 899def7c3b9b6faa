/* A trained network with what its file says of its data: what train writes there, and eval, predict and summary read. */
#ifndef SOMA_CLI_MODEL_H
#define SOMA_CLI_MODEL_H

#include "options.h"

#include <soma/soma.h>

#include <jansson.h>

/* The metadata of a model file besides soma.network:
 *     soma.task      "classify", "regress" or "reconstruct"
 *     soma.loss      the loss it was trained with
 *     soma.classes   ["T-shirt/top", …], classification
 *     soma.target    the target column's name, tables
 *     soma.input     {"kind": "image", "shape": [1, 28, 28]} or {"kind": "features", "shape": [13], "names": ["age", …]}
 *     soma.mean, soma.std   a number a channel or feature; absent: inputs are not normalised */
typedef struct model {
    char path[4096];
    soma_module *net;
    soma_tensor_file *file;
    soma_task task;
    bool reconstruct;       /* an autoencoder: task is SOMA_REGRESS, and the target the input */
    soma_loss_fn loss;
    soma_loss_opts loss_opts;    /* its options, when it has a name */
    const char *loss_name, *target;
    int n_classes;
    const char **classes;
    int ndim;               /* of one sample; 0: the file does not say */
    int64_t shape[SOMA_MAX_DIMS];
    bool image;
    const json_t *names;    /* of the features; NULL: not known */
    soma_norm_stats norm;   /* n 0: none */
    json_t *lists;          /* owns the names */
} model;

/* `path`: a model file, or a run folder. 0, or an exit code after a message. */
int model_open(const args *a, const char *path, model *m);
void model_free(model *m);
const char *model_class(const model *m, int64_t i);
/* Data in the form the model takes: its classes, its image size. NULL with the error recorded. */
soma_dataset *model_data(const model *m, const char *path, soma_part part, bool unlabelled, bool skip_bad);
soma_loader *model_loader(const model *m, soma_dataset *d, int64_t batch, int64_t workers);

/* What the network says of a batch, one row a sample, to be freed: classification: a probability for each class; regression: the
 * values; of an autoencoder the mean squared error of its reconstruction. *columns is the length of a row. NULL with the error recorded. */
float *model_scores(const model *m, soma_tensor *x, int64_t *columns);
/* The places of the `k` largest of `n` scores, falling; the first of equals first. */
void top_scores(const float *scores, int64_t n, int k, int64_t *out);

/* The pairs for soma_fit: `room` of at least MODEL_PAIRS; texts belong to `keep`, an array. Returns how many; -1: no memory. */
enum { MODEL_PAIRS = 8 };
int model_pairs(soma_dataset *d, const char *task, const soma_norm_stats *norm, const char *loss, const char *target, json_t *names, json_t *keep,
                soma_pair *pairs);
/* Of a table: the feature columns' names, a new array, and the target's (NULL: the last column's) in `found`, to be freed. NULL for
 * what is no .csv file. */
json_t *table_names(const char *path, const char *target, char **found);

/* Before work that writes files: warnings of the library go to stderr (not with --quiet), and a file-size limit is an error that
 * is reported, not the end of the process. */
void session_begin(const args *a);

/* Forgets soma's pending error, which has been dealt with: the log does not hear of it. */
void drop_error(void);

/* "1 x 28 x 28" of n sizes into `out`. Returns `out`. */
const char *sizes_text(int n, const int64_t *sizes, char *out, size_t size);
/* A number, or null for what JSON has no number for. */
json_t *json_figure(double v);

#endif
