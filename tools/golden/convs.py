#!/usr/bin/env python3
"""Golden cases of convolutions along one and three axes and transposed ones, pooling, resampling, embeddings and normalisations."""
import math

import torch
import torch.nn.functional as F

from common import case, f as uniform, finish, whole


def f(*shape, low=-2.0, high=2.0):
    """Sixteenths: sums and products of them are short in decimal, which keeps the file small."""
    return torch.round(uniform(*shape, low=low, high=high) * 16) / 16


# ---- Convolution ----
for fn, name, n in ((F.conv1d, "conv1d", 1), (F.conv3d, "conv3d", 3)):
    for c, out, k, s, p, d, g in ((2, 3, 2, 1, 0, 1, 1), (4, 2, 3, 2, 1, 1, 2), (2, 2, 2, 2, 1, 2, 1), (3, 3, 1, 1, 0, 1, 3)):
        a = dict(stride=[s] * n, padding=[p] * n, dilation=[d] * n, groups=g)
        size = (7,) if n == 1 else (3, 4, 3)
        case(name, lambda x, w, b: fn(x, w, b, s, p, d, g), [f(2, c, *size), f(out, c // g, *[k] * n), f(out)], **a)
        case(name, lambda x, w: fn(x, w, None, s, p, d, g), [f(c, *size), f(out, c // g, *[k] * n)], **a)
for fn, name, n in ((F.conv_transpose1d, "conv_transpose1d", 1), (F.conv_transpose2d, "conv_transpose2d", 2), (F.conv_transpose3d, "conv_transpose3d", 3)):
    for c, out, k, s, p, o, g, d in ((2, 3, 2, 1, 0, 0, 1, 1), (4, 2, 3, 2, 1, 1, 2, 1), (2, 2, 2, 1, 1, 1, 1, 2), (3, 3, 1, 3, 0, 2, 3, 1)):
        a = dict(stride=[s] * n, padding=[p] * n, output_padding=[o] * n, groups=g, dilation=[d] * n)
        size = (3, 2, 3)[:n]
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

# ---- Pooling ----
SIZES = {1: (7,), 2: (5, 6), 3: (4, 5, 3)}
for n, with_, plain in ((1, "max_pool1d_with_indices", "max_pool1d"), (2, "max_pool2d_with_indices", None), (3, "max_pool3d_with_indices", "max_pool3d")):
    fn = getattr(F, f"max_pool{n}d")
    for k, s, p, d, up in ((2, 2, 0, 1, False), (3, 2, 1, 1, False), (2, 1, 1, 2, False), (2, 3, 1, 1, True)):
        a = dict(kernel_size=[k] * n, stride=[s] * n, padding=[p] * n, dilation=[d] * n, ceil_mode=up)
        case(with_, lambda x: fn(x, k, s, p, d, up, return_indices=True), [f(2, 2, *SIZES[n])], **a)
        if plain:
            case(plain, lambda x: fn(x, k, s, p, d, up), [f(2, *SIZES[n])], **a)
    for o in (1, 2, 3):
        if n != 2:
            case(f"adaptive_avg_pool{n}d", lambda x: getattr(F, f"adaptive_avg_pool{n}d")(x, o), [f(2, 2, *SIZES[n])], output_size=[o] * n)
        case(f"adaptive_max_pool{n}d", lambda x: getattr(F, f"adaptive_max_pool{n}d")(x, o, return_indices=True), [f(2, 2, *SIZES[n])], output_size=[o] * n)
    for k, s, p, up, include in ((2, 2, 0, False, True), (3, 2, 1, False, True), (3, 2, 1, True, False), (2, 3, 1, True, True)):
        a = dict(kernel_size=[k] * n, stride=[s] * n, padding=[p] * n, ceil_mode=up, count_include_pad=include)
        if n == 1:
            case("avg_pool1d", lambda x: F.avg_pool1d(x, k, s, p, up, include), [f(2, 2, 7)], **a)
        else:
            for divisor in (5,) if n == 2 else (None, 5):
                more = dict(divisor_override=divisor) if divisor else {}
                case(f"avg_pool{n}d", lambda x: getattr(F, f"avg_pool{n}d")(x, k, s, p, up, include, divisor), [f(2, *SIZES[n])], **a, **more)
    if n < 3:
        for power, k, s, up in ((2.0, 2, 2, False), (3.0, 3, 2, True), (1.0, 2, 1, False)):
            case(f"lp_pool{n}d", lambda x: getattr(F, f"lp_pool{n}d")(x, power, k, s, up), [f(2, 2, *SIZES[n], low=0.5, high=2)], norm_type=power,
                 kernel_size=[k] * n, stride=[s] * n, ceil_mode=up)

for n in (1, 2, 3):
    pool, unpool = getattr(F, f"max_pool{n}d"), getattr(F, f"max_unpool{n}d")
    for k, s, size in ((2, 2, None), (3, 2, SIZES[n]), (2, 1, None)):
        y, at = pool(f(2, 2, *SIZES[n]), k, s, return_indices=True)
        if size is None and s == 2:  # windows that fit exactly
            y, at = pool(f(2, 2, *[4] * n), k, s, return_indices=True)
        more = dict(output_size=list(size)) if size else {}
        case(f"max_unpool{n}d", lambda x, i: unpool(x, i, k, s, 0, size), [y, at], kernel_size=[k] * n, stride=[s] * n, **more)

# ---- Other resolutions ----
for shape, size, mode in (((1, 2, 5), (8,), "linear"), ((2, 1, 4, 3), (7, 2), "bilinear"), ((1, 2, 3, 2, 3), (4, 5, 2), "trilinear"), ((1, 1, 5, 4), (7, 8), "bicubic"), ((1, 2, 7, 6), (3, 4), "bicubic")):
    for align in (False, True):
        case("interpolate", lambda x: F.interpolate(x, size, mode=mode, align_corners=align), [f(*shape)], size=list(size), mode=mode, align_corners=align)
        for factor, again in ((2.0, False), (0.7, False), (1.3, True)):
            case("interpolate", lambda x: F.interpolate(x, scale_factor=factor, mode=mode, align_corners=align, recompute_scale_factor=again), [f(*shape)], scale_factor=factor,
                 mode=mode, align_corners=align, recompute_scale_factor=again)
for mode in ("nearest", "nearest-exact", "area"):
    for shape, size in (((1, 2, 5), (7,)), ((2, 1, 4, 5), (3, 7)), ((1, 1, 3, 2, 3), (2, 4, 5))):
        case("interpolate", lambda x: F.interpolate(x, size, mode=mode), [f(*shape)], size=list(size), mode=mode)
        case("interpolate", lambda x: F.interpolate(x, scale_factor=1.7, mode=mode), [f(*shape)], scale_factor=1.7, mode=mode)
case("pixel_shuffle", lambda x: F.pixel_shuffle(x, 2), [f(2, 8, 2, 3)], upscale_factor=2)
case("pixel_shuffle", lambda x: F.pixel_shuffle(x, 3), [f(9, 2, 1)], upscale_factor=3)
case("pixel_unshuffle", lambda x: F.pixel_unshuffle(x, 2), [f(2, 2, 4, 6)], downscale_factor=2)
case("channel_shuffle", lambda x: torch.stack(x.chunk(3, 1), 2).flatten(1, 2), [f(2, 6, 2, 2)], groups=3)
for padding in ("zeros", "border", "reflection"):
    for align in (False, True):
        for mode in ("bilinear", "nearest"):
            case("grid_sample", lambda x, g: F.grid_sample(x, g, mode, padding, align), [f(2, 2, 4, 3), uniform(2, 2, 3, 2)], mode=mode, padding_mode=padding, align_corners=align)

# ---- Normalisation ----
case("group_norm", lambda x, w, b: F.group_norm(x, 2, w, b), [f(2, 4, 3), f(4), f(4)], num_groups=2)
case("group_norm", lambda x: F.group_norm(x, 3, eps=0.1), [f(2, 6, 2, 2)], num_groups=3, eps=0.1)
case("instance_norm", lambda x, m, v, w, b: F.instance_norm(x, None, None, w, b), [f(2, 3, 5), None, None, f(3), f(3)])
case("instance_norm", lambda x: F.instance_norm(x, eps=0.1), [f(2, 3, 2, 3)], eps=0.1)
case("instance_norm", lambda x, m, v, w: F.instance_norm(x, m.detach(), v.detach(), w, None, False), [f(2, 3, 4), f(3), f(3, low=0.5), f(3)], use_input_stats=False)
case("instance_norm", lambda x, m, v: F.instance_norm(x, m.detach(), v.detach(), None, None, True, 0.3), [f(2, 3, 4), f(3), f(3, low=0.5)], momentum=0.3)
rms = lambda x, w, dims, eps: x * torch.rsqrt((x * x).mean(dims, keepdim=True) + eps) * (1 if w is None else w)
case("rms_norm", lambda x, w: rms(x, w, [-1], 1e-6), [f(3, 5), f(5)], n_dims=1, eps=1e-6)
case("rms_norm", lambda x, w: rms(x, w, [-2, -1], torch.finfo(torch.float64).eps), [f(2, 3, 4), f(3, 4)], n_dims=2)
case("rms_norm", lambda x: rms(x, None, [-1], 0.1), [f(6)], n_dims=1, eps=0.1)
for size in (1, 2, 3, 7):
    case("local_response_norm", lambda x: F.local_response_norm(x, size, 0.5, 0.6, 1.5), [f(2, 5, 3)], size=size, alpha=0.5, beta=0.6, k=1.5)
case("local_response_norm", lambda x: F.local_response_norm(x, 2), [f(2, 4, 2, 2)], size=2)

finish()
