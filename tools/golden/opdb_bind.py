"""Finds the soma call that is a PyTorch call: the generic part. What does not bind by itself is in opdb_table.py.

PyTorch's signature (the operator's schemas, or the Python function's) gives each argument its name. Tensors go to soma's inputs, by name or in
order; all else goes to attributes by name, or by the other name in RENAME. An argument that was not given is not given to soma either: its
default has to be PyTorch's.
"""
import inspect

import torch

DTYPES = {torch.float32: 0, torch.float64: 1, torch.float16: 2, torch.bfloat16: 3, torch.int64: 4, torch.int32: 5, torch.int16: 6, torch.int8: 7,
          torch.uint8: 8, torch.bool: 9}
SOMA_DTYPE = {torch.float32: "f32", torch.float64: "f64", torch.int64: "i64", torch.int32: "i32", torch.int16: "i16", torch.int8: "i8",
              torch.uint8: "u8", torch.bool: "bool", torch.float16: "f16", torch.bfloat16: "bf16"}
REDUCTION = {"mean": 0, "sum": 1, "none": 2}
# PyTorch's name: soma's, tried in order when soma has none of the same name.
RENAME = {"dim": ("dims", "axis"), "dims": ("dim",), "size": ("shape",), "unbiased": ("correction",), "fill_value": ("value",),
          "num_classes": ("classes",), "p": ("ord",), "ord": ("p",), "min_val": ("min",), "max_val": ("max",), "axis": ("dim",),
          "output_size": ("shape",), "lambd": ("lambda",), "split_size_or_sections": ("split_size",), "sections": ("chunks",)}
# Says where results are put or kept, not what they are; or it is checked elsewhere.
IGNORED = {"layout", "device", "pin_memory", "memory_format", "non_blocking", "copy", "requires_grad", "inplace", "compute_mode", "driver"}


class Refused(Exception):
    """A sample that soma does not take; the text is the reason that docs/parity.md counts."""


class Argument:
    def __init__(self, name, kind, positional, has_default, default):
        self.name, self.kind, self.positional, self.has_default, self.default = name, kind, positional, has_default, default


def signatures(entry):
    """The lists of arguments that a call may have."""
    fn = entry.op
    try:
        parameters = list(inspect.signature(fn).parameters.values())
    except (TypeError, ValueError):
        parameters = []
    plain = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    if parameters and len(plain) == len(parameters) and getattr(fn, "__name__", "") != "<lambda>":
        return [[Argument(p.name, None, p.kind == p.POSITIONAL_OR_KEYWORD, p.default is not p.empty, p.default) for p in plain]]
    names = [entry.name, entry.name.replace("nn.functional.", ""), entry.name.replace(".", "_"), entry.name.split(".")[-1], entry.aten_name or ""]
    found = []
    for name in dict.fromkeys(names):
        for schema in torch._C._jit_get_schemas_for_operator("aten::" + name) if name else []:
            arguments = [Argument(a.name, str(a.type), not a.kwarg_only, a.has_default_value(), a.default_value) for a in schema.arguments]
            if not any("Dimname" in a.kind for a in arguments) and not any(a.name == "out" for a in arguments):
                found.append(arguments)
    return found


def is_tensors(v):
    return isinstance(v, (list, tuple)) and len(v) > 0 and all(isinstance(t, torch.Tensor) for t in v)


def is_ints(v):
    return isinstance(v, (list, tuple, torch.Size)) and all(isinstance(k, int) for k in v)


def fits(argument, v):
    kind = argument.kind
    if kind is None or argument.name in IGNORED:
        return True
    if kind.startswith("Optional["):
        if v is None:
            return True
        kind = kind[9:-1]
    if isinstance(v, torch.dtype):
        return argument.name == "dtype"
    return {"Tensor": lambda: isinstance(v, torch.Tensor), "List[Tensor]": lambda: is_tensors(v), "int": lambda: isinstance(v, int) and argument.name != "dtype",
            "number": lambda: isinstance(v, (int, float, complex)), "float": lambda: isinstance(v, (int, float)), "bool": lambda: isinstance(v, (bool, int)),
            "str": lambda: isinstance(v, str), "List[int]": lambda: is_ints(v) or isinstance(v, int),
            "List[float]": lambda: isinstance(v, (list, tuple))}.get(kind, lambda: kind.startswith("List[Optional"))()


def named(arguments, args, kwargs):
    """[(argument, value)] of a call, or None when the signature does not take it."""
    positional = [a for a in arguments if a.positional]
    if len(args) > len(positional):
        if len(positional) >= 1 and all(isinstance(k, int) for k in args[len(positional) - 1:]) and positional[-1].kind in ("List[int]", None):
            args = list(args[:len(positional) - 1]) + [list(args[len(positional) - 1:])]  # x.permute(0, 1)
        else:
            return None
    given = list(zip(positional, args))
    by_name = {a.name: a for a in arguments}
    for name, v in kwargs.items():
        if name == "requires_grad":
            continue
        if name not in by_name:
            return None
        given.append((by_name[name], v))
    taken = {a.name for a, _ in given}
    if any(not a.has_default and a.name not in taken for a in arguments) or any(not fits(a, v) for a, v in given):
        return None
    return given


