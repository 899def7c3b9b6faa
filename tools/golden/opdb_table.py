"""What opdb_bind.py cannot know by itself: PyTorch's entries whose name or arguments differ from soma's, and why some are not compared."""
import torch

from opdb_bind import DTYPES as DT, Call, Refused

# Entries of op_db (with or without the variant's name) and the operator that they are, where soma has none of the entry's own name. A variant's
# name in full comes first.
OPERATOR = {
    "svd": "svd", "__rmod__": "remainder", "__rand__": "bitwise_and", "__ror__": "bitwise_or", "__rxor__": "bitwise_xor", "div.floor_rounding": "floor_divide",
    "linalg.inv": "inverse", "linalg.vector_norm": "norm", "pinverse": "pinv", "split_with_sizes": "split", "narrow_copy": "narrow", "trapz": "trapezoid",
    "nn.functional.upsample_bilinear": "interpolate", "nn.functional.upsample_nearest": "interpolate", "fill": "full",
    "nn.functional._scaled_dot_product_attention": "scaled_dot_product_attention", "linalg.pinv.singular": "pinv",
    "__radd__": "add", "__rsub__": "sub", "__rmul__": "mul", "__rdiv__": "div", "__rpow__": "pow", "__rmatmul__": "matmul", "rsub": "sub",
    "true_divide": "div", "div.no_rounding_mode": "div", "max.binary": "maximum", "min.binary": "minimum",
    "max.reduction_no_dim": "amax", "min.reduction_no_dim": "amin", "nn.functional.binary_cross_entropy_with_logits": "bce_with_logits",
    "reshape_as": "reshape", "view": "reshape", "view_as": "reshape", "expand_as": "expand", "broadcast_to": "expand", "ravel": "flatten",
    "t": "transpose", "T": "permute", "mT": "transpose", "H": "transpose", "mH": "transpose", "positive": "clone", 
    "float": "to", "double": "to", "int": "to", "long": "to", "bool": "to", "half": "to",
    "bfloat16": "to", "char": "to", "byte": "to", "short": "to", "mm": "matmul", "mv": "matmul", "bmm": "matmul", "fliplr": "flip", "flipud": "flip",
    "nn.functional.unfold": "im2col", "nn.functional.pad": "pad", "constant_pad_nd": "pad", "narrow": "slice", "linalg.vander": "vander", "ones": "full", "zeros": "full",
    "ones_like": "full", "zeros_like": "full", "full_like": "full", "new_ones": "full", "new_zeros": "full", "new_full": "full", "sgn": "sign",
    "clamp_min": "clamp", "clamp_max": "clamp", "swapaxes": "transpose", "movedim": "permute", "atleast_1d": None,
    "sigmoid": "sigmoid", "native_layer_norm": "layer_norm", "native_batch_norm": "batch_norm",
}

# Entries whose own name is another operator of soma's.
NOT_BY_NAME = {"svd", "linalg.vander", "nn.functional.unfold"}

# Names of arguments of one entry.
RENAME = {
    "index_add": {"source": "src"}, "tensor_split": {"indices": "indices", "sections": "sections", "indices_or_sections": "sections"},
}

def swapped(x, other, alpha=None):
    if alpha not in (None, 1):
        raise Refused("alpha is not an argument of soma's")
    return [other, x], {}


def full_of(shape, value, dtype):
    return [], {"shape": list(shape), "value": float(value), "dtype": ("int", DT[dtype])}


def to_dtype(dtype):
    return lambda x, **rest: ([x], {"dtype": ("int", DT[dtype])})


def floor_divide(x, other, rounding_mode=None):
    if rounding_mode != "floor":
        raise Refused("no rounding: div.no_rounding_mode has it")
    return [x, other], {}


def product_only(*args, **rest):
    raise Refused("of a product of two matrices")


