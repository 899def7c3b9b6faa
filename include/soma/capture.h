/* soma: a step that is recorded once and replayed. The first run of a step executes as always and writes down which kernels ran on which
 * memory: forward, backward, the optimiser's update. Later runs go down that list: no shape rules, no tape, no allocations; the memory of
 * intermediates is planned by their lifetimes, chains of elementwise operators run in tiles that stay in the cache, and what nobody reads is not
 * computed. The results have the same bits as without.
 *
 *     bool step(void *user, soma_tensor *const *in, int n_in, soma_tensor **out, int n_out) {
 *         model *m = user;
 *         out[0] = soma_cross_entropy(soma_nn_forward(m->net, in[0]), in[1]);
 *         return soma_backward(out[0]) == SOMA_OK && soma_optim_step(m->opt) == SOMA_OK;
 *     }
 *     …
 *     soma_capture *fast = soma_capture_new(step, &model);
 *     for (soma_batch b; soma_loader_next(data, &b);) {
 *         soma_tensor *loss;
 *         soma_capture_run(fast, (soma_tensor *[]){b.x, b.y}, 2, &loss, 1);
 *     }
 *     soma_capture_free(fast);
 *
 * What changes from run to run must come in through the inputs, or be a tensor that lives outside of the step: parameters, state of optimisers
 * (learning rate and step count included), running statistics. These are read and written where they are. Random operators draw the
 * next stream at each run, as they would without. Other C code in the step runs only when it is recorded: hooks of modules, soma_sched_apply, prints,
 * counters belong outside. */
#ifndef SOMA_CAPTURE_H
#define SOMA_CAPTURE_H

#include <soma/tensor.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Reads in[0 … n_in-1], fills out[0 … n_out-1] (NULL is allowed) and returns true; false with an error recorded. Reading values of inputs or of what
 * was computed from them (soma_data, soma_item, soma_to_array, operators whose result's shape depends on values …) is an error that names the call:
 * a replay would not read them again. So is a tensor of the step that the program keeps beyond its end: return it. */
typedef bool (*soma_step_fn)(void *user, soma_tensor *const *in, int n_in, soma_tensor **out, int n_out);
typedef struct soma_capture soma_capture;

/* `user` must live as long as the capture. Owned by the caller: soma_capture_free. */
SOMA_API soma_capture *soma_capture_new(soma_step_fn step, void *user);
SOMA_API void soma_capture_free(soma_capture *c);
/* Runs the step. The first run with inputs of some dtypes, sizes and strides (and one setting of soma_set_grad_enabled, soma_set_autocast,
 * soma_set_threads, soma_nn_train, and of which gradients there are) records, the next ones replay; up to 8 such signatures are kept, then the one that was used longest
 * ago makes room. out[] belongs to the current scope and is off the tape. Gradients that the step leaves in leaves are there after each run,
 * as without. A step that fails records nothing. */
SOMA_API soma_status soma_capture_run(soma_capture *c, soma_tensor *const *in, int n_in, soma_tensor **out, int n_out);

/* What became of it, for all signatures together. */
typedef struct soma_capture_info {
    int64_t recorded, replayed;   /* runs */
    int64_t calls;                /* kernels and host functions in the lists */
    int64_t chained;              /* of these, elementwise ones that run together with neighbours */
    int64_t dropped;              /* calls of the step that are left out, since nobody reads their result */
    int64_t bytes;                /* memory that intermediates and kernels' workspace take in a replay: the largest list's */
    int64_t bytes_apart;          /* what they would take, each in memory of its own */
} soma_capture_info;
SOMA_API soma_capture_info soma_capture_stats(const soma_capture *c);

#ifdef __cplusplus
}
#endif

#endif