def same(a, b):
    return type(a) is type(b) and a == b or (isinstance(a, (int, float)) and isinstance(b, (int, float)) and a == b)


def attribute(info, v, name):
    """The value as soma's attribute takes it."""
    kind = info["type"]
    if isinstance(v, torch.dtype):
        if v not in DTYPES:
            raise Refused("complex numbers")
        return ("int", DTYPES[v])
    if isinstance(v, torch.Tensor) and v.dim() == 0 and kind != "string":
        v = v.item()
    if isinstance(v, complex):
        raise Refused("complex numbers")
    if isinstance(v, str) and kind == "int" and v in REDUCTION:
        return ("int", REDUCTION[v])
    if name == "unbiased":
        return ("int", int(v))
    if kind == "ints" and isinstance(v, int):
        v = [v]
    if kind == "int" and is_ints(v) and len(v) == 1:
        v = v[0]
    if kind == "ints" and is_ints(v):
        if len(v) > 8:
            raise Refused("a list of more than 8 numbers")
        return ("ints", [int(k) for k in v])
    if kind == "floats" and isinstance(v, (int, float)):
        v = [v]
    if kind == "floats" and isinstance(v, (list, tuple)):
        return ("floats", [float(k) for k in v])
    if kind == "float" and isinstance(v, (int, float)):
        return ("float", float(v))
    if kind == "bool" and isinstance(v, (bool, int)):
        return ("bool", int(v))
    if kind == "int" and isinstance(v, (bool, int)):
        return ("int", int(v))
    if kind == "string" and isinstance(v, (str, int, float)):
        return ("string", str(v))
    raise Refused(f"{name}: {'words' if isinstance(v, str) else type(v).__name__} where soma takes {kind}")


class Call:
    """A soma call: the operator, its inputs (tensors of the sample itself, None where absent) and attributes."""

    def __init__(self, op, inputs, attrs=None):
        self.op, self.inputs, self.attrs = op, list(inputs), dict(attrs or {})


def scalar_dtype(tensors):
    """A Python number meets tensors as torch.result_type lets it."""
    return torch.float64 if any(t.dtype == torch.float64 for t in tensors) else torch.float32


def as_tensor(v, tensors):
    if isinstance(v, bool):
        return torch.tensor(v)
    if isinstance(v, int):
        return torch.tensor(v)
    if isinstance(v, float):
        return torch.tensor(v, dtype=scalar_dtype(tensors))
    raise Refused("complex numbers")


def soma_call(info, given, renames):
    tensors = [v for _, v in given if isinstance(v, torch.Tensor)]
    attrs_by_name = {a["name"]: a for a in info["attributes"]}
    inputs, attrs, variadic = {}, {}, not info["inputs"] and info["max_inputs"] > 8
    listed = []
    for argument, v in given:
        name = argument.name
        names = [renames[name]] if name in renames else [name] + list(RENAME.get(name, ()))
        if v is None or (name in IGNORED and name not in attrs_by_name):
            continue
        if is_tensors(v) and variadic:
            listed += v
            continue
        attr = next((n for n in names if n in attrs_by_name), None)
        place = next((info["inputs"].index(n) for n in names if n in info["inputs"]), None)
        if attr is None and (isinstance(v, torch.Tensor) or (isinstance(v, (bool, int, float, complex)) and (place is not None or len(inputs) < len(info["inputs"])
                                                             and not (argument.has_default and same(v, argument.default))))):
            if place is None:
                place = max(inputs, default=-1) + 1
            if place in inputs or place >= len(info["inputs"]):
                raise Refused(f"no input for {name}")
            inputs[place] = v if isinstance(v, torch.Tensor) else as_tensor(v, tensors)
        elif attr is not None:
            kind, value = attribute(attrs_by_name[attr], v, name)
            attrs[attr] = (kind, value)
        elif not (argument.has_default and same(v, argument.default)):
            raise Refused(f"{name} is not an argument of soma's")
    if variadic:
        return Call(info["name"], listed, attrs)
    return Call(info["name"], [inputs.get(i) for i in range(max(inputs, default=-1) + 1)], attrs)


def bind(entry, info, args, kwargs, renames):
    """The first signature that takes the call and that soma can express."""
    why, found = None, False
    if not info["inputs"] and info["max_inputs"] > 8 and len(args) and all(isinstance(t, torch.Tensor) for t in args):  # f(x, y, z, name=word)
        return soma_call(info, [(Argument("tensors", None, True, False, None), list(args))] + [(Argument(k, None, False, False, None), v) for k, v in kwargs.items()], renames)
    for arguments in signatures(entry):
        given = named(arguments, args, kwargs)
        if given is None:
            continue
        found = True
        try:
            return soma_call(info, given, renames)
        except Refused as e:
            why = why or e
    if found:
        raise why
    raise Refused("the call fits no signature")
