#!/usr/bin/python3
"""The same step as train_step.c in PyTorch: train_step.py [demo|plain [BATCH [SECONDS [THREADS]]]]. Prints one JSON line."""
import json
import os
import sys
import time

name = sys.argv[1] if len(sys.argv) > 1 else "demo"
batch = int(sys.argv[2]) if len(sys.argv) > 2 else 64
seconds = float(sys.argv[3]) if len(sys.argv) > 3 else 2.0
threads = int(sys.argv[4]) if len(sys.argv) > 4 else os.cpu_count()
os.environ["OMP_NUM_THREADS"] = str(threads)

import torch  # noqa: E402  (reads OMP_NUM_THREADS when it is loaded)
import torch.nn as nn  # noqa: E402

torch.set_num_threads(threads)
torch.manual_seed(1234)
if name == "plain":
    net = nn.Sequential(nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
                        nn.Dropout(0.25), nn.Linear(1600, 128), nn.ReLU(), nn.Dropout(0.5), nn.Linear(128, 10))
else:
    net = nn.Sequential(nn.Conv2d(1, 32, 3, padding="same", bias=False), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
                        nn.Conv2d(32, 64, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
                        nn.Linear(2304, 128), nn.ReLU(), nn.Dropout(0.4), nn.Linear(128, 10))
x = torch.randn(batch, 1, 28, 28)
y = torch.randint(0, 10, (batch,))
variant = os.environ.get("STEP_VARIANT", "eager")
if variant == "channels_last":
    net, x = net.to(memory_format=torch.channels_last), x.contiguous(memory_format=torch.channels_last)
optimiser = torch.optim.Adam(net.parameters(), lr=1e-3)
loss_fn = nn.CrossEntropyLoss()


def step():
    start = time.perf_counter()
    optimiser.zero_grad(set_to_none=True)
    loss_fn(net(x), y).backward()
    optimiser.step()
    return time.perf_counter() - start


for _ in range(5):
    step()
times, end = [], time.perf_counter() + seconds
while len(times) < 7 or (len(times) < 20000 and time.perf_counter() < end):
    times.append(step())
times.sort()
print(json.dumps({"peer": "pytorch", "version": torch.__version__ + "/" + os.environ.get("STEP_LABEL", "") + "/" + variant,
                  "net": name, "batch": batch, "threads": threads, "median_ms": round(times[len(times) // 2] * 1e3, 4),
                  "min_ms": round(times[0] * 1e3, 4), "steps": len(times)}))