def unique(x, sorted=True, return_inverse=False, return_counts=False, dim=None):
    if not sorted and dim is None:
        raise Refused("unsorted: in no defined order")
    return [x], {"return_inverse": bool(return_inverse), "return_counts": bool(return_counts), "dim": None if dim is None else ("ints", [dim])}


def nonzero(x, as_tuple=False):
    if as_tuple:
        raise Refused("a tuple of columns: unbind")
    return [x], {}


def vector_norm(x, ord=2, dim=None, keepdim=False, dtype=None):
    if dtype is not None:
        raise Refused("dtype is not an argument of soma's")
    return [x], {"p": float(ord), "dims": None if dim is None else numbers(dim), "keepdim": bool(keepdim)}


def upsample(x, mode, size, scale_factor):
    return [x], {"mode": mode, "size": None if size is None else numbers(size), "scale_factor": None if scale_factor is None else float(scale_factor),
                 "align_corners": mode == "bilinear"}


def attention(query, key, value, attn_mask=None, dropout_p=0.0, need_attn_weights=False, is_causal=False):
    if dropout_p:
        raise Refused("random")
    return [query, key, value, attn_mask], {"is_causal": bool(is_causal)}


def logspace(start, end, steps=100, base=10.0, *, dtype=torch.float32, **rest):
    inputs, attrs = linspace(start, end, steps, dtype=dtype)
    return inputs, {**attrs, "base": float(base)}


def max_unpool(x, indices, dims, kernel_size, stride=None, padding=0, output_size=None):
    return [x, indices], {"kernel_size": numbers(kernel_size), "stride": None if stride is None else numbers(stride), "padding": numbers(padding),
                          "output_size": None if output_size is None else numbers(output_size[-dims:])}


def moved(x, source, destination):
    order = torch.empty(x.shape).movedim(source, destination) if x.dim() else x
    names = torch.arange(x.dim()).tolist()
    source = [source] if isinstance(source, int) else list(source)
    destination = [destination] if isinstance(destination, int) else list(destination)
    source, destination = [s % max(x.dim(), 1) for s in source], [d % max(x.dim(), 1) for d in destination]
    rest = [n for n in names if n not in source]
    place = dict(zip(destination, source))
    dims = [place[i] if i in place else rest.pop(0) for i in range(x.dim())]
    assert not x.dim() or tuple(x.shape[d] for d in dims) == tuple(order.shape)
    return [x], {"dims": ("ints", dims)}


def arange(*args, dtype=None, device=None, layout=None, **named):
    start, end, step = {1: (0, args[0], 1), 2: args + (1,)}.get(len(args), args)
    if set(named) - {"start", "end", "step", "requires_grad", "pin_memory"}:
        raise Refused("arguments of another kind")
    start, end, step = named.get("start", start), named.get("end", end), named.get("step", step)
    if len(args) == 1 and "end" in named and "start" not in named:
        start = args[0]
    whole = all(isinstance(v, int) for v in (start, end, step))
    dtype = dtype or (torch.int64 if whole else torch.float32)
    if not dtype.is_floating_point and not whole:
        raise Refused("bounds with a fraction for whole numbers: PyTorch cuts them off first")
    return [], {"start": float(start), "end": float(end), "step": float(step), "dtype": ("int", DT[dtype])}


def linspace(start, end, steps=100, *, dtype=torch.float32, **rest):
    if not dtype.is_floating_point and start != end:
        raise Refused("whole numbers: PyTorch cuts the step off too")
    return [], {"start": float(start), "end": float(end), "steps": int(steps), "dtype": ("int", DT[dtype])}


