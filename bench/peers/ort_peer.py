#!/usr/bin/env python3
"""Inference in ONNX Runtime: ort_peer.py [-t THREADS] [-s SECONDS] --model FILE.onnx --check FILE.safetensors NAME. Computes the output of the
input that bench_workloads -c wrote, says whether it agrees, and prints the time as bench_workloads does."""
import argparse
import json
import os
import sys

parser = argparse.ArgumentParser()
parser.add_argument("name")
parser.add_argument("-t", type=int, default=1, dest="threads")
parser.add_argument("-s", type=float, default=2.0, dest="seconds")
parser.add_argument("--model", required=True)
parser.add_argument("--check", required=True)
args = parser.parse_args()
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import numpy as np  # noqa: E402
import onnxruntime as ort  # noqa: E402

import tensors  # noqa: E402

base = tensors.largest_mb()
given = tensors.read(args.check)
options = ort.SessionOptions()
options.intra_op_num_threads, options.inter_op_num_threads, options.log_severity_level = args.threads, 1, 3
session = ort.InferenceSession(args.model, options, providers=["CPUExecutionProvider"])
wanted = given["out.0"]
binding, out = session.io_binding(), ort.OrtValue.ortvalue_from_shape_and_type(list(wanted.shape), np.float32)
binding.bind_ortvalue_input("x", ort.OrtValue.ortvalue_from_numpy(given["x"]))
binding.bind_ortvalue_output("y", out)


def step():
    session.run_with_iobinding(binding)


step()
difference = float(np.abs(out.numpy() - wanted).max() / np.abs(wanted).max())
times = tensors.measure(step, args.seconds)
print(json.dumps({"peer": "onnxruntime", "version": ort.__version__, "variant": "", "workload": args.name, "threads": args.threads,
                  "median_ms": times[len(times) // 2] * 1e3, "min_ms": times[0] * 1e3, "n": len(times), "base_mb": round(base, 1),
                  "peak_mb": round(tensors.largest_mb(), 1), "agrees": difference <= 1e-4,
                  "difference": difference}))
