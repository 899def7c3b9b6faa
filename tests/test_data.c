/* Data sets: real ones, small ones of every kind made here, and everything that can be wrong with them. */
#include "data_help.h"

#include <math.h>

#define open_set(...) soma_data_open(__VA_ARGS__)

static double label(const soma_dataset *d, int64_t i)
{
    double y = -1;
    assert_int_equal(soma_data_get(d, i, NULL, &y), SOMA_OK);
    return y;
}

static bool have(const char *path)
{
    struct stat s;
    return stat(path, &s) == 0;
}

static const char *shared(const char *name)
{
    static char path[4][600];
    static int next;
    char *p = path[next++ % 4];
    snprintf(p, sizeof path[0], "%s/data/%s", shared_data(), name);
    return p;
}

#define need(path)                                                                                                     \
    do {                                                                                                               \
        if (!have(path)) {                                                                                             \
            print_message("skipped: no %s (set SOMA_SHARED)\n", (path));                                               \
            skip();                                                                                                    \
        }                                                                                                              \
    } while (0)

/* ---- Real sets ---- */

static void test_fashion(void **state)
{
    (void)state;
    const char *path = shared("fashion-mnist");
    need(path);
    soma_dataset *d = open_set(path);
    check_ok();
    assert_int_equal(soma_data_count(d), 60000);
    assert_int_equal(soma_data_ndim(d), 3);
    assert_int_equal(soma_data_shape(d)[0], 1);
    assert_int_equal(soma_data_shape(d)[1], 28);
    assert_int_equal(soma_data_classes(d), 10);
    assert_string_equal(soma_data_class(d, 9), "Ankle boot");
    check_text(soma_data_describe(d), "60000 images of 1 x 28 x 28, 10 classes (T-shirt/top");
    assert_int_equal(label(d, 0), 9);
    assert_string_equal(soma_data_id(d, 59999), "59999");
    soma_norm_stats s;
    assert_int_equal(soma_data_stats(d, &s), SOMA_OK);
    assert_int_equal(s.n, 1);
    assert_float_equal(s.mean[0], 0.2860, 5e-5); /* as published for the training part */
    assert_float_equal(s.std[0], 0.3530, 5e-5);
    soma_norm_stats_free(&s);
    soma_data_free(d);
    d = open_set(path, .part = SOMA_TEST);
    check_ok();
    assert_int_equal(soma_data_count(d), 10000);
    soma_data_free(d);
}

static void test_mnist(void **state)
{
    (void)state;
    need(shared("mnist"));
    soma_dataset *d = soma_data_idx(shared("mnist"), SOMA_TEST);
    check_ok();
    assert_int_equal(soma_data_count(d), 10000);
    assert_string_equal(soma_data_class(d, 7), "7");
    assert_int_equal(label(d, 0), 7); /* the first test digits are 7 2 1 0 */
    assert_int_equal(label(d, 3), 0);
    soma_data_free(d);
}

/* The PNGs are made from the IDX files: both readers must give the same numbers. */
static void test_apparel_folders(void **state)
{
    (void)state;
    need(shared("apparel-folders"));
    need(shared("fashion-mnist"));
    soma_dataset *all = open_set(shared("fashion-mnist"));
    soma_dataset *d = open_set(shared("apparel-folders/train"));
    check_ok();
    assert_int_equal(soma_data_count(d), 2000);
    assert_int_equal(soma_data_task(d), SOMA_CLASSIFY);
    assert_int_equal(soma_data_classes(d), 10);
    assert_string_equal(soma_data_class(d, 3), "3");
    assert_string_equal(soma_data_id(d, 0), "1");
    static const struct { int id, place; } known[] = {{1, 19316}, {2, 54634}};
    for (int k = 0; k < 2; k++) {
        float a[784], b[784];
        double y, z;
        assert_int_equal(soma_data_get(d, known[k].id - 1, a, &y), SOMA_OK);
        assert_int_equal(soma_data_get(all, known[k].place, b, &z), SOMA_OK);
        assert_memory_equal(a, b, sizeof a);
        assert_true(y == z);
    }
    soma_data_free(d);
    d = open_set(shared("apparel-folders"), .part = SOMA_TEST); /* test.csv, not answers.csv */
    check_ok();
    assert_int_equal(soma_data_count(d), 500);
    assert_int_equal(soma_data_task(d), SOMA_UNLABELLED);
    assert_string_equal(soma_data_id(d, 0), "2001");
    assert_true(isnan(label(d, 0)));
    soma_data_free(d);
    const char *names[10];
    for (int i = 0; i < 10; i++)
        names[i] = soma_data_class(all, i);
    d = open_set(shared("apparel-folders/test/answers.csv"), .n_classes = 10, .classes = names); /* a model of the IDX set */
    check_ok();
    assert_int_equal(soma_data_count(d), 500);
    assert_int_equal(label(d, 1), 9);
    assert_string_equal(soma_data_class(d, 9), "Ankle boot");
    soma_data_free(d);
    soma_data_free(all);
}

/* ---- IDX ---- */

static void make_idx(const char *folder, int n, const uint8_t *labels)
{
    uint8_t pixels[6 * 12];
    for (int i = 0; i < n * 12; i++)
        pixels[i] = (uint8_t)(i * 3);
    put_idx(at("%s/train-images-idx3-ubyte", folder), 3, (int[]){n, 3, 4}, pixels);
    put_idx(at("%s/train-labels-idx1-ubyte", folder), 1, (int[]){n}, labels);
}