# Entries whose call is made by hand: (inputs, attributes) of the operator that OPERATOR names, or that has the entry's own name (OWN).
OWN = {"polygamma", "special.polygamma", "einsum", "unique", "nonzero", "index_put", "nn.functional.max_unpool1d", "nn.functional.max_unpool2d", "nn.functional.max_unpool3d", "logspace", "nn.functional.dropout", "nn.functional.embedding_bag", "nn.functional.max_pool1d", "nn.functional.max_pool2d", "nn.functional.max_pool3d", "tril_indices", "triu_indices",
       "nn.functional.adaptive_max_pool1d", "nn.functional.adaptive_max_pool2d", "nn.functional.adaptive_max_pool3d", "nn.functional.adaptive_avg_pool2d",
       "nn.functional.adaptive_avg_pool3d", "reshape", "view", "expand", "where", "arange", "linspace", "movedim", "layer_norm", "nn.functional.layer_norm", "broadcast_to", "narrow", "constant_pad_nd", "ravel"}
ADAPT = {
    "__radd__": swapped, "__rsub__": swapped, "rsub": swapped, "__rmul__": swapped, "__rdiv__": swapped, "__rpow__": swapped, "__rmatmul__": swapped,
    "reshape_as": lambda x, other: ([x], {"shape": ("ints", list(other.shape))}),
    "view_as": lambda x, other: ([x], {"shape": ("ints", list(other.shape))}),
    "view": lambda x, *shape: ([x], {"shape": ("ints", list(shape[0]) if isinstance(shape[0], (tuple, list, torch.Size)) else list(shape))}),
    "reshape": lambda x, *shape: ([x], {"shape": ("ints", list(shape[0]) if isinstance(shape[0], (tuple, list, torch.Size)) else list(shape))}),
    "expand_as": lambda x, other: ([x], {"shape": ("ints", list(other.shape))}),
    "expand": lambda x, *shape: ([x], {"shape": ("ints", list(shape[0]) if isinstance(shape[0], (tuple, list, torch.Size)) else list(shape))}),
    "broadcast_to": lambda x, shape: ([x], {"shape": ("ints", list(shape))}),
    "ravel": lambda x: ([x], {}),
    "t": lambda x: ([x], {"dim0": 0, "dim1": max(x.dim() - 1, 0)}),
    "T": lambda x: ([x], {"dims": ("ints", list(range(x.dim()))[::-1])}),
    "mT": lambda x: ([x], {"dim0": -2, "dim1": -1}), "mH": lambda x: ([x], {"dim0": -2, "dim1": -1}),
    "H": lambda x: ([x], {"dim0": 0, "dim1": max(x.dim() - 1, 0)}),
    "positive": lambda x: ([x], {}),
    "float": to_dtype(torch.float32), "double": to_dtype(torch.float64), "int": to_dtype(torch.int32), "long": to_dtype(torch.int64), "bool": to_dtype(torch.bool),
    "half": to_dtype(torch.float16), "bfloat16": to_dtype(torch.bfloat16), "char": to_dtype(torch.int8), "byte": to_dtype(torch.uint8), "short": to_dtype(torch.int16),
    "fliplr": lambda x: ([x], {"dims": ("ints", [1])}), "flipud": lambda x: ([x], {"dims": ("ints", [0])}),
    "max.reduction_no_dim": lambda x: ([x], {}), "min.reduction_no_dim": lambda x: ([x], {}),
    "narrow": lambda x, dim, start, length: ([x], {"dim": dim, "start": int(start) % max(x.shape[dim], 1) if int(start) < 0 else int(start), "end": (int(start) % x.shape[dim] if int(start) < 0 else int(start)) + int(length)}),
    "movedim": moved,
    "clamp_min": lambda x, other: clamp_by(x, other, None), "clamp_max": lambda x, other: clamp_by(x, None, other),
    "nn.functional.layer_norm": lambda x, shape, weight=None, bias=None, eps=1e-5: ([x, weight, bias], {"n_dims": len(shape), "eps": float(eps)}),
    "native_layer_norm": lambda x, shape, weight=None, bias=None, eps=1e-5: ([x, weight, bias], {"n_dims": len(shape), "eps": float(eps)}),
    "where": lambda x, condition, other: ([condition, x, other], {}),
    "ones": lambda shape, *, dtype=torch.float32, device=None, **rest: full_of(shape, 1, dtype),
    "zeros": lambda shape, *, dtype=torch.float32, device=None, **rest: full_of(shape, 0, dtype),
    "ones_like": lambda x, *, dtype=None, **rest: full_of(x.shape, 1, dtype or x.dtype),
    "zeros_like": lambda x, *, dtype=None, **rest: full_of(x.shape, 0, dtype or x.dtype),
    "full_like": lambda x, v, *, dtype=None, **rest: full_of(x.shape, v, dtype or x.dtype),
    "new_ones": lambda x, shape, *, dtype=None, **rest: full_of(shape, 1, dtype or x.dtype),
    "new_zeros": lambda x, shape, *, dtype=None, **rest: full_of(shape, 0, dtype or x.dtype),
    "new_full": lambda x, shape, v, *, dtype=None, **rest: full_of(shape, v, dtype or x.dtype),
    "__rmod__": swapped, "__rand__": swapped, "__ror__": swapped, "__rxor__": swapped, "div.floor_rounding": floor_divide,
    "polygamma": lambda x, n: ([x], {"n": n}), "special.polygamma": lambda x, n: ([x], {"n": n}), "einsum": lambda x, equation: (x, {"equation": equation}),
    "unique": unique, "nonzero": nonzero, "index_put": lambda x, indices, values, accumulate=False: ([x, values, *indices], {"accumulate": bool(accumulate)}),
    "linalg.inv": lambda x: ([x], {}), "pinverse": lambda x, rcond=1e-15: ([x], {"rtol": float(rcond)}),
    "linalg.pinv.singular": product_only,
    "linalg.vector_norm": vector_norm, "split_with_sizes": lambda x, sizes, dim=0: ([x], {"split_size_or_sections": ("ints", list(sizes)), "dim": dim}),
    "narrow_copy": lambda x, dim, start, length: ([x], {"dim": dim, "start": int(start), "length": int(length)}),
    "trapz": lambda y, x=None, *, dim=-1, dx=1.0: ([y, x], {"dim": dim, "dx": float(dx)}),
    "nn.functional.upsample_bilinear": lambda x, size=None, scale_factor=None: upsample(x, "bilinear", size, scale_factor),
    "nn.functional.upsample_nearest": lambda x, size=None, scale_factor=None: upsample(x, "nearest", size, scale_factor),
    "fill": lambda x, value: full_of(x.shape, value, x.dtype), "nn.functional._scaled_dot_product_attention": attention,
    "arange": arange, "linspace": linspace, "logspace": logspace,
    "nn.functional.max_unpool1d": lambda x, indices, **rest: max_unpool(x, indices, 1, **rest),
    "nn.functional.max_unpool2d": lambda x, indices, **rest: max_unpool(x, indices, 2, **rest),
    "nn.functional.max_unpool3d": lambda x, indices, **rest: max_unpool(x, indices, 3, **rest),
    "nn.functional.adaptive_max_pool1d": lambda x, size, return_indices=False: adaptive(x, size, 1),
    "nn.functional.adaptive_max_pool2d": lambda x, size, return_indices=False: adaptive(x, size, 2),
    "nn.functional.adaptive_max_pool3d": lambda x, size, return_indices=False: adaptive(x, size, 3),
    "nn.functional.adaptive_avg_pool2d": lambda x, size: adaptive(x, size, 2),
    "nn.functional.adaptive_avg_pool3d": lambda x, size: adaptive(x, size, 3),
    "nn.functional.max_pool1d": lambda x, **rest: max_pool(x, **rest), "nn.functional.max_pool2d": lambda x, **rest: max_pool(x, **rest),
    "nn.functional.max_pool3d": lambda x, **rest: max_pool(x, **rest), "nn.functional.dropout": lambda x, p=0.5, training=True: dropout(x, p, training),
    "nn.functional.embedding_bag": lambda weight, indices, **rest: embedding_bag(weight, indices, **rest),
    "svd": lambda x, some=True, compute_uv=True: svd(x, some, compute_uv),
    "linalg.vander": lambda x, N=None: ([x], {"N": N, "increasing": True}),
    "tril_indices": lambda *args, **rest: indices_of(*args, **rest), "triu_indices": lambda *args, **rest: indices_of(*args, **rest),
    "constant_pad_nd": lambda x, pad, value=0.0: ([x], {"pad": ("ints", list(pad)), "value": float(value)}),
}


