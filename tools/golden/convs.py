#!/usr/bin/env python3
"""Golden cases of convolutions along one and three axes and transposed ones, pooling, resampling, embeddings and normalisations."""
import math

import torch
import torch.nn.functional as F

from common import case, f, finish, whole

# ---- Convolution ----
for fn, name, n in ((F.conv1d, "conv1d", 1), (F.conv3d, "conv3d", 3)):
    for c, out, k, s, p, d, g in ((2, 3, 2, 1, 0, 1, 1), (4, 2, 3, 2, 1, 1, 2), (2, 2, 2, 2, 1, 2, 1), (3, 3, 1, 1, 0, 1, 3)):
        a = dict(stride=[s] * n, padding=[p] * n, dilation=[d] * n, groups=g)
        size = (7, 5, 4)[:n] if n == 1 else (4, 5, 4)
        case(name, lambda x, w, b: fn(x, w, b, s, p, d, g), [f(2, c, *size), f(out, c // g, *[k] * n), f(out)], **a)
        case(name, lambda x, w: fn(x, w, None, s, p, d, g), [f(c, *size), f(out, c // g, *[k] * n)], **a)
for fn, name, n in ((F.conv_transpose1d, "conv_transpose1d", 1), (F.conv_transpose2d, "conv_transpose2d", 2), (F.conv_transpose3d, "conv_transpose3d", 3)):
    for c, out, k, s, p, o, g, d in ((2, 3, 2, 1, 0, 0, 1, 1), (4, 2, 3, 2, 1, 1, 2, 1), (2, 2, 2, 1, 1, 1, 1, 2), (3, 3, 1, 3, 0, 2, 3, 1)):
        a = dict(stride=[s] * n, padding=[p] * n, output_padding=[o] * n, groups=g, dilation=[d] * n)
        size = (4, 3, 3)[:n]
        case(name, lambda x, w, b: fn(x, w, b, s, p, o, g, d), [f(2, c, *size), f(c, out // g, *[k] * n), f(out)], **a)
        case(name, lambda x, w: fn(x, w, None, s, p, o, g, d), [f(c, *size), f(c, out // g, *[k] * n)], **a)
for k, d, p, s in (((2, 3), (1, 1), (0, 0), (1, 1)), ((2, 2), (2, 1), (1, 0), (2, 1)), ((3, 1), (1, 1), (1, 2), (1, 3))):
    a = dict(kernel_size=list(k), dilation=list(d), padding=list(p), stride=list(s))
    case("im2col", lambda x: F.unfold(x, k, d, p, s), [f(2, 3, 5, 6)], **a)
    blocks = F.unfold(f(1, 1, 5, 6), k, d, p, s).shape[-1]
    case("col2im", lambda x: F.fold(x, (5, 6), k, d, p, s), [f(2, 2 * k[0] * k[1], blocks)], output_size=[5, 6], **a)

# ---- Embedding ----
case("embedding", lambda w, i: F.embedding(i, w), [f(6, 3), whole(6, 2, 4)])
case("embedding", lambda w, i: F.embedding(i, w, padding_idx=2), [f(6, 3), torch.tensor([2, 1, 2, 0])], padding_idx=2)
case("embedding", lambda w, i: F.embedding(i, w, padding_idx=-1, scale_grad_by_freq=True), [f(6, 3), torch.tensor([[2, 5, 2], [0, 2, 5]])], padding_idx=-1,
     scale_grad_by_freq=True)
for mode in ("sum", "mean", "max"):
    case("embedding_bag", lambda w, i: F.embedding_bag(i, w, mode=mode), [f(6, 3), whole(6, 3, 4)], mode=mode)
    offsets = torch.tensor([0, 2, 2, 5])
    case("embedding_bag", lambda w, i, o: F.embedding_bag(i, w, o, mode=mode), [f(6, 3), whole(6, 7), offsets], mode=mode)
    case("embedding_bag", lambda w, i, o: F.embedding_bag(i, w, o, mode=mode, include_last_offset=True, padding_idx=1),
         [f(6, 3), torch.tensor([1, 1, 0, 2, 1, 5]), torch.tensor([0, 2, 5, 6])], mode=mode, include_last_offset=True, padding_idx=1)
case("embedding_bag", lambda w, i, o, p: F.embedding_bag(i, w, o, mode="sum", per_sample_weights=p), [f(6, 3), whole(6, 5), torch.tensor([0, 3]), f(5)], mode="sum")

finish()