static void test_idx(void **state)
{
    (void)state;
    make_idx("idx", 5, (uint8_t[]){1, 0, 2, 2, 1});
    soma_dataset *d = open_set(at("idx"));
    check_ok();
    assert_int_equal(soma_data_classes(d), 3);
    assert_string_equal(soma_data_class(d, 2), "2");
    assert_int_equal(soma_data_shape(d)[1], 3);
    assert_int_equal(soma_data_shape(d)[2], 4);
    float x[12];
    assert_int_equal(soma_data_get(d, 1, x, NULL), SOMA_OK);
    assert_true(x[11] == 69 / 255.0f);
    soma_data_free(d);

    put_text(at("idx/classes.txt"), "hat\r\nscarf\n\nglove\n");
    d = open_set(at("idx"), .channels = 3, .height = 6, .width = 8);
    check_ok();
    assert_string_equal(soma_data_class(d, 1), "scarf");
    assert_int_equal(soma_data_shape(d)[0], 3);
    assert_int_equal(soma_data_shape(d)[1], 6);
    soma_data_free(d);
    /* A model's order rules. */
    d = open_set(at("idx"), .n_classes = 3, .classes = (const char *[]){"glove", "hat", "scarf"});
    check_ok();
    assert_int_equal(label(d, 0), 2);
    assert_int_equal(label(d, 1), 1);
    soma_data_free(d);
    assert_null(open_set(at("idx"), .n_classes = 2, .classes = (const char *[]){"hat", "scarf"}));
    check_error(SOMA_EINVAL, "sample 2: label 'glove' is none of the 2 classes (hat, scarf)");
    put_text(at("idx/classes.txt"), "hat\nscarf\n");
    assert_null(open_set(at("idx")));
    check_error(SOMA_EINVAL, "label 2 of sample 2 is out of range; classes are 0 … 1");

    make_idx("like-fashion-mnist", 4, (uint8_t[]){0, 1, 2, 3});
    d = open_set(at("like-fashion-mnist"));
    check_ok();
    assert_string_equal(soma_data_class(d, 8), "Bag");
    soma_data_free(d);
}

static void test_idx_errors(void **state)
{
    (void)state;
    make_idx("bad", 4, (uint8_t[]){0, 1, 2, 3});
    assert_null(open_set(at("bad"), .part = SOMA_TEST));
    check_error(SOMA_ENOTFOUND, "no labels of the test part: looked for t10k-labels-idx1-ubyte and t10k-labels.idx1-ubyte, with and without .gz");
    put_idx(at("bad/train-labels-idx1-ubyte"), 1, (int[]){3}, (uint8_t[]){0, 1, 2});
    assert_null(open_set(at("bad")));
    check_error(SOMA_EFORMAT, "3 labels, but ");
    put_idx(at("bad/train-labels-idx1-ubyte"), 2, (int[]){2, 2}, (uint8_t[]){0, 1, 2, 3});
    assert_null(open_set(at("bad")));
    check_error(SOMA_EFORMAT, "one row of whole numbers");
    put_idx(at("bad/train-images-idx3-ubyte"), 1, (int[]){4}, (uint8_t[]){0, 1, 2, 3});
    assert_null(open_set(at("bad")));
    check_error(SOMA_EFORMAT, "images must be bytes [N, H, W] or [N, C, H, W], the file has [4] of u8");
    cut(at("bad/train-labels-idx1-ubyte"), 7);
    assert_null(open_set(at("bad")));
    check_error(SOMA_EFORMAT, "train-labels-idx1-ubyte");
    assert_null(soma_data_idx(at("nowhere"), SOMA_TRAIN));
    check_error(SOMA_ENOTFOUND, "nowhere: no such folder");
}

/* ---- Folder and CSV ---- */

static void make_csv_set(const char *folder, const char *csv)
{
    put_text(at("%s/list.csv", folder), csv);
    for (int i = 1; i <= 4; i++)
        put_image(at("%s/images/%d.png", folder, i), 5, 6, 1, i);
}

static void test_csv_images(void **state)
{
    (void)state;
    make_csv_set("c1", "id,label\n1,10\n2,9\n3,10\n4,-1\n");
    soma_dataset *d = open_set(at("c1"));
    check_ok();
    assert_int_equal(soma_data_count(d), 4);
    assert_int_equal(soma_data_classes(d), 3);
    assert_string_equal(soma_data_class(d, 0), "-1"); /* numbers in the order of numbers */
    assert_string_equal(soma_data_class(d, 1), "9");
    assert_string_equal(soma_data_class(d, 2), "10");
    assert_int_equal(label(d, 0), 2);
    assert_int_equal(label(d, 3), 0);
    float x[30];
    assert_int_equal(soma_data_get(d, 2, x, NULL), SOMA_OK);
    assert_true(x[13] == (float)pixel_of(3, 2, 1, 0) / 255.0f);
    soma_data_free(d);

    d = open_set(at("c1/list.csv"), .task = SOMA_REGRESS);
    check_ok();
    assert_int_equal(soma_data_task(d), SOMA_REGRESS);
    assert_true(label(d, 3) == -1);
    soma_data_free(d);

    /* Other columns, another order, text labels, the file's ending in the id, the image beside the CSV. */
    put_text(at("c2/labels.csv"), "\xEF\xBB\xBFLabel,note,ID\r\ncat,x,a.png\r\ndog,y,b\r\n");
    put_image(at("c2/a.png"), 4, 4, 3, 1);
    put_image(at("c2/b.png"), 4, 4, 3, 2);
    d = open_set(at("c2"));
    check_ok();
    assert_int_equal(soma_data_shape(d)[0], 3);
    assert_string_equal(soma_data_class(d, 1), "dog");
    assert_string_equal(soma_data_id(d, 0), "a.png");
    soma_data_free(d);
    d = open_set(at("c2"), .target = "note", .channels = 1, .height = 2, .width = 3);
    check_ok();
    assert_string_equal(soma_data_class(d, 0), "x");
    assert_int_equal(soma_data_shape(d)[0], 1);
    assert_int_equal(soma_data_shape(d)[1], 2);
    assert_int_equal(soma_data_shape(d)[2], 3);
    soma_data_free(d);

    make_csv_set("c3", "id\n4\n2\n");
    d = open_set(at("c3"), .n_classes = 2, .classes = (const char *[]){"no", "yes"});
    check_ok();
    assert_int_equal(soma_data_task(d), SOMA_UNLABELLED);
    assert_string_equal(soma_data_class(d, 1), "yes");
    assert_string_equal(soma_data_id(d, 0), "4");
    soma_data_free(d);
}

