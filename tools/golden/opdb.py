#!/usr/bin/env python3
"""Golden cases from PyTorch's own samples of its operators, torch.testing._internal.common_methods_invocations.op_db.

    /usr/bin/python3 tools/golden/opdb.py [--only NAME,…] [--build BUILD]

asks the built tool for soma's operators (`soma ops --json`), takes the samples of each entry of op_db that soma has, brings them to
soma's inputs and attributes (opdb_bind.py, and opdb_table.py for what does not bind by itself), runs PyTorch on values that take little room
(opdb_values.py) and writes tests/golden/ops/opdb.txt.gz in the format of common.py, and docs/parity.md: what was taken, what not and why.
Made with torch 1.13.
"""
import argparse
import collections
import json
import os
import random
import subprocess
import sys
import types
import unittest
import warnings
import zlib

import numpy
import torch

# op_db's module wants this test helper at import; nothing of it is used here.
helper = types.ModuleType("expecttest")
helper.TestCase, helper.ACCEPT = unittest.TestCase, False
sys.modules.setdefault("expecttest", helper)
from torch.testing._internal.common_methods_invocations import op_db  # noqa: E402
from torch.testing._internal.common_utils import noncontiguous_like  # noqa: E402,F401

import opdb_table as table  # noqa: E402
from common import count, finish, lines, number, result, weights  # noqa: E402
from opdb_bind import SOMA_DTYPE, Call, Refused, as_tensor, bind  # noqa: E402
from opdb_parity import write_parity  # noqa: E402
from opdb_values import simplify, write_input  # noqa: E402

MOST = {torch.float64: 40, torch.int64: 10, torch.bool: 4, torch.float32: 3, torch.int32: 2, torch.uint8: 2}
MOST_ELEMENTS, MOST_LISTED = 25000, 600
warnings.filterwarnings("ignore")


def registry(build):
    text = subprocess.run([os.path.join(build, "soma"), "ops", "--json"], stdout=subprocess.PIPE, check=True).stdout
    return {op["name"]: op for op in json.loads(text)}


def name_of(entry):
    return entry.name + ("." + entry.variant_test_name if entry.variant_test_name else "")


def soma_name(entry, ops):
    """(the operator that an entry is, the function that makes its call by hand or None); (None, None) when there is none."""
    full = name_of(entry)
    if full in table.OPERATOR and (full != entry.name or full in table.NOT_BY_NAME):
        op = table.OPERATOR[full]
        return (op, table.ADAPT.get(full)) if op in ops else (None, None)
    plain = entry.name.replace("nn.functional.", "")
    for name in (plain.replace(".", "_"), plain.split(".")[-1]):
        if name in ops and not ops[name]["internal"] and entry.name.split(".")[0] not in ("masked", "fft", "sparse"):
            return name, table.ADAPT.get(full, table.ADAPT.get(entry.name)) if entry.name in table.OWN and entry.name not in table.OPERATOR else None
    op = table.OPERATOR.get(entry.name)
    return (op, table.ADAPT.get(full, table.ADAPT.get(entry.name))) if op in ops else (None, None)


def samples(entry, dtype, grad):
    seed = zlib.crc32(f"{name_of(entry)} {dtype}".encode())
    torch.manual_seed(seed)
    numpy.random.seed(seed % (1 << 32))
    random.seed(seed)
    yield from entry.sample_inputs("cpu", dtype, requires_grad=grad)
    try:
        if entry.reference_inputs_func is not None:
            yield from entry.reference_inputs("cpu", dtype, requires_grad=grad)
    except Exception:  # some need packages that are not here
        return


def walk(v, fn):
    if isinstance(v, torch.Tensor):
        return fn(v)
    if isinstance(v, (list, tuple)) and not isinstance(v, torch.Size):
        return type(v)(walk(k, fn) for k in v)
    if isinstance(v, dict):
        return {k: walk(x, fn) for k, x in v.items()}
    return v


def tensors_in(v):
    found = []
    walk(v, lambda t: found.append(t) or t)
    return found