def svd(x, some, compute_uv):
    if not compute_uv:
        raise Refused("no vectors: svdvals")
    return [x], {"full_matrices": not some}


def numbers(v):
    return ("ints", [v] if isinstance(v, int) else list(v))


def max_pool(x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False):
    return [x], {"kernel_size": numbers(kernel_size), "stride": None if stride is None else numbers(stride), "padding": numbers(padding),
                 "dilation": numbers(dilation), "ceil_mode": bool(ceil_mode)}


def dropout(x, p, training):
    if training and p not in (0.0, 1.0):
        raise Refused("random")
    return [x], {"p": float(p), "training": bool(training)}


def embedding_bag(weight, indices, offsets=None, per_sample_weights=None, mode="mean", padding_idx=None, include_last_offset=False, scale_grad_by_freq=False, sparse=False,
                  max_norm=None, norm_type=2.0):
    if max_norm is not None:
        raise Refused("max_norm, which writes into the weights")
    if sparse:
        raise Refused("sparse or quantised tensors")
    return [weight, indices, offsets, per_sample_weights], {"mode": mode, "padding_idx": padding_idx, "include_last_offset": bool(include_last_offset),
                                                            "scale_grad_by_freq": bool(scale_grad_by_freq)}


def indices_of(row, col, offset=0, dtype=torch.int64, device=None):
    if dtype != torch.int64:
        raise Refused("indices of another dtype than i64")
    return [], {"row": row, "col": col, "offset": offset}