static void fails(const char *csv, soma_status status, const char *message)
{
    make_csv_set("cx", csv);
    soma_dataset *d = open_set(at("cx"));
    if (d)
        fail_msg("opened, but expected: %s", message);
    check_error(status, message);
}

static void test_csv_errors(void **state)
{
    (void)state;
    fails("id,lable\n1,0\n", SOMA_ENOTFOUND, "list.csv: no column 'label'; its columns are 'id', 'lable'; did you mean 'lable'?");
    fails("name,label\n1,0\n", SOMA_ENOTFOUND, "no column 'id'; its columns are 'name', 'label'");
    fails("id,label\n1,0\n7,1\n", SOMA_ENOTFOUND, "list.csv:3: there is no image for id '7': looked for ");
    fails("id,label\n1,0\n,1\n", SOMA_EFORMAT, "list.csv:3: the id is empty");
    fails("id,label\n../../secret,0\n", SOMA_EFORMAT, "list.csv:2: the id '../../secret' must be a name inside the folder");
    fails("id,label\n1,0\n2\n", SOMA_EFORMAT, "list.csv:3: 1 cells, and the header has 2");
    fails("id,label\n1,0\n2,\n", SOMA_EFORMAT, "list.csv:3: id '2': the label is empty");
    fails("id,label\n", SOMA_EFORMAT, "list.csv: a header and no rows");
    make_csv_set("cy", "id,label\n1,shirt\n2,hat\n");
    assert_null(open_set(at("cy"), .n_classes = 2, .classes = (const char *[]){"shirt", "coat"}));
    check_error(SOMA_EINVAL, "list.csv:3: id '2': label 'hat' is none of the 2 classes (shirt, coat)");
    assert_null(open_set(at("cy"), .task = SOMA_REGRESS));
    check_error(SOMA_EFORMAT, "list.csv:2: column 2 (label): \"shirt\" is not a finite number");
    assert_null(open_set(at("cy"), .target = "price"));
    check_error(SOMA_ENOTFOUND, "no column 'price'");
    assert_null(open_set(at("cy"), .channels = 2));
    check_error(SOMA_EINVAL, "1 (grey) or 3 (RGB) channels, not 2");
    assert_null(open_set(at("cy"), .height = 9));
    check_error(SOMA_EINVAL, "not 9 x 0");
    put_text(at("cy/other.csv"), "id,label\n1,1\n");
    assert_null(open_set(at("cy")));
    check_error(SOMA_EINVAL, "2 CSV files (list.csv, other.csv), and none is called cy.csv, train.csv or labels.csv");
}

/* ---- Damaged images ---- */

static void make_damaged(const char *folder)
{
    make_csv_set(folder, "id,label\n1,0\n2,1\n3,0\n4,1\n9,1\n");
    cut(at("%s/images/1.png", folder), 40);
    put_text(at("%s/images/3.png", folder), "GIF89a is neither PNG nor JPEG");
}

static void check_left(soma_dataset *d)
{
    check_ok();
    assert_int_equal(soma_data_count(d), 2);
    assert_int_equal(soma_data_skipped(d), 3);
    assert_string_equal(soma_data_id(d, 0), "2");
    assert_string_equal(soma_data_id(d, 1), "4");
    assert_int_equal(label(d, 0), 1);
    float x[30];
    assert_int_equal(soma_data_get(d, 1, x, NULL), SOMA_OK);
    assert_true(x[0] == (float)pixel_of(4, 0, 0, 0) / 255.0f);
    check_text(soma_data_describe(d), "3 left out");
}

static void test_damaged(void **state)
{
    (void)state;
    make_damaged("dam");
    assert_null(open_set(at("dam")));
    check_error(SOMA_ENOTFOUND, "list.csv:6: there is no image for id '9'");
    put_image(at("dam/images/9.png"), 5, 6, 1, 9);
    assert_null(open_set(at("dam")));
    check_error(SOMA_EFORMAT, "images/1.png");
    assert_int_equal(unlink(at("dam/images/9.png")), 0);
    log_begin();
    soma_dataset *d = open_set(at("dam"), .skip_bad = true);
    log_end();
    check_left(d);
    assert_int_equal(n_logged, 3);
    check_text(logged, "left out: ");
    check_text(logged, "id '9'");
    check_text(logged, "images/1.png");
    check_text(logged, "images/3.png");
    soma_data_free(d);

    put_image(at("dam/images/2.png"), 7, 6, 1, 2);
    assert_null(open_set(at("dam"), .skip_bad = true)); /* another size is no damage */
    check_error(SOMA_ESHAPE, "images/4.png: 5 x 6 pixels (height x width), but the first image of the set has 7 x 6; give a height and a width");
    d = open_set(at("dam"), .skip_bad = true, .height = 5, .width = 6);
    check_ok();
    assert_int_equal(soma_data_count(d), 2);
    soma_data_free(d);
}

