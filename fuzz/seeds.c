/* Writes a few small good files of each kind into FOLDER/<kind>/, for the fuzzers to start from: seeds FOLDER [IMAGES],
 * where IMAGES is the folder with images for decoders, from which small ones of many kinds are taken. */
#include <soma/soma.h>

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>

#define LARGEST 3000 /* bytes of an image that is taken over */

static const char *folder;
static int failed;

static const char *place(const char *kind, const char *name) {
    static char path[2000];
    snprintf(path, sizeof path, "%s/%s", folder, kind);
    mkdir(path, 0777);
    snprintf(path, sizeof path, "%s/%s/%s", folder, kind, name);
    return path;
}

static void put(const char *kind, const char *name, const void *data, size_t n) {
    failed |= soma_write_file(place(kind, name), data, n) != SOMA_OK;
}

static void put_text(const char *kind, const char *name, const char *text) { put(kind, name, text, strlen(text)); }

static void tensors(void) {
    static const int64_t shape[] = {2, 3, 2};
    const char *names[SOMA_DTYPE_COUNT];
    soma_tensor *all[SOMA_DTYPE_COUNT];
    for (int k = 0; k < SOMA_DTYPE_COUNT; k++) {
        names[k] = soma_dtype_name((soma_dtype)k);
        all[k] = soma_empty(3, shape, (soma_dtype)k);
        if (all[k] != NULL)
            memset(soma_data(all[k]), 1, 12 * soma_dtype_size((soma_dtype)k));
        failed |= soma_npy_write(place("npy", names[k]), all[k]) != SOMA_OK;
    }
    soma_pair meta[] = {{"net", "linear 10"}};
    failed |= soma_safetensors_write(place("safetensors", "all"), names, all, SOMA_DTYPE_COUNT, meta, 1, false) !=
              SOMA_OK;
    failed |= soma_safetensors_write(place("safetensors", "sum"), names, all, 2, meta, 1, true) != SOMA_OK;
    failed |= soma_safetensors_write(place("safetensors", "none"), NULL, NULL, 0, NULL, 0, false) != SOMA_OK;
    static const char fortran[] =
        "\x93NUMPY\3\0\x3F\0\0\0{'descr': '>i2', 'fortran_order': True, 'shape': (2L, 2), }     \n\0\1\0\2\0\3\0\4";
    put("npy", "fortran", fortran, sizeof fortran - 1);
    put("idx", "u8", "\0\0\x08\2\0\0\0\2\0\0\0\3\1\2\3\4\5\6", 18);
    put("idx", "f64", "\0\0\x0E\1\0\0\0\1\x3F\xF0\0\0\0\0\0\0", 16);
    put("idx", "i16", "\0\0\x0B\1\0\0\0\2\1\2\3\4", 12);
    uint8_t packed[100];
    z_stream z = {
        .next_in = (Bytef *)"\0\0\x08\1\0\0\0\3\1\2\3", .avail_in = 11, .next_out = packed, .avail_out = sizeof packed};
    deflateInit2(&z, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY);
    deflate(&z, Z_FINISH);
    deflateEnd(&z);
    put("idx", "gz", packed, sizeof packed - z.avail_out);
}

static void texts(void) {
    put_text("csv", "plain", "id,label,x\n1,cat,0.5\n2,dog,-1e3\n");
    put_text("csv", "quoted", "\xEF\xBB\xBF\"a\",b\r\n\"x,\"\"y\"\"\nz\",1.25\r\n\"\",\r\n");
    put_text("csv", "numbers", "n\n123456789012345678\n1e-320\n.5\n+7.\n1e22\n");
    put_text("json", "all", "{\"a\":[1,2.5e3,true,false,null],\"b\":{\"c\":\"x\\u00e4\\n\"}}");
    put_text("json", "number", " -0.5 ");
    put_text("doctor", "look",
             "{\"kind\":\"look\",\"step\":32,\"epoch\":1,\"batch\":64,\"output\":1,\"loss\":2.5,\"spread\":0.1,\"lr\":0.1,\"grad_norm\":3,\"clip\":1,\"penalty\":0.9,"
             "\"waiting\":0.5,\"layers\":[{\"path\":\"0\",\"type\":\"ReLU\",\"kind\":4,\"units\":8,\"mean\":0,\"std\":1,\"largest\":2,\"zero\":0.5,\"dead\":0.75,"
             "\"saturated\":0}],\"params\":[{\"name\":\"0.weight\",\"ndim\":2,\"n\":8,\"weight\":1,\"grad\":1e-9,\"update\":0.5}]}\n"
             "{\"kind\":\"epoch\",\"step\":64,\"epoch\":2,\"train_loss\":1,\"val_loss\":2}\n{\"kind\":\"nan\",\"step\":65,\"lr\":0.1,\"where\":\"in the loss\"}\n");
    put_text("doctor", "finding",
             "{\"kind\":\"finding\",\"rule\":\"dead-units\",\"severity\":\"warning\",\"layer\":\"1 (ReLU)\",\"first\":0,\"last\":0,\"times\":1,\"value\":0.5,\"weight\":1.5,"
             "\"evidence\":\"x\",\"picture\":\"\",\"flag\":\"--lr 1\",\"code\":\"y\"}\n");
    put_text("network", "cnn",
             "conv 32 3 relu, maxpool 2, conv 64 3 relu, maxpool 2, flatten, linear 128 relu, dropout 0.5, linear 10");
    put_text("network", "mlp", "flatten, linear 784 128 tanh, linear 10");
    put_text("network", "inputs", "decoder 8 heads 2 causal layers 2 norm (input 1, embedding 9 8 | input 0, encoder 8 heads 2 layers 1), "
                                   "bilinear 3 nobias (linear 4 | tanh), attention 2 kdim 3 (input 0 | relu | relu), encoderdecoder 8 heads 1");
}

static void images(const char *from) {
    uint8_t pixels[4 * 9 * 7];
    for (size_t i = 0; i < sizeof pixels; i++)
        pixels[i] = (uint8_t)(i * 31);
    for (int channels = 1; channels <= 4; channels++) {
        char name[32];
        soma_image image = {.width = 9, .height = 7, .channels = channels, .pixels = pixels};
        snprintf(name, sizeof name, "drawn%d.png", channels);
        failed |= soma_image_write_png(place("image", name), &image) != SOMA_OK;
    }
    static const char *const parts[] = {"pngsuite", "jpeg-mozilla", "jpeg-misc", "photos", "damaged"};
    for (size_t k = 0; from != NULL && k < sizeof parts / sizeof *parts; k++) {
        char path[3000];
        snprintf(path, sizeof path, "%s/%s", from, parts[k]);
        DIR *dir = opendir(path);
        for (struct dirent *e; dir != NULL && (e = readdir(dir)) != NULL;) {
            soma_bytes b;
            snprintf(path, sizeof path, "%s/%s/%s", from, parts[k], e->d_name);
            if (soma_read_file(path, false, LARGEST, &b) == SOMA_OK)
                put("image", e->d_name, b.data, b.size);
            soma_bytes_free(&b);
            soma_error_clear();
        }
        if (dir != NULL)
            closedir(dir);
    }
}

int main(int argc, char **argv) {
    if (argc < 2) {
        fprintf(stderr, "usage: seeds FOLDER [IMAGES]\n");
        return 2;
    }
    folder = argv[1];
    mkdir(folder, 0777);
    tensors();
    texts();
    images(argc > 2 ? argv[2] : NULL);
    if (failed)
        fprintf(stderr, "seeds: %s\n", soma_error_message());
    return failed;
}