def adaptive(x, size, dims):
    """None keeps a size; one number is for all dimensions."""
    sizes = list(size) if isinstance(size, (list, tuple, torch.Size)) else [size] * dims
    return [x], {"output_size": ("ints", [x.shape[x.dim() - dims + i] if n is None else int(n) for i, n in enumerate(sizes)])}


def clamp_by(x, low, high):
    if any(isinstance(v, torch.Tensor) for v in (low, high)):
        raise Refused("bounds that are tensors: soma has maximum and minimum for them")
    return [x], {"min": None if low is None else float(low), "max": None if high is None else float(high)}


# Instead of the entry's own function, where that gives more than what is compared.
COMPUTE = {}
# Outputs of PyTorch's that soma has, by number, where not all.
OUTPUTS = {
    "nn.functional._scaled_dot_product_attention": [0],
    "native_layer_norm": [0], "native_batch_norm": [0],
}
# No gradient is compared for these, and why.
NO_GRADIENT = {"cholesky_inverse", "cholesky_solve", "linalg.det", "linalg.det.singular"}

# Entries that soma has in some form but that are not compared, and why.
NOT_COMPARED = {
    "rand_like": "random", "randn_like": "random", "randint_like": "random", "randn": "random", "uniform": "random", "normal": "random",
    "normal.number_mean": "random", "bernoulli": "random", "multinomial": "random", "nn.functional.dropout2d": "random", "nn.functional.dropout3d": "random",
    "nn.functional.rrelu": "random", "nn.functional.feature_alpha_dropout": "random", "empty": "values are not defined", "empty_like": "values are not defined",
    "new_empty": "values are not defined", "new_empty_strided": "values are not defined",
    "nn.functional.fractional_max_pool2d": "random", "nn.functional.fractional_max_pool3d": "random",
    "chalf": "complex numbers", "masked_fill_": "in place", "resize_": "in place", "resize_as_": "in place", "zero_": "in place",
}