static void test_all_damaged(void **state)
{
    (void)state;
    put_text(at("ad/list.csv"), "id,label\n1,0\n2,1\n");
    put_text(at("ad/images/1.png"), "no");
    put_text(at("ad/images/2.png"), "no");
    assert_null(open_set(at("ad"), .skip_bad = true));
    check_error(SOMA_EFORMAT, "images/");
}

/* Warnings name the first ten, in the order of the files, whatever the threads did. */
static void test_many_damaged(void **state)
{
    (void)state;
    put_image(at("many/good/000.png"), 4, 4, 1, 1);
    for (int i = 1; i < 60; i++)
        put_text(at("many/good/%03d.png", i), "no image");
    for (int threads = 1; threads <= 4; threads += 3) {
        soma_set_threads(threads);
        log_begin();
        soma_dataset *d = open_set(at("many"), .skip_bad = true);
        log_end();
        check_ok();
        assert_int_equal(soma_data_count(d), 1);
        assert_int_equal(soma_data_skipped(d), 59);
        assert_int_equal(n_logged, 11);
        const char *p = logged;
        for (int i = 1; i <= 10; i++) {
            char name[32];
            snprintf(name, sizeof name, "good/%03d.png", i);
            p = strstr(p, name);
            assert_non_null(p);
        }
        soma_data_free(d);
        assert_null(open_set(at("many")));
        check_error(SOMA_EFORMAT, "good/001.png");
    }
    soma_set_threads(0);
}

static void test_lazy(void **state)
{
    (void)state;
    make_damaged("lazy");
    int64_t was = soma__data_in_memory;
    soma__data_in_memory = 0;
    cut(at("lazy/images/1.png"), 12); /* even the header is gone */
    soma_dataset *d = open_set(at("lazy"), .skip_bad = true);
    check_left(d);
    soma_norm_stats s, t;
    assert_int_equal(soma_data_stats(d, &s), SOMA_OK);
    soma__data_in_memory = was;
    soma_dataset *e = open_set(at("lazy"), .skip_bad = true);
    assert_int_equal(soma_data_stats(e, &t), SOMA_OK);
    assert_true(s.mean[0] == t.mean[0] && s.std[0] == t.std[0]);
    soma_norm_stats_free(&s);
    soma_norm_stats_free(&t);
    soma_data_free(e);
    cut(at("lazy/images/4.png"), 50);
    float x[30];
    assert_int_not_equal(soma_data_get(d, 1, x, NULL), SOMA_OK);
    check_error(SOMA_EFORMAT, "images/4.png");
    soma_data_free(d);
    soma__data_in_memory = 0;
    put_image(at("lazy/images/1.png"), 5, 6, 1, 1);
    put_image(at("lazy/images/3.png"), 5, 7, 1, 3);
    put_image(at("lazy/images/9.png"), 5, 6, 1, 3);
    assert_null(open_set(at("lazy")));
    check_error(SOMA_ESHAPE, "images/3.png: 5 x 7 pixels");
    soma__data_in_memory = was;
}

/* The header's size is the decoder's for every image that can be decoded. */
static void test_headers(void **state)
{
    (void)state;
    static const char *const folders[] = {"pngsuite", "photos", "jpeg-mozilla", "jpeg-misc", "damaged"};
    int compared = 0, refused = 0;
    for (size_t f = 0; f < SOMA_LEN(folders); f++) {
        char folder[700], path[1200];
        snprintf(folder, sizeof folder, "%s/%s", shared("image-decoders"), folders[f]);
        need(folder);
        soma__strings files = {0};
        assert_int_equal(soma__list_folder(folder, &files, NULL), SOMA_OK);
        for (int64_t i = 0; i < files.n; i++) {
            snprintf(path, sizeof path, "%s/%s", folder, soma__strings_at(&files, i));
            soma_image image = {0};
            int height = 0, width = 0;
            bool decoded = soma_image_read(path, 0, &image) == SOMA_OK;
            soma_error_clear();
            soma_status header = soma__image_header(path, &height, &width);
            soma_error_clear();
            if (decoded && (header != SOMA_OK || height != image.height || width != image.width))
                fail_msg("%s: %d x %d, header %d x %d", path, image.height, image.width, height, width);
            compared += decoded;
            refused += header != SOMA_OK;
            soma_image_free(&image);
        }
        soma__strings_free(&files);
    }
    assert_true(compared > 200 && refused > 5);
}

/* ---- A folder per class ---- */

