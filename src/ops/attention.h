/* What attention's composite and its form in blocks share. */
#ifndef SOMA_SRC_OPS_ATTENTION_H
#define SOMA_SRC_OPS_ATTENTION_H

#include "ops/op.h"

/* [L, S], true where query `from` + i must not see key j: j > from + i. */
soma_tensor *soma__attention_later(int64_t from, int64_t l, int64_t s);
/* Whether the shapes are [..., L, E], [..., S, E] and [..., S, V] without broadcasting. */
bool soma__attention_fuses(const soma_tensor *q, const soma_tensor *k, const soma_tensor *v);
/* In blocks; for f32. */
soma_tensor *soma__attention_fused(soma_tensor *q, soma_tensor *k, soma_tensor *v, bool causal, double scale);

#endif
