/* Rows of blocks of scores. */
#include "kernels/cpu/attention.h"

#include "kernels/cpu/math.h"
#include "vec.h"

static float largest(const float *s, int64_t n, float most) {
    vec_f32 m = set_f32(most);
    float lane[LANES_f32];
    for (int64_t i = 0; i < n; i += LANES_f32)
        m = atleast_f32(m, load_f32(s + i));
    store_f32(lane, m);
    for (int w = LANES_f32 / 2; w > 0; w /= 2)
        for (int k = 0; k < w; k++)
            lane[k] = lane[k] > lane[k + w] ? lane[k] : lane[k + w];
    return lane[0];
}

static void softmax(float *restrict s, int64_t rows, int64_t n, float *restrict m, float *restrict sum, float *restrict fell) {
    for (int64_t r = 0; r < rows; r++) {
        float most = largest(s + r * n, n, m[r]);
        fell[r] = m[r] - most;
        m[r] = most;
    }
    for (int64_t r = 0; r < rows; r++, s += n) {
        vec_f32 all = set_f32(0);
        for (int64_t i = 0; i < n; i += 16) {
            soma__exp_lanes(s + i, s + i, m[r]);
            UNROLL for (int k = 0; k < 16; k += LANES_f32)
                all += load_f32(s + i + k);
        }
        sum[r] = sum_f32(all);
    }
}

static void gradient(float *restrict s, float *restrict gs, const float *restrict lse, const float *restrict delta, int64_t rows, int64_t n) {
    for (int64_t r = 0; r < rows; r++, s += n, gs += n) {
        vec_f32 d = set_f32(delta[r]);
        for (int64_t i = 0; i < n; i += 16) {
            soma__exp_lanes(s + i, s + i, lse[r]);
            UNROLL for (int k = 0; k < 16; k += LANES_f32)
                store_f32(gs + i + k, load_f32(s + i + k) * (load_f32(gs + i + k) - d));
        }
    }
}

const soma__attention_rows SOMA__ISA(soma__attention) = {softmax, gradient};