static void test_class_folders(void **state)
{
    (void)state;
    for (int k = 0; k < 3; k++)
        for (int i = 0; i < 2; i++)
            put_image(at("cls/%d/%c.png", k == 2 ? 10 : k + 2, 'b' - i), 3, 3, 1, 10 * k + i);
    put_text(at("cls/2/notes.txt"), "no image");
    soma_dataset *d = open_set(at("cls"));
    check_ok();
    assert_int_equal(soma_data_count(d), 6);
    assert_string_equal(soma_data_class(d, 0), "2");
    assert_string_equal(soma_data_class(d, 2), "10");
    assert_string_equal(soma_data_id(d, 0), "10/a.png"); /* folders and files by bytes, classes by number */
    assert_int_equal(label(d, 0), 2);
    soma_data_free(d);

    put_image(at("parts/train/cat/1.png"), 3, 3, 1, 0);
    put_image(at("parts/train/dog/deep/2.png"), 3, 3, 1, 1);
    put_image(at("parts/train/eel/3.png"), 3, 3, 1, 2);
    put_image(at("parts/val/eel/4.png"), 3, 3, 1, 3);
    d = open_set(at("parts"));
    check_ok();
    assert_int_equal(soma_data_count(d), 3);
    assert_string_equal(soma_data_id(d, 1), "dog/deep/2.png");
    soma_data_free(d);
    d = open_set(at("parts"), .part = SOMA_TEST);
    check_ok();
    assert_int_equal(soma_data_classes(d), 3); /* as in training */
    assert_int_equal(label(d, 0), 2);
    soma_data_free(d);
    put_image(at("parts/val/fly/5.png"), 3, 3, 1, 3);
    assert_null(open_set(at("parts"), .part = SOMA_TEST));
    check_error(SOMA_EINVAL, "val/fly/5.png: label 'fly' is none of the 3 classes (cat, dog, eel)");

    put_image(at("only/train/a/1.png"), 3, 3, 1, 0);
    put_image(at("only/train/b/1.png"), 3, 3, 1, 0);
    assert_null(open_set(at("only"), .part = SOMA_TEST));
    check_error(SOMA_ENOTFOUND, "no test part: looked for the folders test, testing, val, valid and validation, found train");
    /* A class may be called train. */
    put_image(at("vehicles/train/1.png"), 3, 3, 1, 0);
    put_image(at("vehicles/bus/1.png"), 3, 3, 1, 0);
    d = open_set(at("vehicles"));
    check_ok();
    assert_string_equal(soma_data_class(d, 1), "train");
    soma_data_free(d);
    d = open_set(at("vehicles/bus"));
    check_ok();
    assert_int_equal(soma_data_task(d), SOMA_UNLABELLED);
    assert_string_equal(soma_data_id(d, 0), "1.png");
    soma_data_free(d);

    put_text(at("empty/a/x.txt"), "x");
    put_text(at("empty/b/x.txt"), "x");
    assert_null(open_set(at("empty")));
    check_error(SOMA_ENOTFOUND, "there is no PNG or JPEG in its folders (a, b)");
}

static void test_open_errors(void **state)
{
    (void)state;
    assert_null(open_set(at("missing")));
    check_error(SOMA_ENOTFOUND, "missing: no such file or folder");
    put_text(at("odd/readme.md"), "x");
    assert_null(open_set(at("odd")));
    check_error(SOMA_ENOTFOUND, "odd: no data set: looked for IDX files (train-images-idx3-ubyte …), a CSV, a folder per class, and images; "
                                "found 1 files (readme.md) and 0 folders");
    assert_null(open_set(at("odd/readme.md")));
    check_error(SOMA_EUNSUPPORTED, "readme.md: no data set that soma knows");
    assert_null(open_set("drawn:many"));
    check_error(SOMA_EINVAL, "'drawn:many': \"drawn:N\" needs a number");
    assert_null(open_set("drawn:5", .n_classes = 3));
    check_error(SOMA_EINVAL, "n_classes is 3, but no names");
    assert_null(open_set(NULL));
    check_error(SOMA_EINVAL, "no path");
    soma_fail(SOMA_EINVAL, "an earlier error");
    assert_null(open_set("drawn:5"));
    check_error(SOMA_EINVAL, "an earlier error");
}

/* ---- Tables ---- */

static void test_table(void **state)
{
    (void)state;
    const char *path = at("t/houses.csv");
    put_text(path, "Id,rooms,area,price\nh1,3,70.5,100\nh2,4,90,150.5\nh3,2,50,80\n");
    soma_dataset *d = open_set(path, .task = SOMA_REGRESS);
    check_ok();
    assert_int_equal(soma_data_task(d), SOMA_REGRESS);
    assert_int_equal(soma_data_ndim(d), 1);
    assert_int_equal(soma_data_shape(d)[0], 2);
    assert_int_equal(soma_data_classes(d), 0);
    assert_string_equal(soma_data_id(d, 1), "h2");
    float x[2];
    double y;
    assert_int_equal(soma_data_get(d, 1, x, &y), SOMA_OK);
    assert_true(x[0] == 4 && x[1] == 90 && y == 150.5);
    soma_norm_stats s;
    assert_int_equal(soma_data_stats(d, &s), SOMA_OK);
    assert_int_equal(s.n, 2);
    assert_float_equal(s.mean[0], 3, 1e-12);
    assert_float_equal(s.std[0], sqrt(2.0 / 3), 1e-12);
    soma_norm_stats_free(&s);
    soma_data_free(d);
    d = open_set(path, .auto_task = true); /* 150.5 is not whole */
    assert_int_equal(soma_data_task(d), SOMA_REGRESS);
    soma_data_free(d);
    d = open_set(path, .auto_task = true, .target = "rooms");
    assert_int_equal(soma_data_task(d), SOMA_CLASSIFY);
    assert_int_equal(soma_data_classes(d), 3);
    assert_int_equal(label(d, 1), 2);
    assert_int_equal(soma_data_shape(d)[0], 2);
    soma_data_free(d);
    d = open_set(path, .task = SOMA_UNLABELLED);
    assert_int_equal(soma_data_task(d), SOMA_UNLABELLED);
    assert_int_equal(soma_data_shape(d)[0], 3);
    soma_data_free(d);
    put_text(at("t/iris.csv"), "a,b,kind\n1,2,setosa\n3,4,virginica\n5,6,setosa\n");
    d = open_set(at("t/iris.csv"), .auto_task = true);
    check_ok();
    assert_string_equal(soma_data_class(d, 1), "virginica");
    check_text(soma_data_describe(d), "(target 'kind'): 3 samples of [2], 2 classes (setosa, virginica)");
    soma_data_free(d);
    /* 21 different whole numbers are too many for classes. */
    char text[400] = "x,y\n";
    for (int i = 0; i < 21; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "%d,%d\n", i, i);
    put_text(at("t/count.csv"), text);
    d = open_set(at("t/count.csv"), .auto_task = true);
    assert_int_equal(soma_data_task(d), SOMA_REGRESS);
    soma_data_free(d);
}