def why_not(name):
    """Why an entry is not compared, for docs/parity.md."""
    base = name.split(".")[0] if name not in NOT_COMPARED else name
    if name in NOT_COMPARED or base in NOT_COMPARED:
        return NOT_COMPARED.get(name, NOT_COMPARED.get(base))
    if name in COMPLEX:
        return "complex numbers, which soma does not have"
    for start, why in (("fft.", "Fourier transforms, complex numbers"), ("masked.", "masked tensors: where and the plain operator do it"), ("jiterator", "CUDA only"),
                       ("special.", "special functions that soma does not have"), ("sparse", "sparse tensors"), ("segment_reduce", "segments: scatter_add does it")):
        if name.startswith(start):
            return why
    return "no operator of soma's"


COMPLEX = {"complex", "view_as_real", "view_as_complex", "imag", "real", "conj", "conj_physical", "resolve_conj", "resolve_neg", "angle", "polar", "linalg.eig", "linalg.eigvals", "nn.functional.silu.complex", "stft", "istft"}


def KEEP_VALUES(name):
    """Matrices whose properties matter."""
    return name.startswith("linalg.") or name in ("cholesky", "cholesky_inverse", "cholesky_solve", "svd", "qr", "inverse", "logdet", "pinverse", "matrix_exp", "symeig",
                                                  "lu", "lu_solve", "triangular_solve", "solve", "igamma", "igammac")


def SINGLE_TOO(name, info):
    return info["family"] in ("elementwise", "comparison", "shape", "index", "reduce", "softmax")


def ties(x, dim):
    """Whether equal elements meet along dim."""
    if x.dim() == 0 or x.numel() == 0:
        return False
    s = x.detach().sort(dim).values
    return bool((s.diff(dim=dim) == 0).any())


# Which input of a loss is its target, and what it has to be.
SIGN_TARGETS = {"soft_margin_loss": 1, "hinge_embedding_loss": 1, "margin_ranking_loss": 2, "cosine_embedding_loss": 2}
SHARE_TARGETS = ("multilabel_soft_margin_loss", "bce_with_logits", "binary_cross_entropy", "binary_cross_entropy_with_logits")
SAME_SHAPES = {"soft_margin_loss": 2, "hinge_embedding_loss": 2, "margin_ranking_loss": 3, "gaussian_nll_loss": 2, "poisson_nll_loss": 2, "mse_loss": 2, "l1_loss": 2,
               "smooth_l1_loss": 2, "huber_loss": 2, "kl_div": 2, "bce_with_logits": 2, "binary_cross_entropy": 2}
WHOLE = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)


