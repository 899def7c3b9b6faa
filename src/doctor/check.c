/* soma_check: the looks before a training, one after the other. */
#include "doctor/doctor.h"

#include <math.h>
#include <string.h>

soma_status soma__check_rewind(soma__check *c, int64_t epoch, int64_t batch) {
    soma_batch b = {.size = sizeof(b)};
    soma_status status = soma_loader_seek(c->train, epoch, soma_loader_batches(c->train));
    if (status == SOMA_OK) soma_loader_next(c->train, &b);
    return status == SOMA_OK ? soma_loader_seek(c->train, epoch, batch) : status;
}

static const soma_loss_info *info_of(soma_loss_fn fn, soma_task task) {
    if (!fn) return soma_loss_find(task == SOMA_REGRESS ? "mse" : "cross_entropy");
    for (int i = 0; i < soma_loss_count(); i++)
        if (soma_loss_get(i)->fn == fn) return soma_loss_get(i);
    return NULL;
}

/* An error of the loss that a finding explains better is no error of the check. */
static soma_status explained(soma__check *c, soma_status status) {
    const soma_finding *f = soma_doctor_get(c->d, 0);
    if (status == SOMA_OK || status == SOMA_ENOMEM || !f || f->severity < SOMA_FAULT || c->look.output < 0) return status;
    soma_error_clear();
    return SOMA_OK;
}

soma_status soma_check_ex(soma_doctor *d, soma_module *net, soma_optim *opt, soma_loader *train, soma_loader *val, const soma_check_opts *opts) {
    if (soma_error() != SOMA_OK) return soma_error();
    if (!d || !net || !train) return soma_fail(SOMA_EINVAL, "soma_check: needs a doctor, a network and a training loader");
    soma__check c = {.d = d, .net = net, .opt = opt, .train = train, .val = val, .task = soma_loader_task(train), .first_loss = NAN};
    if (opts) memcpy(&c.o, opts, opts->size ? SOMA_MIN(opts->size, sizeof(c.o)) : sizeof(c.o));
    if (c.task == SOMA_UNLABELLED) return soma_fail(SOMA_EINVAL, "soma_check: the training data has no labels");
    c.classes = c.task == SOMA_CLASSIFY ? soma_data_classes(soma_loader_dataset(train)) : 0;
    c.loss = info_of(c.o.loss, c.task);
    c.loss_fn = c.o.loss ? c.o.loss : c.loss->fn;
    c.look.output = -1;
    int64_t epoch, batch;
    soma_loader_tell(train, &epoch, &batch);
    soma_scope scope = soma_scope_begin();
    soma_status status = soma__check_data(&c);
    if (status == SOMA_OK) status = soma__check_start(&c);
    if (c.look.n_layers > 0) soma__check_structure(&c);
    status = explained(&c, status);
    if (status == SOMA_OK) status = soma__check_rewind(&c, epoch, batch); /* the loss may have ended it in the middle of a batch */
    if (status == SOMA_OK && c.o.overfit && isfinite(c.first_loss)) status = soma__check_overfit(&c);
    soma__look_free(&c.look);
    soma_scope_end(scope);
    return status == SOMA_OK ? soma_error() : status;
}
