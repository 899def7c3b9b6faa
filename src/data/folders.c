/* Folders of images: one folder a class, its name the class; or one folder of images without labels, to be predicted. */
#include "data/dataset.h"

#include <stdio.h>
#include <string.h>

enum { MOST_DEPTH = 8 };

/* Adds the images below folder/inside to d, sorted within each folder; ids are their paths below `folder`. */
static soma_status add_images(soma_dataset *d, const char *folder, const char *inside, int depth) {
    char *here = soma__path_join(folder, inside);
    soma__strings files = {0}, folders = {0};
    soma_status status = here ? soma__list_folder(here, &files, &folders) : SOMA_ENOMEM;
    for (int64_t i = 0; i < files.n && status == SOMA_OK; i++) {
        const char *name = soma__strings_at(&files, i);
        if (!soma__is_image_name(name))
            continue;
        char *id = inside[0] ? soma__path_join(inside, name) : soma__strdup(name);
        char *path = id ? soma__path_join(folder, id) : NULL;
        if (!path || !soma__strings_add(&d->files, path) || !soma__strings_add(&d->ids, id))
            status = SOMA_ENOMEM;
        soma__free(id);
        soma__free(path);
    }
    for (int64_t i = 0; i < folders.n && status == SOMA_OK && depth < MOST_DEPTH; i++) {
        char *deeper = inside[0] ? soma__path_join(inside, soma__strings_at(&folders, i))
                                 : soma__strdup(soma__strings_at(&folders, i));
        status = deeper ? add_images(d, folder, deeper, depth + 1) : SOMA_ENOMEM;
        soma__free(deeper);
    }
    soma__strings_free(&files);
    soma__strings_free(&folders);
    soma__free(here);
    return status;
}

typedef struct class_list {
    const char *folder;
    const soma_dataset *d;
    const char **texts; /* the class folder of each image */
} class_list;

static const char *image_place(const void *user, int64_t i, char *out, size_t size) {
    const class_list *c = user;
    snprintf(out, size, "%s", soma__strings_at(&c->d->files, i));
    return out;
}

/* All images of all class folders, and the name of the folder of each. */
static soma_status list_classes(soma_dataset *d, class_list *c, const soma__strings *names) {
    soma_status status = SOMA_OK;
    int64_t room = 0;
    for (int64_t k = 0; k < names->n && status == SOMA_OK; k++) {
        int64_t before = d->files.n;
        status = add_images(d, c->folder, soma__strings_at(names, k), 1);
        if (status == SOMA_OK && d->files.n > room) {
            room = SOMA_MAX(room * 2, d->files.n);
            const char **larger = soma__realloc(c->texts, (size_t)room * sizeof *larger);
            if (!larger)
                return SOMA_ENOMEM;
            c->texts = larger;
        }
        for (int64_t i = before; i < d->files.n && status == SOMA_OK; i++)
            c->texts[i] = soma__strings_at(names, k);
    }
    if (status == SOMA_OK && d->files.n == 0) {
        char list[300];
        return soma_fail(SOMA_ENOTFOUND, "%s: there is no PNG or JPEG in its folders (%s)", c->folder,
                         soma__strings_show(names, 10, list, sizeof list));
    }
    return status;
}

/* Class names from the folders of the training part, so that a test part that lacks a class means the same by its labels. */
static soma_status classes_from(soma_dataset *d, const char *all, const soma_data_opts *opts) {
    soma__strings folders = {0};
    soma_status status = soma__list_folder(all, NULL, &folders);
    const char **names = status == SOMA_OK && folders.n > 0 ? soma__alloc((size_t)folders.n * sizeof *names) : NULL;
    if (status == SOMA_OK && folders.n > 0 && !names)
        status = SOMA_ENOMEM;
    for (int64_t i = 0; i < folders.n && names; i++)
        names[i] = soma__strings_at(&folders, i);
    soma_dataset *scratch = names ? soma__dataset_new(&soma__data_memory) : NULL;
    if (names && !scratch)
        status = SOMA_ENOMEM;
    if (scratch && (status = soma__label_texts(scratch, names, folders.n, opts, NULL, NULL)) == SOMA_OK) {
        for (int64_t i = 0; i < scratch->classes.n; i++)
            names[i] = soma__strings_at(&scratch->classes, i);
        status = soma__classes_set(d, names, scratch->classes.n);
    }
    soma_data_free(scratch);
    soma__free(names);
    soma__strings_free(&folders);
    return status;
}

soma_dataset *soma__open_class_folders(const char *folder, const char *all, const soma_data_opts *opts) {
    soma__strings names = {0};
    soma_dataset *d = soma__list_folder(folder, NULL, &names) == SOMA_OK ? soma__dataset_new(&soma__data_memory) : NULL;
    class_list c = {.folder = folder, .d = d};
    soma_status status = d ? SOMA_OK : SOMA_ENOMEM;
    if (status == SOMA_OK && all && opts->n_classes == 0)
        status = classes_from(d, all, opts);
    if (status == SOMA_OK)
        status = list_classes(d, &c, &names);
    if (status == SOMA_OK)
        status = soma__label_texts(d, c.texts, d->files.n, opts, image_place, &c);
    if (status == SOMA_OK)
        status = soma__images_load(d, opts);
    soma__free(c.texts);
    soma__strings_free(&names);
    if (status != SOMA_OK) {
        soma_data_free(d);
        return NULL;
    }
    return soma__dataset_finish(d, "a folder per class in %s", folder);
}

soma_dataset *soma__open_image_folder(const char *folder, const soma_data_opts *opts) {
    soma_dataset *d = soma__dataset_new(&soma__data_memory);
    if (!d)
        return NULL;
    soma_status status = add_images(d, folder, "", MOST_DEPTH);
    if (status == SOMA_OK && opts->n_classes > 0)
        status = soma__classes_set(d, opts->classes, opts->n_classes);
    if (status == SOMA_OK)
        status = soma__images_load(d, opts);
    if (status != SOMA_OK) {
        soma_data_free(d);
        return NULL;
    }
    return soma__dataset_finish(d, "images in %s", folder);
}