def refused(name, call, sample):
    """Why soma does not take this call on purpose, or there is nothing defined to compare; None when it does."""
    x = call.inputs[0] if call.inputs else None
    if not sample.tensors and call.inputs:
        return "Python numbers only"
    if name == "__rdiv__" and (call.inputs[1] == 0).any():
        return "division by zero, which PyTorch computes as x * (1 / 0) here"
    if call.op in SIGN_TARGETS and not (call.inputs[SIGN_TARGETS[call.op]].abs() == 1).all():
        return "a target that is neither -1 nor 1: soma says so"
    if call.op in SHARE_TARGETS and not ((call.inputs[1] >= 0) & (call.inputs[1] <= 1)).all():
        return "a target outside 0 to 1: soma says so"
    if call.op == "poisson_nll_loss" and (call.inputs[1] < 0).any():
        return "a negative count: soma says so"
    if call.op in SAME_SHAPES and len({x.shape for x in call.inputs[:SAME_SHAPES[call.op]] if x is not None}) > 1:
        return "a target of another shape: soma never broadcasts it"
    if name == "div.trunc_rounding" and "rounding_mode" not in call.attrs:
        return "no rounding: div.no_rounding_mode has it"
    if call.op == "grid_sample" and call.attrs.get("mode", ("", ""))[1] == "bicubic":
        return "mode bicubic, which soma does not have"
    if call.op == "vander" and x.dim() == 0:
        return "a number where a vector is expected"
    if call.op == "grid_sample" and x.dim() == 5:
        return "volumes, for which soma has no grid_sample"
    if call.op.startswith("bitwise_") and call.op.endswith("shift") and ((call.inputs[1] < 0) | (call.inputs[1] > 31)).any():
        return "a shift below 0 or beyond the width: not defined"
    if call.op == "scatter_reduce" and not call.attrs.get("include_self", (0, 1))[1] and torch.isin(x.detach(), call.inputs[2].detach()).any():
        return "an element equal to one it does not meet: PyTorch's gradient counts it"
    if call.op == "polygamma" and call.attrs["n"][1] > 0 and ((x <= 0) & (x == x.round())).any():
        return "at a pole, where PyTorch gives a large number"
    if call.op == "unique" and call.attrs.get("dim", ("", [0]))[1][0] % max(x.dim(), 1) > 1:
        return "slices along a third dimension, whose elements PyTorch 1.13 compares in another order"
    if call.op == "index_put" and x.dtype == torch.bool:
        return "index_put of bool, which soma does not have"
    if call.op == "einsum" and x.dtype in WHOLE[1:]:
        return "narrow whole numbers, which PyTorch widens here alone"
    if call.op == "vander" and x.dtype in WHOLE[1:]:
        return "narrow whole numbers, which PyTorch widens here alone"
    if call.op == "cov" and len({t.dtype for t in sample.tensors if t.is_floating_point()}) > 1:
        return "weights narrower than the data: PyTorch rounds in between"
    if name in ("linalg.norm", "linalg.norm.subgradients_at_zero") and call.op == "norm" and "p" in call.attrs and (
            len(call.attrs.get("dims", call.attrs.get("dim", ("", [])))[1]) == 2 or (x.dim() == 2 and not (set(call.attrs) & {"dim", "dims"}))):
        return "the norm of a matrix, which is another operator"
    if call.op in ("i0", "i0e", "i1", "i1e", "zeta", "softshrink") and not all(torch.isfinite(t).all() for t in sample.tensors):
        return "at infinity, where PyTorch gives NaN (softshrink: 0 at NaN) and soma the limit"
    if call.attrs.get("divisor_override", (0, 1))[1] < 0:
        return "a negative divisor: soma says so"
    if call.op == "to" and x.dtype.is_floating_point and x.numel():
        dtype = list(DT)[call.attrs["dtype"][1]] if "dtype" in call.attrs else x.dtype
        if dtype in WHOLE and not (torch.isfinite(x).all() and x.min() > torch.iinfo(dtype).min - 1 and x.max() < torch.iinfo(dtype).max + 1):
            return "a float outside the range of the whole numbers: not defined"
    if call.op in ("gather", "scatter", "scatter_add", "index_select", "index_add") and call.inputs[1].dtype not in (torch.int64, torch.int32):
        return "indices that are not i64 or i32: PyTorch takes them only when there are none"
    if call.op == "aminmax" and x.dim() == 0 and call.attrs.get("keepdim", ("bool", 0))[1]:
        return "PyTorch gives [1] for a number with keepdim here, all others []"
    if call.op == "argsort" and x.dim() and not call.attrs.get("stable", (0, 0))[1] and ties(x, call.attrs.get("dim", (0, -1))[1]):
        return "places of equal elements in an unstable sort: not defined"
    if call.op in ("any", "all") and x.dtype == torch.uint8:
        return "PyTorch gives u8 for u8 here, soma bool as for all others"
    if name in ("mT", "mH") and x.dim() < 2:
        return "fewer than 2 dimensions"
    if call.op == "batch_norm" and x.dim() < 2:
        return "fewer than 2 dimensions"
    return None


