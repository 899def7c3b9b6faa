/* A folder of small PNG files, a folder for each class: opened, decoded and handed out in batches, once. */
#include "workload.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

static int64_t images, batch;

/* Writes the images, unless the last of them is there. */
static bool make_folder(const workload *w) {
    int64_t classes = spec_int(w, "classes", 10), size[SOMA_MAX_DIMS];
    int n = spec_shape(w, "size", 0, size);
    char path[4096];
    struct stat there;
    snprintf(path, sizeof path, "%s/%d/%05lld.png", w->folder, (int)((images - 1) % classes), (long long)(images - 1));
    if (n != 2 || stat(path, &there) == 0)
        return n == 2;
    soma_dataset *drawn = soma_data_drawn(images, 1);
    float *x = malloc((size_t)(size[0] * size[1]) * sizeof *x);
    mkdir(w->folder, 0777);
    for (int64_t i = 0; i < images && x && drawn && soma_error() == SOMA_OK; i++) {
        uint8_t pixels[4096];
        soma_data_get(drawn, i, x, NULL);
        for (int64_t p = 0; p < size[0] * size[1] && p < 4096; p++)
            pixels[p] = (uint8_t)(x[p] * 255 + 0.5f);
        snprintf(path, sizeof path, "%s/%d", w->folder, (int)(i % classes));
        mkdir(path, 0777);
        snprintf(path, sizeof path, "%s/%d/%05lld.png", w->folder, (int)(i % classes), (long long)i);
        soma_image image = {.width = (int)size[1], .height = (int)size[0], .channels = 1, .pixels = pixels};
        if (soma_image_write_png(path, &image) != SOMA_OK)
            break;
    }
    free(x);
    soma_data_free(drawn);
    return soma_error() == SOMA_OK;
}

/* Sums of all pixels (0 … 255) and of all classes. */
static void read_all(const workload *w, double *pixels, double *classes) {
    soma_dataset *set = soma_data_open(w->folder);
    soma_loader *loader = soma_loader_new(set, .batch_size = batch);
    int64_t n = 0;
    for (soma_batch b; soma_loader_next(loader, &b); n += b.count) {
        if (!pixels)
            continue;
        *pixels += soma_item(soma_sum(soma_mul_scalar(b.x, 255), SOMA_ALL, false));
        *classes += soma_item(soma_sum(b.y, SOMA_ALL, false));
    }
    soma_loader_free(loader);
    soma_data_free(set);
    if (n != images)
        soma_fail(SOMA_EINVAL, "%s: %lld images, not %lld", w->folder, (long long)n, (long long)images);
}

static void step(workload *w) { read_all(w, NULL, NULL); }

static void compare(workload *w, record *r, int steps) {
    double sums[2] = {0};
    (void)steps;
    read_all(w, &sums[0], &sums[1]);
    record_add(r, "sums", -1, soma_from_array(sums, SOMA_SHAPE(2), SOMA_F64));
}

bool files_open(workload *w) {
    images = spec_int(w, "images", 0);
    batch = spec_int(w, "batch", 1);
    w->step = step;
    w->compare = compare;
    return make_folder(w);
}
