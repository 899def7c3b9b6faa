"""What the peers share: reading a .safetensors file into numpy arrays (8 bytes of length, a JSON header, the bytes), and timing."""
import json
import struct
import time

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


def largest_mb():
    """The most memory that was in use so far. (getrusage would count what the process was before exec, too.)"""
    with open("/proc/self/status") as f:
        return next(int(line.split()[1]) * 1024e-6 for line in f if line.startswith("VmHWM"))


MOST, LEAST, SHORTEST = 50000, 3, 50e-6


def measure(step, seconds):
    """Sorted seconds a step; short ones are timed in groups, as bench_workloads does."""
    begin = t = time.perf_counter()
    for i in range(5):
        if i == 0 or t - begin < 0.3 * seconds:
            step()
            t = time.perf_counter()
    t = time.perf_counter()
    step()
    one = time.perf_counter() - t
    group = int(SHORTEST / one) + 1 if one < SHORTEST else 1
    times, end = [one] if group == 1 else [], time.perf_counter() + seconds
    while len(times) < LEAST or (len(times) < MOST and time.perf_counter() < end):
        t = time.perf_counter()
        for _ in range(group):
            step()
        times.append((time.perf_counter() - t) / group)
    return sorted(times)
