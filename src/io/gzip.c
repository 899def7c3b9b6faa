/* gzip (RFC 1952) through zlib, whose memory also comes from soma__alloc. What the file claims about its size is believed
 * only as far as its length makes it possible: deflate packs at most 1032 to 1. */
#include "io/io.h"

#include <string.h>
#include <zlib.h>

bool soma__is_gzip(const void *data, size_t size) { return size >= 3 && memcmp(data, "\x1f\x8b\x08", 3) == 0; }

static void *zlib_alloc(void *user, uInt count, uInt size) {
    (void)user;
    int64_t bytes;
    return soma__mul_ok(count, size, &bytes) ? soma__alloc((size_t)bytes) : NULL;
}

static void zlib_free(void *user, void *block) {
    (void)user;
    soma__free(block);
}

/* The result, which grows as it must; one byte is kept for a final 0. */
typedef struct output {
    uint8_t *data;
    size_t size, room, limit;
} output;

static bool output_grow(output *o) {
    size_t room = o->room + o->room / 2 + 4096;
    room = SOMA_MIN(room, o->limit + 2);
    uint8_t *data = soma__realloc(o->data, room);
    if (data == NULL)
        return false;
    o->data = data, o->room = room;
    return true;
}

/* One member; on success z->next_in stands behind it. */
static soma_status inflate_member(z_stream *z, const uint8_t *end, output *o, const char *name) {
    for (;;) {
        if (o->size + 1 == o->room && !output_grow(o))
            return SOMA_ENOMEM;
        size_t left = (size_t)(end - z->next_in), space = o->room - 1 - o->size;
        z->avail_in = (uInt)SOMA_MIN(left, (size_t)1 << 30);
        z->next_out = o->data + o->size;
        z->avail_out = (uInt)SOMA_MIN(space, (size_t)1 << 30);
        uInt before = z->avail_out;
        int rc = inflate(z, Z_NO_FLUSH);
        o->size += before - z->avail_out;
        if (o->size > o->limit)
            return soma_fail(SOMA_EFORMAT, "%s: unpacks to more than the %zu bytes that are allowed here", name,
                             o->limit);
        if (rc == Z_STREAM_END)
            return SOMA_OK;
        if (rc == Z_MEM_ERROR)
            return soma_fail(SOMA_ENOMEM, "%s: no memory to unpack", name);
        if (rc != Z_OK && rc != Z_BUF_ERROR)
            return soma_fail(SOMA_EFORMAT, "%s: damaged gzip data (%s)", name,
                             z->msg != NULL ? z->msg : "no further details");
        if (z->next_in == end && z->avail_out > 0)
            return soma_fail(SOMA_EFORMAT, "%s: ends in the middle of its gzip data", name);
    }
}

static bool only_zeros(const uint8_t *p, const uint8_t *end) {
    while (p < end && *p == 0)
        p++;
    return p == end;
}

soma_status soma__gunzip(const void *data, size_t size, size_t limit, const char *name, soma_bytes *out) {
    *out = (soma_bytes){0};
    const uint8_t *p = data, *end = p + size;
    if (!soma__is_gzip(data, size) || size < 18)
        return soma_fail(SOMA_EFORMAT, "%s: ends in the middle of its gzip data", name);
    limit = SOMA_MIN(limit, SIZE_MAX / 4);
    size_t claimed = soma__read_le32(end - 4), possible = size < SIZE_MAX / 1032 ? size * 1032 : SIZE_MAX;
    output o = {.limit = limit};
    o.room = SOMA_MIN(SOMA_MIN(claimed, possible), limit) + 2;
    z_stream z = {.zalloc = zlib_alloc, .zfree = zlib_free};
    o.data = soma__alloc(o.room);
    if (o.data == NULL)
        return SOMA_ENOMEM;
    if (inflateInit2(&z, 15 + 16) != Z_OK) {
        soma__free(o.data);
        return soma_fail(SOMA_ENOMEM, "%s: no memory to unpack", name);
    }
    soma_status status = SOMA_OK;
    z.next_in = (Bytef *)(uintptr_t)p;
    do { /* files put together with cat have several members; tapes are filled up with zeros */
        inflateReset(&z);
        status = inflate_member(&z, end, &o, name);
    } while (status == SOMA_OK && soma__is_gzip(z.next_in, (size_t)(end - z.next_in)));
    if (status == SOMA_OK && !only_zeros(z.next_in, end))
        status = soma_fail(SOMA_EFORMAT, "%s: there are %td bytes of something else behind the gzip data", name,
                           end - z.next_in);
    inflateEnd(&z);
    if (status != SOMA_OK) {
        soma__free(o.data);
        return status;
    }
    o.data[o.size] = 0;
    *out = (soma_bytes){.data = o.data, .size = o.size};
    return SOMA_OK;
}