class Sample:
    """A sample over simplified values. `form` says how each tensor is written."""

    def __init__(self, entry, raw, tag):
        self.form = {}
        keep = table.KEEP_VALUES(entry.name)

        def take(t):
            if t.layout != torch.strided or t.dtype not in SOMA_DTYPE:
                raise Refused("complex numbers" if t.is_complex() else "sparse or quantised tensors")
            new, form = simplify(t, keep, f"{tag} {len(self.form)}")
            if new.numel() > MOST_LISTED and (form is None or form.parts[0] != "drawn") and new.unique().numel() > 4:
                raise Refused("larger than a golden case should be")
            new.requires_grad_(t.requires_grad)
            self.form[id(new)] = form
            return new

        everything = tensors_in((raw.input, raw.args, raw.kwargs))
        if sum(t.numel() for t in everything) > MOST_ELEMENTS:
            raise Refused("larger than a golden case should be")
        if any(t.dim() > 8 for t in everything):
            raise Refused("more than 8 dimensions")
        self.input, self.args, self.kwargs = walk(raw.input, take), walk(tuple(raw.args), take), walk(dict(raw.kwargs), take)
        self.tensors = tensors_in((self.input, self.args, self.kwargs))
        self.made = []


def call_of(entry, info, adapt, sample):
    """The soma call; a row of the table may make it by hand."""
    if not adapt:
        return bind(entry, info, (sample.input,) + sample.args, sample.kwargs, table.RENAME.get(entry.name, {}))
    call = Call(info["name"], *adapt(sample.input, *sample.args, **sample.kwargs))
    call.attrs = {k: typed(v) for k, v in call.attrs.items() if v is not None}
    call.inputs = [x if x is None or isinstance(x, torch.Tensor) else as_tensor(x, sample.tensors) for x in call.inputs]
    return call


def typed(v):
    if isinstance(v, tuple) and len(v) == 2 and isinstance(v[0], str):
        return v
    if isinstance(v, bool):
        return ("bool", int(v))
    if isinstance(v, int):
        return ("int", v)
    if isinstance(v, float):
        return ("float", v)
    if isinstance(v, str):
        return ("string", v)
    if any(isinstance(k, float) for k in v):
        return ("floats", list(v))
    return ("ints", [int(k) for k in v])


def outputs_of(entry, sample):
    full = name_of(entry)
    fn = table.COMPUTE.get(full) or table.COMPUTE.get(entry.name) or entry.op
    out = fn(sample.input, *sample.args, **sample.kwargs)
    out = list(out) if isinstance(out, (list, tuple)) else [out]
    if not all(isinstance(o, torch.Tensor) for o in out):
        raise Refused("the result is not a tensor")
    if any(o.is_complex() for o in out):
        raise Refused("complex numbers")
    pick = table.OUTPUTS.get(full, table.OUTPUTS.get(entry.name))
    return [out[i] for i in pick] if pick else out


def gradients(entry, op, sample, outs, inputs):
    """Gradients of sum(out * w) for the inputs that want one; [] where PyTorch has none."""
    wanted = [o for o in outs if o is not None and o.requires_grad and o.dtype == torch.float64]
    if not wanted or name_of(entry) in table.NO_GRADIENT or entry.name in table.NO_GRADIENT:
        return []
    total = sum((o * weights(o)).sum() for o in wanted)
    leaves = [t for t in sample.tensors if t.requires_grad and t.dtype == torch.float64]  # a narrower one beside it is rounded on the way
    if entry.name in table.FINITE_GRADIENT and not all(torch.isfinite(t).all() for t in leaves):
        return []
    got = torch.autograd.grad(total, leaves, allow_unused=True)
    if op in table.DOMAIN and not all(table.DOMAIN[op](t).all() for t in leaves):
        return []
    by_id = {id(t): g for t, g in zip(leaves, got)}
    found = [(i, by_id.get(id(x))) for i, x in enumerate(inputs)]
    # A zero that is only a promise has no numbers to read.
    return [(i, torch.zeros(g.shape, dtype=g.dtype) if g._is_zerotensor() else g) for i, g in found if g is not None]


def write_attr(name, kind, value):
    if kind == "float":
        value = number(value)
    elif kind == "floats":
        value = " ".join(number(v) for v in value)
    elif kind == "ints":
        value = " ".join(str(v) for v in value)
    lines.append(f"attr {name} {kind} {value}")


def check_call(info, call):
    if len(call.inputs) > 32 or (len(call.inputs) > 8 and info["inputs"]):
        raise Refused("too many inputs")
    if not info["inputs"] and info["max_inputs"] > 8 and not call.inputs:
        raise Refused("an empty list of tensors")
    for x in call.inputs:
        if x is not None and x.dim() > 8:
            raise Refused("more than 8 dimensions")
    if any(k == "ints" and len(v) > 8 for k, v in call.attrs.values()):
        raise Refused("a list of more than 8 numbers")


