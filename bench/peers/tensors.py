"""Reads a .safetensors file into numpy arrays (the format: 8 bytes of length, a JSON header, the bytes)."""
import json
import struct

import numpy as np

DTYPES = {"F32": np.float32, "F64": np.float64, "I64": np.int64, "I32": np.int32, "U8": np.uint8}


def read(path):
    with open(path, "rb") as f:
        header = json.loads(f.read(struct.unpack("<Q", f.read(8))[0]))
        data = f.read()
    out = {}
    for name, t in header.items():
        if name != "__metadata__":
            begin, end = t["data_offsets"]
            out[name] = np.frombuffer(data[begin:end], DTYPES[t["dtype"]]).reshape(t["shape"]).copy()
    return out


def numbered(tensors, name):
    """name.0, name.1 … as a list."""
    out = []
    while f"{name}.{len(out)}" in tensors:
        out.append(tensors[f"{name}.{len(out)}"])
    return out