static void table_fails(const char *csv, soma_status status, const char *message)
{
    put_text(at("t/bad.csv"), csv);
    assert_null(open_set(at("t/bad.csv"), .task = SOMA_REGRESS));
    check_error(status, message);
}

static void test_table_errors(void **state)
{
    (void)state;
    table_fails("a,b\n1,2\n3,x\n", SOMA_EFORMAT, "bad.csv:3: column 2 (b): \"x\" is not a finite number");
    table_fails("a,b\n1,2\n,4\n", SOMA_EFORMAT, "bad.csv:3: column 1 (a) is empty");
    table_fails("a,b\n1,2\n1,2,3\n", SOMA_EFORMAT, "bad.csv:3: 3 cells, and the header has 2");
    table_fails("a,b\n1e99,2\n", SOMA_EFORMAT, "bad.csv:2: column 1 (a): 1e+99 is too large");
    table_fails("a\n1\n", SOMA_EFORMAT, "no column is left as a feature");
    table_fails("a,b\n", SOMA_EFORMAT, "a header and no rows");
    table_fails("", SOMA_EFORMAT, "bad.csv");
    put_text(at("t/bad.csv"), "a,prize,c\n1,2,x\nq,2,x\n5,6,y\n");
    assert_null(open_set(at("t/bad.csv"), .target = "price"));
    check_error(SOMA_ENOTFOUND, "no column 'price'; its columns are 'a', 'prize', 'c'; did you mean 'prize'?");
    soma_dataset *d = open_set(at("t/bad.csv"), .skip_bad = true);
    check_ok();
    assert_int_equal(soma_data_count(d), 2);
    assert_int_equal(soma_data_skipped(d), 1);
    assert_int_equal(label(d, 1), 1);
    soma_data_free(d);
    assert_null(open_set(at("t/bad.csv"), .skip_bad = true, .n_classes = 1, .classes = (const char *[]){"x"}));
    check_error(SOMA_EINVAL, "bad.csv:4: column 3 (c): label 'y' is none of the 1 classes (x)");
}

/* ---- Arrays ---- */

static soma_status put_npy(const char *path, const void *data, int ndim, const int64_t *shape, soma_dtype dtype)
{
    soma_scope scope = soma_scope_begin();
    soma_status status = soma_npy_write(path, soma_from_array(data, ndim, shape, dtype));
    soma_scope_end(scope);
    return status;
}

static void test_npy(void **state)
{
    (void)state;
    uint8_t pixels[2 * 2 * 2 * 3];
    for (int i = 0; i < 24; i++)
        pixels[i] = (uint8_t)(10 * i);
    assert_int_equal(put_npy(at("n/x.npy"), pixels, SOMA_SHAPE(2, 2, 2, 3), SOMA_U8), SOMA_OK);
    assert_int_equal(put_npy(at("n/y.npy"), (int32_t[]){4, 0}, SOMA_SHAPE(2), SOMA_I32), SOMA_OK);
    soma_dataset *d = open_set(at("n/x.npy"));
    check_ok();
    assert_int_equal(soma_data_shape(d)[0], 3); /* channels last in the file, first here */
    assert_int_equal(soma_data_classes(d), 5);
    assert_int_equal(label(d, 0), 4);
    float x[12];
    assert_int_equal(soma_data_get(d, 0, x, NULL), SOMA_OK);
    assert_true(x[1] == 30 / 255.0f && x[4] == 10 / 255.0f);
    soma_data_free(d);
    assert_int_equal(put_npy(at("n/v.npy"), (double[]){1, 2, 3, 4, 5, 6}, SOMA_SHAPE(3, 2), SOMA_F64), SOMA_OK);
    assert_null(open_set(at("n/v.npy")));
    check_error(SOMA_EFORMAT, "y.npy: 2 targets, but ");
    assert_int_equal(put_npy(at("n/v.labels.npy"), (float[]){.5f, 1, 2}, SOMA_SHAPE(3, 1), SOMA_F32), SOMA_OK);
    d = open_set(at("n/v.npy"));
    check_ok();
    assert_int_equal(soma_data_task(d), SOMA_REGRESS);
    assert_true(label(d, 0) == .5);
    soma_data_free(d);
    d = open_set(at("n/v.npy"), .task = SOMA_UNLABELLED);
    check_ok();
    assert_int_equal(soma_data_task(d), SOMA_UNLABELLED);
    soma_data_free(d);
    put_text(at("n/w.npy"), "not an array");
    assert_null(open_set(at("n/w.npy")));
    check_error(SOMA_EFORMAT, "w.npy");
}

/* ---- In memory ---- */

