/* Rows of blocks of scores. */
#include "kernels/cpu/attention.h"

#include "kernels/cpu/math.h"

enum { LANES = SOMA__ATTENTION_LANES };
#define EACH_LANE for (int k = 0; k < LANES; k++)

static void softmax(float *restrict s, int64_t rows, int64_t n, float *restrict m, float *restrict sum, float *restrict fell) {
    for (int64_t r = 0; r < rows; r++, s += n) {
        float lane[LANES], most = m[r];
        EACH_LANE lane[k] = most;
        for (int64_t i = 0; i < n; i += LANES)
            EACH_LANE lane[k] = s[i + k] > lane[k] ? s[i + k] : lane[k];
        EACH_LANE most = lane[k] > most ? lane[k] : most;
        EACH_LANE lane[k] = 0;
        for (int64_t i = 0; i < n; i += LANES) {
            soma__exp_lanes(s + i, s + i, most);
            EACH_LANE lane[k] += s[i + k];
        }
        fell[r] = m[r] - most;
        m[r] = most;
        for (int w = LANES / 2; w > 0; w /= 2)
            for (int k = 0; k < w; k++)
                lane[k] += lane[k + w];
        sum[r] = lane[0];
    }
}

static void gradient(float *restrict s, float *restrict gs, const float *restrict lse, const float *restrict delta, int64_t rows, int64_t n) {
    for (int64_t r = 0; r < rows; r++, s += n, gs += n)
        for (int64_t i = 0; i < n; i += LANES) {
            soma__exp_lanes(s + i, s + i, lse[r]);
            EACH_LANE gs[i + k] = s[i + k] * (gs[i + k] - delta[r]);
        }
}

const soma__attention_rows SOMA__ISA(soma__attention) = {softmax, gradient};