def one_case(entry, info, adapt, raw, tag):
    """The lines of a case, or Refused."""
    sample = Sample(entry, raw, tag)
    call = call_of(entry, info, adapt, sample)
    check_call(info, call)
    why = table.refused(name_of(entry), call, sample)
    if why:
        raise Refused(why)
    try:
        outs = outputs_of(entry, sample)
    except (RuntimeError, IndexError, ValueError, TypeError, NotImplementedError) as e:
        raise Refused("PyTorch refuses it on the simplified values") from e
    if any(o.dim() > 8 for o in outs):
        raise Refused("more than 8 dimensions")
    if any(o.dtype not in SOMA_DTYPE for o in outs):
        raise Refused("a dtype that soma lacks")
    if sum(o.numel() for o in outs) > 2 * MOST_ELEMENTS:
        raise Refused("larger than a golden case should be")
    given = len(outs)
    outs = table.comparable(name_of(entry), call, sample, outs)
    try:
        grads = gradients(entry, call.op, sample, outs, call.inputs)
    except (RuntimeError, NotImplementedError):
        grads = []
    start = len(lines)
    lines.append("op " + call.op)
    for name, (kind, value) in sorted(call.attrs.items()):
        write_attr(name, kind, value)
    if table.within(call):
        lines.append(f"within {table.within(call):g}")
    for x in call.inputs:
        if x is None:
            lines.append("none")
        else:
            write_input(x, sample.form.get(id(x)))
    for o in outs:
        if o is None:
            lines.append("skip")
        else:
            result("out", o)
    for i, g in grads:
        result(f"grad {i}", g)
    if len(outs) < given:
        lines.append("more")
    lines.append("end")
    text = lines[start:]
    del lines[start:]
    return call.op, text


def spread(items, most):
    """At most `most` of a list, evenly over it, the first and the last among them."""
    if len(items) <= most:
        return items
    return [items[round(i * (len(items) - 1) / (most - 1))] for i in range(most)]


class Tally:
    def __init__(self, op):
        self.op, self.taken, self.skipped = op, 0, collections.Counter()


def take_entry(entry, info, adapt, tally):
    for dtype, most in MOST.items():
        if not entry.supports_dtype(dtype, "cpu") or (SOMA_DTYPE[dtype] not in info["dtypes"] and info["inputs"] and dtype != torch.float64):
            continue
        if dtype != torch.float64 and dtype.is_floating_point and not table.SINGLE_TOO(entry.name, info):
            continue
        grad = dtype == torch.float64 and entry.supports_autograd and info["differentiable"]
        good, seen = [], set()
        try:
            for i, raw in enumerate(samples(entry, dtype, grad)):
                if i >= 400:
                    break
                try:
                    op, text = one_case(entry, info, adapt, raw, f"{name_of(entry)} {dtype} {i}")
                except Refused as e:
                    tally.skipped[str(e)] += 1
                    continue
                key = "\n".join(text)
                if key not in seen:
                    seen.add(key)
                    good.append((op, text))
        except (RuntimeError, TypeError, ValueError) as e:
            print(f"{name_of(entry)} {dtype}: its samples cannot be made: {e}", file=sys.stderr)
        for op, text in spread(good, most):
            lines.extend(text)
            count[op] = count.get(op, 0) + 1
            tally.taken += 1


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", default="")
    parser.add_argument("--build", default=os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "build"))
    options = parser.parse_args()
    ops = registry(options.build)
    only = [n for n in options.only.split(",") if n]
    tallies, without = {}, []
    for entry in op_db:
        full = name_of(entry)
        name, adapt = soma_name(entry, ops)
        if only and not any(full.startswith(n) or (name or "").startswith(n) for n in only):
            continue
        if full in table.NOT_COMPARED or entry.name in table.NOT_COMPARED or name is None:
            without.append(full)
            continue
        tallies[full] = Tally(name)
        take_entry(entry, ops[name], adapt, tallies[full])
    finish()
    covered = [n for n, t in tallies.items() if t.taken]
    print(f"{sum(t.taken for t in tallies.values())} cases of {len(covered)} entries of op_db; {len(without)} entries without a counterpart")
    if only:
        for n, t in tallies.items():
            print(f"  {n} -> {t.op}: {t.taken} taken; " + "; ".join(f"{c} {r}" for r, c in t.skipped.most_common()))
    else:
        write_parity(tallies, without, ops, sum(MOST.values()), table)


if __name__ == "__main__":
    main()
