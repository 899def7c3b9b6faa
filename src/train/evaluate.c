/* A network over a whole data set, in eval mode and without recording. Both settings are put back however it ends. */
#include "train/train.h"

#include <soma/autograd.h>

#include <string.h>

static soma_status evaluate_batches(soma_module *net, soma_loader *loader, soma_loss_fn loss, void *user,
                                    soma__score *score) {
    for (soma_batch b = {.size = sizeof(b)}; soma_loader_next(loader, &b);) {
        soma_tensor *prediction = soma_nn_forward(net, b.x);
        soma_tensor *value = loss(user, prediction, b.y);
        if (!value) return soma_error();
        double number = soma_item(value);
        if (soma_error() != SOMA_OK) return soma_error();
        soma_status status = soma__score_add(score, prediction, b.y, number, b.count);
        if (status != SOMA_OK) return status;
    }
    return soma_error();
}

soma_status soma_evaluate(soma_module *net, soma_loader *loader, soma_loss_fn loss, void *user, soma_metrics *out) {
    memset(out, 0, sizeof(*out));
    if (soma_error() != SOMA_OK) return soma_error();
    if (!net || !loader) return soma_fail(SOMA_EINVAL, "evaluate: needs a network and a loader");
    soma_dataset *data = soma_loader_dataset(loader);
    soma_task task = soma_loader_task(loader);
    if (task == SOMA_UNLABELLED) return soma_fail(SOMA_EINVAL, "evaluate: %s has no labels", soma_data_describe(data));
    loss = soma__loss_or_default(loss, task);
    soma__score score = {.task = task, .classes = soma_data_classes(data), .threshold = soma__loss_threshold(loss)};
    if (task == SOMA_CLASSIFY) {
        int64_t cells = 0;
        if (!soma__mul_ok(score.classes, score.classes, &cells)) return soma_fail(SOMA_EINVAL, "evaluate: too many classes");
        score.confusion = soma__calloc((size_t)cells, sizeof(int64_t));
        if (!score.confusion) return soma_error();
    }
    bool training = soma_nn_training(net), grad = soma_set_grad_enabled(false);
    soma_nn_train(net, false);
    soma_scope scope = soma_scope_begin();
    soma_status status = evaluate_batches(net, loader, loss, user, &score);
    soma_scope_end(scope);
    soma_nn_train(net, training);
    soma_set_grad_enabled(grad);
    if (status == SOMA_OK) status = soma__score_metrics(&score, out);
    soma__free(score.confusion);
    return status;
}
