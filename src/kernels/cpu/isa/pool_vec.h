/* Vectors of eight for pooling, and the step of a maximum. */
#include <string.h>

typedef float v8f __attribute__((vector_size(32)));
typedef int32_t v8i __attribute__((vector_size(32)));

static inline v8f load(const float *p) {
    v8f v;
    memcpy(&v, p, sizeof v);
    return v;
}
static inline void store(float *p, v8f v) { memcpy(p, &v, sizeof v); }
static inline v8f even(v8f a, v8f b) { return __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14); }
static inline v8f odd(v8f a, v8f b) { return __builtin_shufflevector(a, b, 1, 3, 5, 7, 9, 11, 13, 15); }
static inline v8f zip_low(v8f a, v8f b) { return __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11); }
static inline v8f zip_high(v8f a, v8f b) { return __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15); }
static inline v8f choose(v8i mask, v8f a, v8f b) { return (v8f)((mask & (v8i)a) | (~mask & (v8i)b)); }

/* A later candidate wins when it is larger, or NaN. */
static inline void better(v8f *top, v8i *at, v8f value, int32_t offset) {
    v8i take = (v8i)((value > *top) | (value != value));
    *top = choose(take, value, *top);
    *at = (take & offset) | (~take & *at);
}