def comparable(name, call, sample, outs):
    """Those of PyTorch's results that are defined: indices are not where values tie."""
    if call.op in ("topk", "sort", "msort", "kthvalue", "median", "mode", "nanmedian", "cummax", "cummin") and len(outs) == 2 and call.inputs[0].dim():
        kind, dim = call.attrs.get("dim", ("int", -1))
        dim = dim if isinstance(dim, int) else dim[0] if dim else None
        if dim is not None and ties(call.inputs[0], dim):
            return outs[:1]
    if call.op in ("svd", "eigh") and len(outs) > 1:  # vectors are so but for signs and order within equal values
        return [o if i == (call.op == "svd") else None for i, o in enumerate(outs)]
    if call.op == "max_pool2d" and len(outs) == 2:  # soma's places are i32
        return [outs[0], outs[1].to(torch.int32)]
    if call.op in ("max_pool1d", "max_pool3d", "lstsq"):
        return outs[:1]
    return outs


# Relative errors of PyTorch's own f64 numbers where they are coarse.
WITHIN = {"hardsigmoid": 1e-7, "celu": 1e-7, "digamma": 1e-9, "polygamma": 1e-9, "erfinv": 1e-11}


def within(call):
    """PyTorch rounds the order of a norm to f32 on its way."""
    p = call.attrs.get("p", (0, 2.0))[1]
    if call.op == "norm" and p != float(torch.tensor(p, dtype=torch.float32)):
        return 1e-6
    return WITHIN.get(call.op, 0)


# Gradients are compared at finite inputs only.
FINITE_GRADIENT = {"nn.functional.softsign", "logit", "special.logit", "clamp_min", "clamp_max", "nn.functional.hinge_embedding_loss",
                   "nn.functional.hardshrink", "nn.functional.softshrink", "nn.functional.elu", "nn.functional.celu", "nn.functional.selu", "nn.functional.hardtanh",
                   "nn.functional.relu6"}
# Gradients are compared only where the function is defined: beyond, PyTorch gives NaN for the gradient of a NaN or of a constant.
DOMAIN = {"digamma": lambda x: (x > 0) | (x != x.round()), "polygamma": lambda x: (x > 0) | (x != x.round())}

# Differences on purpose, for docs/parity.md.
DIFFERENCES = [
    "Targets of losses are never broadcast, and a target that makes no sense (a class out of range, a sign that is neither -1 nor 1, a share outside 0 to 1) is an "
    "error with its place and value. PyTorch computes something.",
    "Shapes have at most 8 dimensions, and so have lists of whole numbers.",
    "No complex numbers, no sparse or quantised tensors, no names of dimensions, no `out=`.",
    "`any` and `all` give bool for u8 too; PyTorch gives u8 for this dtype alone.",
    "`max_pool2d` gives the places of the largest elements as i32; PyTorch's are i64. The values are compared.",
    "The argument `alpha` of add and sub is a multiplication: soma_mul first.",
    "`grid_sample` and `interpolate` have no bicubic mode where the table below says so.",
    "At infinities, where PyTorch's formulas for i0, i1, zeta and a few more give NaN though the limit exists, soma gives the limit. The gradient of softsign and logit "
    "there is 0 and not NaN for the same reason.",
    "PyTorch rounds the order p of a norm to f32 (0.9 becomes 0.89999998): compared within 1e-6.",
    "PyTorch computes constants of hardsigmoid and celu in f32 even for f64 inputs, and the gradient of digamma (trigamma) and polygamma to 1e-10 only: soma's are exact, and compared "
    "within that.",
    "The gradient at NaN of elu, celu, selu, hardtanh, relu6, hardshrink and softshrink: PyTorch's own differs between elements of one tensor (in and beyond a full "
    "vector).",
    "Gradients of cholesky_inverse and cholesky_solve are those of the lower triangle, which alone is read; PyTorch has numbers above it too. The gradient of det is that "
    "of the cofactors also where the matrix is singular; PyTorch's 1.13 is 0 or noise there. Checked by differences instead.",
    "Vectors of svd and eigh are not compared, only values: their signs are a choice.",
    "Indices are i64 or i32; PyTorch takes other dtypes where there are none.",
]
