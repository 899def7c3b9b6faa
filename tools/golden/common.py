"""What the scripts that make golden cases of operators share: writing a case, drawing inputs.

Each script tools/golden/NAME.py makes tests/golden/ops/NAME.txt.gz for tests/test_golden.c:
    /usr/bin/python3 tools/golden/NAME.py
with any Python that has torch (1.13 and newer give the same unless the script says otherwise). A case is a few lines: the operator, its
attributes, its inputs, what PyTorch gives in f64, and the gradient of sum(output * w) for the float inputs,
w[i] = 0.5 + 0.25 cos(1 + 1.7 i) in row-major order.

"skip" stands for an output that is not compared, "more" says that there are outputs that are not compared, "within E" that PyTorch's own
numbers are only so exact. A tensor is a line "in|out|grad I DTYPE NDIM SIZES… VALUES…", all values in row-major order, as numbers, or in one of these short forms:
    of Q N…             the values are N / Q, N whole
    drawn Q LOW SPAN S  element i is (LOW + mix(S, i) % SPAN) / Q; mix() below is what tests/test_golden.c has too
    sums A B C          (outputs and gradients) not the values but three weighted sums of them, sum of x[i] * (mix(k, i) % 1024 + 1) / 1024 for
                        k = 0, 1, 2. A wrong or misplaced element changes them. NaN counts as 11, infinity as 13, minus infinity as -17.
"""
import gzip
import io
import math
import os
import sys

import numpy
import torch

torch.manual_seed(20240815)
lines = []
count = {}


def weights(t):
    i = torch.arange(t.numel(), dtype=torch.float64)
    return (0.5 + 0.25 * torch.cos(1 + 1.7 * i)).reshape(t.shape)


NAMES = {torch.float64: "f64", torch.int64: "i64", torch.bool: "bool", torch.float32: "f32", torch.int32: "i32", torch.uint8: "u8",
         torch.float16: "f16", torch.bfloat16: "bf16", torch.int16: "i16", torch.int8: "i8"}


def number(v):
    v = float(v)
    if v == 0 and math.copysign(1, v) < 0:
        return "-0"
    if v == 0:
        return "-0" if math.copysign(1, v) < 0 else "0"
    return "nan" if math.isnan(v) else "inf" if v == math.inf else "-inf" if v == -math.inf else repr(int(v)) if v == int(v) and abs(v) < 1e15 else "%.17g" % v


def tensor(word, t):
    t = torch.zeros(t.shape, dtype=t.dtype) if t._is_zerotensor() else t.detach()
    flat = [number(v) for v in t.to(torch.float64).reshape(-1).tolist()]
    lines.append(" ".join([word, NAMES[t.dtype], str(t.dim())] + [str(s) for s in t.shape] + flat))


def mix(seed, n):
    """n well mixed 64-bit numbers, splitmix64's finaliser over (seed, i)."""
    with numpy.errstate(over="ignore"):
        z = numpy.uint64(seed) * numpy.uint64(0x9E3779B97F4A7C15) + (numpy.arange(n, dtype=numpy.uint64) + numpy.uint64(1)) * numpy.uint64(0xD1B54A32D192ED03)
        z = (z ^ (z >> numpy.uint64(30))) * numpy.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> numpy.uint64(27))) * numpy.uint64(0x94D049BB133111EB)
        return z ^ (z >> numpy.uint64(31))


def head(word, t):
    return [word, NAMES[t.dtype], str(t.dim())] + [str(s) for s in t.shape]


def result(word, t, most=8):
    """An output or gradient: its values, or sums where there are more than `most`. 14 digits: far finer than the comparison."""
    t = t.detach()
    values = t.to(torch.float64).reshape(-1)
    finite = values[torch.isfinite(values)]
    if values.numel() <= most or (finite.numel() and finite.abs().max() > 1e290):
        lines.append(" ".join(head(word, t) + [short(v) for v in values.tolist()]))
        return
    x = numpy.nan_to_num(values.numpy(), nan=11.0, posinf=13.0, neginf=-17.0)
    sums = [float(numpy.sum(x * ((mix(k, x.size) % numpy.uint64(1024)).astype(numpy.float64) + 1) / 1024)) for k in range(3)]
    lines.append(" ".join(head(word, t) + ["sums"] + [short(v) for v in sums]))


def short(v):
    text = number(v)
    return text if len(text) <= 14 or not math.isfinite(v) else "%.14g" % v


def case(op, fn, inputs, grad=True, **attrs):
    """fn takes the tensors of `inputs` (None: absent) and gives one tensor or a tuple of those to compare."""
    given = [x.detach().clone().requires_grad_(grad and x.dtype.is_floating_point) if x is not None else None for x in inputs]
    outs = fn(*given)
    outs = outs if isinstance(outs, tuple) else (outs,)
    lines.append("op " + op)
    for name, v in attrs.items():
        if isinstance(v, bool):
            lines.append(f"attr {name} bool {int(v)}")
        elif isinstance(v, int):
            lines.append(f"attr {name} int {v}")
        elif isinstance(v, str):
            lines.append(f"attr {name} string {v}")
        elif isinstance(v, float):
            lines.append(f"attr {name} float {number(v)}")
        else:
            lines.append(f"attr {name} ints " + " ".join(str(k) for k in v))
    for x in inputs:
        if x is None:
            lines.append("none")
        else:
            tensor("in", x)
    for o in outs:
        tensor("out", o)
    wanted = [o for o in outs if o.requires_grad]
    if wanted:
        sum((o * weights(o)).sum() for o in wanted).backward()
        for i, x in enumerate(given):
            if x is not None and x.requires_grad:
                tensor(f"grad {i}", x.grad if x.grad is not None else torch.zeros_like(x))
    lines.append("end")
    count[op] = count.get(op, 0) + 1


def f(*shape, low=-2.0, high=2.0):
    return torch.rand(shape, dtype=torch.float64) * (high - low) + low


def whole(high, *shape):
    return torch.randint(0, high, shape)


def flags(*shape):
    return torch.rand(shape) < 0.5


special = torch.tensor([0.0, -0.0, 1.0, -1.0, 0.5, 20.0, -20.0, 90.0, -90.0, math.inf, -math.inf, math.nan], dtype=torch.float64)


def finish():
    """Writes the cases to the file that belongs to the script."""
    script = os.path.abspath(sys.argv[0])
    name = os.path.splitext(os.path.basename(script))[0]
    path = os.path.join(os.path.dirname(script), "..", "..", "tests", "golden", "ops", name + ".txt.gz")
    out = io.BytesIO()
    with gzip.GzipFile(fileobj=out, mode="wb", compresslevel=9, mtime=0) as z:
        z.write(("\n".join(lines) + "\n").encode())
    with open(path, "wb") as target:
        target.write(out.getvalue())
    print(f"{name}: {sum(count.values())} cases of {len(count)} operators, {len(out.getvalue())} bytes, torch {torch.__version__}")
