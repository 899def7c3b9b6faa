"""Reads .safetensors and .npy files with nothing but Python's standard library, strictly by the formats' descriptions, and lists what is in
them: an independent view of what soma writes. Used by tests/test_tensor_files.c where there is a python3.

    python3 tools/check_files.py FILE ...
"""
import ast
import hashlib
import json
import struct
import sys

WIDTHS = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}


def product(sizes):
    n = 1
    for size in sizes:
        n *= size
    return n


def unique(pairs):
    keys = [k for k, _ in pairs]
    assert len(keys) == len(set(keys)), "a key occurs twice"
    return dict(pairs)


def safetensors(data):
    (length,) = struct.unpack("<Q", data[:8])
    assert length <= 100_000_000 and 8 + length <= len(data)
    text = data[8:8 + length].decode("utf-8")
    assert text.startswith("{")
    header = json.loads(text, object_pairs_hook=unique)
    elements = data[8 + length:]
    meta = header.pop("__metadata__", {})
    assert all(isinstance(v, str) for v in meta.values())
    at = 0
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        begin, end = entry["data_offsets"]
        assert begin == at and end - begin == WIDTHS[entry["dtype"]] * product(entry["shape"])
        at = end
        print(f"{name} {entry['dtype']} {entry['shape']} {hashlib.sha256(elements[begin:end]).hexdigest()[:16]}")
    assert at == len(elements)
    if "soma.sha256" in meta:
        assert hashlib.sha256(elements).hexdigest() == meta.pop("soma.sha256")
        print("checksum right")
    for key, value in sorted(meta.items()):
        print(f"{key} = {value!r}")


def npy(data):
    assert data[:6] == b"\x93NUMPY"
    version = data[6]
    start = 10 if version == 1 else 12
    (length,) = struct.unpack("<H" if version == 1 else "<I", data[8:start])
    assert (start + length) % 64 == 0 and data[start + length - 1] == 10
    header = ast.literal_eval(data[start:start + length].decode("utf-8"))
    elements = data[start + length:]
    assert len(elements) == int(header["descr"][2:]) * product(header["shape"])
    order = "F" if header["fortran_order"] else "C"
    print(f"{header['descr']} {order} {header['shape']} {hashlib.sha256(elements).hexdigest()[:16]}")


for path in sys.argv[1:]:
    with open(path, "rb") as file:
        contents = file.read()
    npy(contents) if path.endswith(".npy") else safetensors(contents)
