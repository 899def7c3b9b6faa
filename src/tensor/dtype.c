/* The dtype table: names, sizes, promotion, and access to one element. */
#include "tensor/tensor.h"

#include <math.h>
#include <string.h>

static const struct {
    const char *name;
    size_t size;
    int kind; /* 0 bool, 1 integer, 2 float */
} dtypes[SOMA_DTYPE_COUNT] = {
    [SOMA_F32] = {"f32", 4, 2},  [SOMA_F64] = {"f64", 8, 2}, [SOMA_F16] = {"f16", 2, 2}, [SOMA_BF16] = {"bf16", 2, 2},
    [SOMA_I64] = {"i64", 8, 1},  [SOMA_I32] = {"i32", 4, 1}, [SOMA_I16] = {"i16", 2, 1}, [SOMA_I8] = {"i8", 1, 1},
    [SOMA_U8] = {"u8", 1, 1},    [SOMA_BOOL] = {"bool", 1, 0},
};

static bool known(soma_dtype d) { return (unsigned)d < SOMA_DTYPE_COUNT; }
const char *soma_dtype_name(soma_dtype d) { return known(d) ? dtypes[d].name : "unknown dtype"; }
size_t soma_dtype_size(soma_dtype d) { return known(d) ? dtypes[d].size : 0; }
bool soma_dtype_is_float(soma_dtype d) { return known(d) && dtypes[d].kind == 2; }

/* torch.promote_types: floats win over integers, wider over narrower; f16 with bf16 is f32, u8 with a signed type the next
 * signed type that holds both. */
soma_dtype soma_promote_types(soma_dtype a, soma_dtype b) {
    if (a == b || !known(a) || !known(b))
        return a;
    int ka = dtypes[a].kind, kb = dtypes[b].kind;
    if (ka != kb)
        return ka > kb ? a : b;
    if (ka == 2) {
        if (dtypes[a].size == dtypes[b].size)
            return SOMA_F32; /* f16 and bf16 */
        return dtypes[a].size > dtypes[b].size ? a : b;
    }
    if (a == SOMA_U8 || b == SOMA_U8) {
        soma_dtype other = a == SOMA_U8 ? b : a;
        return other == SOMA_I8 ? SOMA_I16 : other;
    }
    return dtypes[a].size > dtypes[b].size ? a : b;
}

soma_dtype soma__result_type(soma_tensor *const *t, int n) {
    /* By rank: 0 tensors with dimensions, 1 those without, 2 numbers from C. */
    int found[3] = {-1, -1, -1};
    for (int i = 0; i < n; i++) {
        if (!t[i])
            continue;
        int rank = t[i]->weak ? 2 : t[i]->ndim == 0 ? 1 : 0;
        soma_dtype own = (soma_dtype)t[i]->dtype;
        if (rank == 2 && own == SOMA_F64)
            own = SOMA_F32; /* a number of float kind becomes the default float */
        found[rank] = found[rank] < 0 ? (int)own : (int)soma_promote_types((soma_dtype)found[rank], own);
    }
    int result = -1;
    for (int rank = 0; rank < 3; rank++) {
        if (found[rank] < 0)
            continue;
        if (result < 0 || dtypes[found[rank]].kind > dtypes[result].kind)
            result = found[rank];
    }
    return result < 0 ? SOMA_F32 : (soma_dtype)result;
}

float soma__half_to_float(uint16_t h) {
    uint32_t sign = (uint32_t)(h & 0x8000u) << 16, rest = h & 0x7fffu;
    union { uint32_t u; float f; } v;
    if (rest >= 0x7c00u)
        v.u = sign | 0x7f800000u | (rest & 0x3ffu) << 13;
    else if (rest >= 0x400u)
        v.u = sign | ((rest << 13) + (112u << 23));
    else {
        v.f = (float)rest * 0x1p-24f; /* subnormal or zero */
        v.u |= sign;
    }
    return v.f;
}

uint16_t soma__float_to_half(float f) {
    union { float f; uint32_t u; } v = {.f = f};
    uint32_t sign = v.u >> 16 & 0x8000u, a = v.u & 0x7fffffffu;
    if (a > 0x7f800000u)
        return (uint16_t)(sign | 0x7e00u | (a >> 13 & 0x3ffu));
    if (a >= 0x477ff000u)
        return (uint16_t)(sign | 0x7c00u); /* rounds beyond 65504 */
    if (a >= 0x38800000u)
        return (uint16_t)(sign | ((a - (112u << 23) + 0xfffu + (a >> 13 & 1)) >> 13));
    v.u = a;
    v.f += 0.5f; /* the last bit of 0.5 is 2^-24, that of the smallest halves: the addition rounds */
    return (uint16_t)(sign | (v.u - 0x3f000000u));
}

uint16_t soma__float_to_bf16(float f) {
    union { float f; uint32_t u; } v = {.f = f};
    if ((v.u & 0x7fffffffu) > 0x7f800000u)
        return (uint16_t)(v.u >> 16 | 0x40u);
    return (uint16_t)((v.u + 0x7fffu + (v.u >> 16 & 1)) >> 16);
}

#define LOAD(type) do { type x; memcpy(&x, p, sizeof x); return x; } while (0)
double soma__load(const void *p, soma_dtype d) {
    uint16_t h;
    switch (d) {
    case SOMA_F32: { float x; memcpy(&x, p, sizeof x); return (double)x; }
    case SOMA_F64: LOAD(double);
    case SOMA_F16: memcpy(&h, p, 2); return (double)soma__half_to_float(h);
    case SOMA_BF16: memcpy(&h, p, 2); return (double)soma__bf16_to_float(h);
    default: return (double)soma__load_int(p, d);
    }
}

int64_t soma__load_int(const void *p, soma_dtype d) {
    switch (d) {
    case SOMA_I64: LOAD(int64_t);
    case SOMA_I32: LOAD(int32_t);
    case SOMA_I16: LOAD(int16_t);
    case SOMA_I8: LOAD(int8_t);
    case SOMA_U8: LOAD(uint8_t);
    case SOMA_BOOL: return *(const uint8_t *)p != 0;
    default: {
        double x = soma__load(p, d);
        return isnan(x) ? 0 : x >= 0x1p63 ? INT64_MAX : x <= -0x1p63 ? INT64_MIN : (int64_t)x;
    }
    }
}

#define STORE(type) do { type x = (type)v; memcpy(p, &x, sizeof x); return; } while (0)
void soma__store(void *p, soma_dtype d, double v) {
    uint16_t h;
    switch (d) {
    case SOMA_F32: STORE(float);
    case SOMA_F64: STORE(double);
    case SOMA_F16: h = soma__float_to_half((float)v); memcpy(p, &h, 2); return;
    case SOMA_BF16: h = soma__float_to_bf16((float)v); memcpy(p, &h, 2); return;
    case SOMA_BOOL: *(uint8_t *)p = v != 0.0; return;
    default: soma__store_int(p, d, isnan(v) ? 0 : v >= 0x1p63 ? INT64_MAX : v <= -0x1p63 ? INT64_MIN : (int64_t)v);
    }
}

void soma__store_int(void *p, soma_dtype d, int64_t v) {
    switch (d) {
    case SOMA_I64: STORE(int64_t);
    case SOMA_I32: STORE(int32_t);
    case SOMA_I16: STORE(int16_t);
    case SOMA_I8: STORE(int8_t);
    case SOMA_U8: STORE(uint8_t);
    case SOMA_BOOL: *(uint8_t *)p = v != 0; return;
    case SOMA_F64: STORE(double);
    case SOMA_F32: STORE(float);
    default: soma__store(p, d, (double)v);
    }
}
