/* The restricted Boltzmann machine, small enough to count over all states: free energy, gradient, sampling, learning. */
#include "check.h"

#include <math.h>

enum { V = 4, H = 3, STATES = 1 << V };

/* All states of the visible units, one a row. */
static soma_tensor *all_states(void) {
    float v[STATES][V];
    for (int i = 0; i < STATES; i++)
        for (int j = 0; j < V; j++)
            v[i][j] = (float)(i >> j & 1);
    return soma_from_array(v, SOMA_SHAPE(STATES, V), SOMA_F32);
}

static soma_module *machine(void) {
    soma_module *m = soma_nn_rbm(V, H);
    const char *names[] = {"weight", "visible_bias", "hidden_bias"};
    for (int k = 0; k < 3; k++) {
        float *p = soma_data(soma_nn_get(m, names[k]));
        for (int64_t i = 0; i < soma_numel(soma_nn_get(m, names[k])); i++)
            p[i] = (float)(1.3 * sin(1 + 2.1 * (double)i + k));
    }
    check_ok();
    return m;
}

/* Σ_h exp(-E(v, h)) by going through all h. */
static void free_energy_sums_out_the_hidden_units(void **state) {
    (void)state;
    soma_scope scope = soma_scope_begin();
    soma_module *m = machine();
    soma_tensor *states = all_states(), *f = soma_rbm_free_energy(m, states);
    check_ok();
    const float *w = soma_data(soma_nn_get(m, "weight")), *b = soma_data(soma_nn_get(m, "visible_bias")), *c = soma_data(soma_nn_get(m, "hidden_bias"));
    for (int i = 0; i < STATES; i++) {
        double sum = 0;
        for (int h = 0; h < 1 << H; h++) {
            double minus_energy = 0;
            for (int j = 0; j < V; j++)
                minus_energy += (double)b[j] * (i >> j & 1);
            for (int k = 0; k < H; k++) {
                minus_energy += (double)c[k] * (h >> k & 1);
                for (int j = 0; j < V; j++)
                    minus_energy += (double)w[k * V + j] * (h >> k & 1) * (i >> j & 1);
            }
            sum += exp(minus_energy);
        }
        assert_true(fabs(soma_at(f, 1, (int64_t[]){i}) + log(sum)) < 1e-5);
    }
    soma_nn_free(m);
    soma_scope_end(scope);
}

/* d loss / d W = -<h v> of the data + <h v> of the sample, h by its probability. */
static void gradient_is_the_difference_of_statistics(void **state) {
    (void)state;
    soma_scope scope = soma_scope_begin();
    soma_module *m = machine();
    soma_seed(3);
    soma_tensor *data = soma_slice(all_states(), 0, 3, 9, 1), *sample = NULL;
    soma_backward(soma_rbm_loss(m, data, 2, &sample));
    check_ok();
    bool was = soma_set_grad_enabled(false);
    soma_tensor *sides[2] = {data, sample}, *statistics[2];
    for (int i = 0; i < 2; i++) {
        soma_tensor *h = soma_sigmoid(soma_linear(sides[i], soma_nn_get(m, "weight"), soma_nn_get(m, "hidden_bias")));
        statistics[i] = soma_mul_scalar(soma_matmul(soma_transpose(h, 0, 1), sides[i]), 1.0 / (double)soma_size(sides[i], 0));
    }
    soma_tensor *off = soma_sub(soma_grad(soma_nn_get(m, "weight")), soma_sub(statistics[1], statistics[0]));
    assert_true(soma_item(soma_amax(soma_abs(off), SOMA_ALL, false)) < 1e-6);
    soma_set_grad_enabled(was);
    soma_nn_free(m);
    soma_scope_end(scope);
}

/* A long chain visits states as often as exp(-F) says. 20,000 independent chains: the largest deviation of 16 frequencies is below
 * 5 sqrt(p / n) < 0.02 but once in 10^5. */