static void test_tensors(void **state)
{
    (void)state;
    soma_scope scope = soma_scope_begin();
    soma_tensor *x = SOMA_TENSOR(SOMA_SHAPE(3, 2), 1, 2, 3, 4, 5, 6);
    soma_dataset *d = soma_data_tensors(x, soma_from_array((int64_t[]){2, 0, 1}, SOMA_SHAPE(3), SOMA_I64));
    check_ok();
    soma_scope_end(scope); /* the set keeps what it needs */
    float v[2];
    double y;
    assert_int_equal(soma_data_get(d, 2, v, &y), SOMA_OK);
    assert_true(v[0] == 5 && v[1] == 6 && y == 1);
    assert_string_equal(soma_data_id(d, 2), "2");
    assert_int_equal(soma_data_get(d, 3, v, &y), SOMA_EINVAL);
    check_error(SOMA_EINVAL, "there is no sample 3; the data set has 3");
    assert_null(soma_data_class(d, 3));
    check_error(SOMA_EINVAL, "there is no class 3");
    assert_null(soma_data_id(d, -1));
    check_error(SOMA_EINVAL, "there is no sample -1");
    soma_data_free(d);
    scope = soma_scope_begin();
    x = SOMA_TENSOR(SOMA_SHAPE(3, 2), 1, 2, 3, 4, 5, 6);
    assert_null(soma_data_tensors(x, SOMA_TENSOR(SOMA_SHAPE(2), 1, 2)));
    check_error(SOMA_ESHAPE, "got x [3, 2] and y [2]");
    assert_null(soma_data_tensors(x, soma_from_array((int64_t[]){2, -5, 1}, SOMA_SHAPE(3), SOMA_I64)));
    check_error(SOMA_EINVAL, "label -5 of sample 1 is out of range");
    assert_null(soma_data_tensors(NULL, NULL));
    check_error(SOMA_EINVAL, "x is NULL");
    d = soma_data_tensors(x, SOMA_TENSOR(SOMA_SHAPE(3, 2), 1, 2, 3, 4, 5, 6));
    assert_int_equal(soma_data_get(d, 0, v, &y), SOMA_EUNSUPPORTED);
    check_error(SOMA_EUNSUPPORTED, "a sample has 2 targets");
    soma_data_free(d);
    soma_scope_end(scope);
}

static void test_images(void **state)
{
    (void)state;
    uint8_t pixels[2 * 3 * 2 * 2];
    for (int i = 0; i < 24; i++)
        pixels[i] = (uint8_t)(i < 12 ? 0 : 255);
    soma_dataset *d = soma_data_images(pixels, (int64_t[]){1, 0}, 2, 3, 2, 2);
    check_ok();
    soma_norm_stats s;
    assert_int_equal(soma_data_stats(d, &s), SOMA_OK);
    assert_int_equal(s.n, 3);
    assert_float_equal(s.mean[2], 0.5, 1e-15);
    assert_float_equal(s.std[2], 0.5, 1e-15);
    soma_norm_stats_free(&s);
    soma_dataset *one = soma_data_subset(d, (int64_t[]){1}, 1);
    assert_int_equal(soma_data_stats(one, &s), SOMA_OK);
    assert_true(s.mean[0] == 1 && s.std[0] == 1); /* all equal: 1, so that dividing is safe */
    soma_norm_stats_free(&s);
    soma_data_free(d);
    assert_int_equal(label(one, 0), 0); /* the subset keeps its source */
    soma_dataset *same = soma_data_subset(one, (int64_t[]){0, 0}, 2);
    assert_string_equal(soma_data_id(same, 1), "1");
    check_text(soma_data_describe(same), "part of images in memory: 2 images of 3 x 2 x 2, 2 classes (0, 1)");
    soma_data_free(one);
    soma_data_free(same);
    assert_null(soma_data_images(pixels, (int64_t[]){-1, 0}, 2, 3, 2, 2));
    check_error(SOMA_EINVAL, "label -1 of sample 0 is out of range");
    assert_null(soma_data_images(pixels, NULL, 0, 3, 2, 2));
    check_error(SOMA_EINVAL, "sizes of at least 1");
}

/* ---- Splits ---- */

static void test_split(void **state)
{
    (void)state;
    enum { N = 103 };
    uint8_t pixels[N] = {0};
    int64_t labels[N], count[3] = {0};
    for (int i = 0; i < N; i++) {
        labels[i] = i < 60 ? 0 : i < 90 ? 1 : 2; /* 60, 30, 13 */
        pixels[i] = (uint8_t)i;
    }
    soma_dataset *d = soma_data_images(pixels, labels, N, 1, 1, 1), *a, *b, *c, *e;
    assert_int_equal(soma_data_split(d, 0.2, 7, false, &a, &b), SOMA_OK);
    assert_int_equal(soma_data_count(b), 21); /* round(20.6) */
    assert_int_equal(soma_data_count(a), N - 21);
    bool seen[N] = {false};
    for (int part = 0; part < 2; part++)
        for (int64_t i = 0; i < soma_data_count(part ? b : a); i++) {
            int id = atoi(soma_data_id(part ? b : a, i));
            assert_false(seen[id]);
            seen[id] = true;
            count[labels[id]] += part;
        }
    assert_int_equal(count[0], 12); /* shares 12, 6, 2.6: the last has the largest remainder */
    assert_int_equal(count[1], 6);
    assert_int_equal(count[2], 3);
    assert_int_equal(soma_data_split(d, 0.2, 7, false, &c, &e), SOMA_OK);
    int same_other = 0;
    for (int64_t i = 0; i < 21; i++)
        assert_string_equal(soma_data_id(b, i), soma_data_id(e, i));
    soma_data_free(c);
    soma_data_free(e);
    assert_int_equal(soma_data_split(d, 0.2, 8, true, &c, &e), SOMA_OK);
    for (int64_t i = 0; i < 21; i++)
        same_other += strcmp(soma_data_id(b, i), soma_data_id(e, i)) == 0;
    assert_true(same_other < 15); /* another seed, another split */
    soma_data_free(c);
    soma_data_free(e);
    assert_int_equal(soma_data_split(a, 0.5, 1, false, &c, &e), SOMA_OK); /* of a part */
    assert_int_equal(soma_data_count(c) + soma_data_count(e), N - 21);
    soma_data_free(c);
    soma_data_free(e);
    soma_data_free(a);
    soma_data_free(b);
    assert_int_equal(soma_data_split(d, 1.5, 7, false, &a, &b), SOMA_EINVAL);
    check_error(SOMA_EINVAL, "between 0 and 1, got 1.5");
    assert_int_equal(soma_data_split(d, 0.001, 7, false, &a, &b), SOMA_EINVAL);
    check_error(SOMA_EINVAL, "leaves one part empty");
    assert_null(soma_data_subset(d, (int64_t[]){1, N}, 2));
    check_error(SOMA_EINVAL, "index[1] = 103 is not in 0 … 102");
    soma_data_free(d);
}

