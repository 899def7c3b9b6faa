/* Can the network learn 16 samples by heart? With Adam at two learning rates, from the weights it has; everything is put back afterwards. */
#include "doctor/doctor.h"

#include <soma/autograd.h>

#include <math.h>

enum { HEART = 16, STEPS = 80 };

/* The least loss on the way, as a share of the first; the losses go into `course`. */
static double learn(soma__check *c, soma_tensor *x, soma_tensor *y, double lr, double *course) {
    soma_optim *opt = soma_adam(c->net, .lr = lr);
    double first = NAN, least = INFINITY;
    for (int step = 0; opt && step < STEPS && soma_error() == SOMA_OK; step++) {
        soma_scope scope = soma_scope_begin();
        soma_tensor *out = soma_nn_forward(c->net, x), *loss = out ? c->loss_fn(c->o.loss_user, out, y) : NULL;
        double value = loss ? soma_item(loss) : NAN;
        if (step == 0) first = value;
        course[step] = value;
        least = isfinite(value) ? SOMA_MIN(least, value) : least;
        if (loss && isfinite(value)) soma_backward(loss);
        if (soma_error() == SOMA_OK) soma_optim_step(opt);
        soma_scope_end(scope);
        if (!isfinite(value)) break;
    }
    soma_optim_free(opt);
    return first > 0 ? least / first : 0;
}

static bool try_rate(soma__check *c, soma_tensor *x, soma_tensor *y, double lr, double *share, double *course) {
    soma__kept k;
    bool ok = soma__keep_state(c->net, true, &k);
    if (ok) *share = learn(c, x, y, lr, course);
    if (soma_error() == SOMA_ENAN) soma_error_clear();
    soma__put_back(&k);
    return ok && soma_error() == SOMA_OK;
}

soma_status soma__check_overfit(soma__check *c) {
    int64_t epoch, batch;
    double share = 1, second = 1, limit = soma__limit(c->d, SOMA__RULE_CANNOT_OVERFIT), course[2][STEPS] = {{0}};
    soma_batch b = {.size = sizeof(b)};
    soma_loader_tell(c->train, &epoch, &batch);
    if (!soma_loader_next(c->train, &b)) return soma_error() != SOMA_OK ? soma_error() : soma__check_rewind(c, epoch, batch);
    int64_t n = SOMA_MIN(b.count, HEART);
    soma_tensor *x = soma_narrow(b.x, 0, 0, n), *y = soma_narrow(b.y, 0, 0, n);
    bool ok = x && y && try_rate(c, x, y, 1e-3, &share, course[0]);
    if (ok && share > limit) ok = try_rate(c, x, y, 1e-2, &second, course[1]);
    const double *best = second < share ? course[1] : course[0];
    if (ok && SOMA_MIN(share, second) > limit) {
        char picture[128];
        double bars[20];
        for (int i = 0; i < 20; i++) bars[i] = best[i * STEPS / 20];
        soma__bars(bars, 20, false, picture, sizeof(picture));
        soma__found(c->d, SOMA__RULE_CANNOT_OVERFIT, &(soma__case){.value = SOMA_MIN(share, second), .picture = picture},
                    "after %d steps of Adam on %lld samples %.0f %% of the first loss is left", STEPS, (long long)n, 100 * SOMA_MIN(share, second));
    }
    return soma_error() == SOMA_OK ? soma__check_rewind(c, epoch, batch) : soma_error();
}