static void gibbs_sampling_reaches_the_distribution(void **state) {
    (void)state;
    enum { CHAINS = 20000 };
    soma_scope scope = soma_scope_begin();
    soma_module *m = machine();
    soma_seed(8);
    soma_tensor *p = soma_softmax(soma_neg(soma_rbm_free_energy(m, all_states())), 0);
    soma_tensor *v = soma_rbm_gibbs(m, soma_zeros(SOMA_SHAPE(CHAINS, V), SOMA_F32), 60);
    check_ok();
    double seen[STATES] = {0};
    const float *at = soma_data(v);
    for (int i = 0; i < CHAINS; i++)
        seen[(int)(at[i * V] + 2 * at[i * V + 1] + 4 * at[i * V + 2] + 8 * at[i * V + 3])] += 1.0 / CHAINS;
    for (int i = 0; i < STATES; i++)
        assert_true(fabs(seen[i] - soma_at(p, 1, (int64_t[]){i})) < 0.02);
    soma_nn_free(m);
    soma_scope_end(scope);
}

static double log_likelihood(soma_module *m, soma_tensor *data) {
    soma_tensor *log_z = soma_logsumexp(soma_neg(soma_rbm_free_energy(m, all_states())), SOMA_ALL, false);
    return -soma_item(soma_mean(soma_rbm_free_energy(m, data), SOMA_ALL, false)) - soma_item(log_z);
}

/* Two patterns: the best possible is log 1/2 a sample; all states alike would give -V log 2. */
static void contrastive_divergence_learns(void **state) {
    (void)state;
    soma_scope scope = soma_scope_begin();
    soma_seed(1);
    soma_module *m = soma_nn_rbm(V, H);
    soma_optim *opt = soma_adam(m, .lr = 0.05);
    soma_tensor *data = soma_from_array((float[]){1, 1, 0, 0, 0, 0, 1, 1}, SOMA_SHAPE(2, V), SOMA_F32);
    data = soma_contiguous(soma_reshape(soma_expand(soma_unsqueeze(data, 0), SOMA_SHAPE(32, 2, V)), SOMA_SHAPE(64, V)));
    double before = log_likelihood(m, data);
    for (int i = 0; i < 600; i++) {
        soma_scope step = soma_scope_begin();
        soma_backward(soma_rbm_loss(m, data, 1, NULL));
        soma_optim_step(opt);
        soma_scope_end(step);
    }
    check_ok();
    double after = log_likelihood(m, data);
    print_message("log-likelihood a sample %.3f -> %.3f (best %.3f)\n", before, after, -log(2));
    assert_true(before < -2.5 && after > -1.2);
    soma_tensor *back = soma_nn_forward(m, data);
    assert_true(soma_item(soma_amax(soma_abs(soma_sub(back, data)), SOMA_ALL, false)) < 0.3);
    soma_optim_free(opt);
    soma_nn_free(m);
    soma_scope_end(scope);
}

static void mistakes_are_named(void **state) {
    (void)state;
    soma_scope scope = soma_scope_begin();
    soma_module *m = machine(), *other = soma_nn_linear(V, H);
    assert_null(soma_nn_forward(m, soma_zeros(SOMA_SHAPE(2, V + 1), SOMA_F32)));
    check_error(SOMA_ESHAPE, "expected [N, …] with 4 numbers a sample");
    assert_null(soma_rbm_loss(other, soma_zeros(SOMA_SHAPE(2, V), SOMA_F32), 1, NULL));
    check_error(SOMA_EINVAL, "rbm_loss: takes an RBM, got Linear");
    assert_null(soma_nn_rbm(3, 0));
    check_error(SOMA_EINVAL, "hidden");
    soma_nn_free(m);
    soma_nn_free(other);
    soma_scope_end(scope);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(free_energy_sums_out_the_hidden_units), cmocka_unit_test(gradient_is_the_difference_of_statistics),
        cmocka_unit_test(gibbs_sampling_reaches_the_distribution), cmocka_unit_test(contrastive_divergence_learns),
        cmocka_unit_test(mistakes_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