/* ---- Drawn ---- */

static void test_drawn(void **state)
{
    (void)state;
    uint8_t a[784], b[784];
    soma_set_threads(1);
    soma_dataset *d = soma_data_drawn(300, 5);
    soma_set_threads(3);
    soma_dataset *e = soma_data_drawn(300, 5);
    soma_set_threads(0);
    check_ok();
    assert_int_equal(soma_data_classes(d), 10);
    check_text(soma_data_describe(d), "drawn silhouettes (no photographs): 300 images");
    for (int64_t i = 0; i < 300; i++) {
        assert_memory_equal(d->pixels + i * 784, e->pixels + i * 784, 784);
        assert_int_equal(label(d, i), i % 10);
        int64_t lit = 0;
        for (int k = 0; k < 784; k++)
            lit += d->pixels[i * 784 + k] > 40;
        if (lit < 30 || lit > 700) /* a sandal's straps are thin, a coat is large; all are visible and none fills the picture */
            fail_msg("drawing %lld: %lld pixels are lit", (long long)i, (long long)lit);
    }
    soma_data_free(d);
    soma_data_free(e);
    soma__draw(1, 3, a);
    soma__draw(1, 13, b);
    assert_memory_not_equal(a, b, 784);
    soma__draw(2, 3, b);
    assert_memory_not_equal(a, b, 784);
    d = open_set("drawn:40", .part = SOMA_TEST, .channels = 3, .height = 14, .width = 14);
    check_ok();
    assert_int_equal(soma_data_count(d), 40);
    assert_int_equal(soma_data_shape(d)[0], 3);
    soma_data_free(d);
}

/* ---- Memory ---- */

static bool open_and_use(void *arg)
{
    soma_dataset *d = open_set(arg), *a = NULL, *b = NULL;
    soma_norm_stats s;
    bool ok = d && soma_data_id(d, 0) && soma_data_stats(d, &s) == SOMA_OK;
    if (ok) {
        soma_norm_stats_free(&s);
        ok = soma_data_split(d, 0.5, 1, false, &a, &b) == SOMA_OK;
        soma_data_free(a);
        soma_data_free(b);
    }
    soma_data_free(d);
    return ok;
}

static void test_allocations(void **state)
{
    (void)state;
    soma_set_threads(1);
    make_idx("m/idx", 4, (uint8_t[]){0, 1, 2, 0});
    make_csv_set("m/csv", "id,label\n1,a\n2,b\n3,a\n4,b\n");
    put_image(at("m/cls/a/1.png"), 3, 3, 1, 0);
    put_image(at("m/cls/b/2.png"), 3, 3, 1, 0);
    put_image(at("m/parts/train/a/1.png"), 3, 3, 1, 0);
    put_image(at("m/parts/train/b/2.png"), 3, 3, 3, 0);
    put_text(at("m/t.csv"), "id,a,b,c\n1,1,2,x\n2,3,4,y\n3,5,6,x\n");
    assert_int_equal(put_npy(at("m/x.npy"), (float[]){1, 2, 3, 4, 5, 6}, SOMA_SHAPE(3, 2), SOMA_F32), SOMA_OK);
    assert_int_equal(put_npy(at("m/y.npy"), (int64_t[]){0, 1, 1}, SOMA_SHAPE(3), SOMA_I64), SOMA_OK);
    static const char *const sets[] = {"m/idx", "m/csv", "m/cls", "m/parts", "m/t.csv", "m/x.npy"};
    for (size_t i = 0; i < SOMA_LEN(sets); i++) {
        char path[400];
        snprintf(path, sizeof path, "%s", at("%s", sets[i]));
        fail_each_allocation(open_and_use, path);
    }
    fail_each_allocation(open_and_use, "drawn:20");
    soma_set_threads(3); /* several threads: which allocation is the k-th varies, but nothing may be lost */
    char path[400];
    snprintf(path, sizeof path, "%s", at("m/csv"));
    fail_each_allocation(open_and_use, path);
    soma_set_threads(0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fashion),       cmocka_unit_test(test_mnist),        cmocka_unit_test(test_apparel_folders),
        cmocka_unit_test(test_idx),           cmocka_unit_test(test_idx_errors),   cmocka_unit_test(test_csv_images),
        cmocka_unit_test(test_csv_errors),    cmocka_unit_test(test_damaged),      cmocka_unit_test(test_all_damaged),
        cmocka_unit_test(test_many_damaged),  cmocka_unit_test(test_lazy),         cmocka_unit_test(test_class_folders),
        cmocka_unit_test(test_headers),
        cmocka_unit_test(test_open_errors),   cmocka_unit_test(test_table),        cmocka_unit_test(test_table_errors),
        cmocka_unit_test(test_npy),           cmocka_unit_test(test_tensors),      cmocka_unit_test(test_images),
        cmocka_unit_test(test_split),         cmocka_unit_test(test_drawn),        cmocka_unit_test(test_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, tree_end);
}
