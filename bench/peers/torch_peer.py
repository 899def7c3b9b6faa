#!/usr/bin/python3
"""A workload of bench/workloads.json in PyTorch:

    torch_peer.py [-t THREADS] [-s SECONDS] [-d FOLDER] [--variants eager,channels_last,…] [--check FILE [--onnx FILE]] NAME

Prints a line of JSON for each variant, as bench_workloads does. --check times nothing: it computes the same from the inputs that bench_workloads -c
wrote and says whether the results agree; --onnx then writes the network with those weights.
Variants: eager; channels_last (networks of images); jit (traced and frozen for inference, scripted for the chain of operations); compile
(torch.compile, where PyTorch has it)."""
import argparse
import json
import os
import sys

parser = argparse.ArgumentParser()
parser.add_argument("name")
parser.add_argument("-t", type=int, default=1, dest="threads")
parser.add_argument("-s", type=float, default=2.0, dest="seconds")
parser.add_argument("-d", default=".", dest="folder")
parser.add_argument("--variants", default="eager,channels_last,jit")
parser.add_argument("--check")
parser.add_argument("--onnx")
args = parser.parse_args()
os.environ["OMP_NUM_THREADS"] = str(args.threads)
here = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, here)

import numpy as np  # noqa: E402
import torch  # noqa: E402  (reads OMP_NUM_THREADS when it is loaded)
import torch.nn.functional as F  # noqa: E402

import tensors  # noqa: E402
import words  # noqa: E402


class Unfit(Exception):
    """The variant makes no sense for the workload."""


# ---- Networks

def dropout_off(net):
    for m in net.modules():
        if isinstance(m, torch.nn.Dropout):
            m.eval()


def optimiser(spec, net):
    o = dict(spec["options"])
    if "beta1" in o or "beta2" in o:
        o["betas"] = (o.pop("beta1", 0.9), o.pop("beta2", 0.999))
    kind = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[spec["optimiser"]]
    if tuple(int(n) for n in torch.__version__.split(".")[:2]) >= (2, 4):
        o["fused"] = True
    return kind(net.parameters(), **o)


def loss_of(spec, out, y):
    if spec["loss"] == "mse_loss":
        return F.mse_loss(out, y)
    return F.cross_entropy(out.flatten(0, 1) if out.dim() == 3 else out, y)


def data_of(spec, batch):
    if spec["loss"] == "mse_loss":
        return torch.tensor([[0.0, 0], [0, 1], [1, 0], [1, 1]]), torch.tensor([[0.0], [1], [1], [0]])
    shape = [batch] + spec["input"]
    x = torch.randint(0, spec["tokens"], shape) if "tokens" in spec else torch.randn(shape)
    return x, torch.randint(0, spec["classes"], (batch * shape[1] if spec.get("each") else batch,))


def forward_of(net, x, mode):
    if mode != "bf16":
        return net(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return net(x).float()


def net_step(spec, variant, mode):
    infer = int(mode[5:]) if mode.startswith("infer") else 0
    x, y = data_of(spec, infer or spec["batch"])
    net = words.build(spec["net"], spec["input"])
    if variant == "channels_last":
        if x.dim() != 4:
            raise Unfit
        net, x = net.to(memory_format=torch.channels_last), x.contiguous(memory_format=torch.channels_last)
    if infer:
        net.eval()
        if variant == "jit":
            with torch.inference_mode():
                net = torch.jit.optimize_for_inference(torch.jit.freeze(torch.jit.trace(net, x, check_trace=False)))
        elif variant == "compile":
            net = torch.compile(net)

        def forward():
            with torch.inference_mode():
                net(x)
        return forward
    if variant == "jit":
        raise Unfit
    opt = optimiser(spec, net)
    run = torch.compile(net) if variant == "compile" else net

    def step():
        opt.zero_grad(set_to_none=True)
        loss_of(spec, forward_of(run, x, mode), y).backward()
        opt.step()
    return step


def net_check(spec, mode, given):
    net = words.build(spec["net"], spec["input"])
    params, values = list(net.parameters()), tensors.numbered(given, "param")
    if [tuple(p.shape) for p in params] != [v.shape for v in values]:
        raise SystemExit(f"{args.name}: the networks have different parameters")
    with torch.no_grad():
        for p, v in zip(params, values):
            p.copy_(torch.from_numpy(v))
    x, y = torch.from_numpy(given["x"]), torch.from_numpy(given["y"])
    if mode.startswith("infer"):
        net.eval()
        with torch.inference_mode():
            out = net(x)
        if args.onnx:
            torch.onnx.export(net, x, args.onnx, input_names=["x"], output_names=["y"], opset_version=15)
        return compare([given["out.0"]], [out.numpy()], 1e-4)
    dropout_off(net)
    opt, losses = optimiser(spec, net), []
    for _ in tensors.numbered(given, "loss"):
        opt.zero_grad(set_to_none=True)
        loss = loss_of(spec, forward_of(net, x, mode), y)
        losses.append(loss.detach().numpy())
        loss.backward()
        opt.step()
    return compare_losses(tensors.numbered(given, "loss"), losses, mode == "bf16")


# ---- Tables

def table_loss(spec, net, x, y, order, at, batch):
    if spec.get("shuffled"):
        index = order[at:at + batch]
        return F.binary_cross_entropy_with_logits(net(x[index]), y[index])
    return F.binary_cross_entropy_with_logits(net(x[at:at + batch]), y[at:at + batch])


def table_step(spec, variant):
    if variant != "eager":
        raise Unfit
    rows, batch = spec["rows"], spec["batch"]
    x, y, order = torch.randn(rows, spec["columns"]), torch.randint(0, 2, (rows, 1)).float(), torch.randperm(rows)
    net, at = torch.nn.Linear(spec["columns"], 1), [0]
    opt = torch.optim.SGD(net.parameters(), lr=spec["lr"])

    def step():
        at[0] = (at[0] + batch) % (rows - batch)
        opt.zero_grad(set_to_none=True)
        table_loss(spec, net, x, y, order, at[0], batch).backward()
        opt.step()
    return step


def table_check(spec, given):
    x, y, order = (torch.from_numpy(given[k]) for k in ("x", "y", "order"))
    net, at, batch, losses = torch.nn.Linear(spec["columns"], 1), 0, spec["batch"], []
    with torch.no_grad():
        for p, v in zip(net.parameters(), tensors.numbered(given, "param")):
            p.copy_(torch.from_numpy(v))
    opt = torch.optim.SGD(net.parameters(), lr=spec["lr"])
    for _ in tensors.numbered(given, "loss"):
        at = (at + batch) % (len(x) - batch)
        opt.zero_grad()
        loss = table_loss(spec, net, x, y, order, at, batch)
        losses.append(loss.detach().numpy())
        loss.backward()
        opt.step()
    return compare_losses(tensors.numbered(given, "loss"), losses)


# ---- Operations

def chain(x):
    return torch.tanh(1.5 * x + 0.25) * torch.sigmoid(x)


def op_run(spec, x, y):
    kind = spec["op"]
    if kind == "layer_norm":
        d = x.shape[1]
        weight, bias = (torch.ones(d), torch.zeros(d))
        if spec.get("backward"):
            weight.requires_grad_(), bias.requires_grad_()
        return lambda: F.layer_norm(x, (d,), weight, bias)
    return {"chain": lambda: chain(x), "tanh": lambda: torch.tanh(x), "relu": lambda: F.relu(x), "gelu_tanh": lambda: F.gelu(x, approximate="tanh"),
            "add": lambda: x + y, "softmax": lambda: x.softmax(-1), "transpose": lambda: x.t().contiguous(), "cross_entropy": lambda: F.cross_entropy(x, y)}[kind]


def op_step(spec, variant):
    x = torch.randn(spec["shape"])
    y = torch.randn(spec["shape"]) if spec["op"] == "add" else None
    if spec["op"] == "cross_entropy":
        y = torch.randint(0, spec["shape"][1], (spec["shape"][0],))
    if variant == "channels_last" or (variant == "jit" and spec["op"] != "chain"):
        raise Unfit
    if spec["op"] == "adam":
        if variant != "eager":
            raise Unfit
        p = torch.nn.Parameter(x)
        p.grad = torch.randn(spec["shape"])
        new = tuple(int(n) for n in torch.__version__.split(".")[:2]) >= (2, 4)
        return (torch.optim.Adam([p], fused=True) if new else torch.optim.Adam([p])).step
    run = op_run(spec, x, y)
    if variant == "jit":
        scripted = torch.jit.script(chain)
        run = lambda: scripted(x)  # noqa: E731
    elif variant == "compile":
        run = torch.compile(run)
    if not spec.get("backward"):
        def forward():
            with torch.inference_mode():
                run()
        return forward
    x.requires_grad_()
    grad = torch.ones(()) if spec["op"] == "cross_entropy" else torch.randn(spec["shape"])

    def step():
        x.grad = None
        run().backward(grad)
    return step


def op_check(spec, given):
    x, y = torch.from_numpy(given["x"]), torch.from_numpy(given["y"]) if "y" in given else None
    outs = tensors.numbered(given, "out")
    if spec["op"] == "adam":
        p, ours = torch.nn.Parameter(x), []
        opt = torch.optim.Adam([p])
        for _ in outs:
            p.grad = torch.from_numpy(given["grad"])
            opt.step()
            ours.append(p.detach().numpy().copy())
        return compare(outs, ours, 1e-5)
    if spec.get("backward"):
        x.requires_grad_()
    out = op_run(spec, x, y)()
    theirs, ours = outs, [out.detach().numpy()]
    if spec.get("backward"):
        out.backward(torch.from_numpy(given["grad"]) if "grad" in given else None)
        theirs, ours = theirs + [given["x_grad"]], ours + [x.grad.numpy()]
    return compare(theirs, ours, 1e-5)


# ---- Files

def png_all(spec, sums=None):
    from PIL import Image

    class Images(torch.utils.data.Dataset):
        def __init__(self, folder):
            self.files = [(os.path.join(folder, c, f), i) for i, c in enumerate(sorted(os.listdir(folder))) for f in sorted(os.listdir(os.path.join(folder, c)))]

        def __len__(self):
            return len(self.files)

        def __getitem__(self, i):
            path, label = self.files[i]
            with Image.open(path) as image:
                return torch.from_numpy(np.asarray(image, dtype=np.float32)).unsqueeze(0).div_(255), label

    images = Images(args.folder)
    for x, y in torch.utils.data.DataLoader(images, batch_size=spec["batch"], num_workers=0 if args.threads == 1 else args.threads):
        if sums is not None:
            sums += np.array([float((x.double() * 255).sum()), float(y.sum())])


# ---- Comparing

def compare(theirs, ours, tolerance):
    """The largest difference, in parts of the largest number: of rounding, a sum's error is a part of its largest terms."""
    worst = 0.0
    for a, b in zip(theirs, ours):
        a, b = a.astype(np.float64), b.astype(np.float64)
        worst = max(worst, float(np.abs(a - b).max() / max(np.abs(b).max(), 1e-30)))
    return worst <= tolerance, worst, tolerance


def compare_losses(theirs, ours, bf16=False):
    """The first loss differs by rounding alone. Each update then makes more of a difference: Adam's first is lr sign(g), and a gradient that is
    nearly 0 may have either sign; batch norm with a rate of 0.1 multiplied it by some 50 a step when this was written. bf16 keeps 8 bits, and
    each side rounds at places of its own."""
    limits = [2e-2, 5e-2] + [1e-1] * len(ours) if bf16 else [1e-5, 1e-3] + [3e-2] * len(ours)
    worst = [abs(float(a) - float(b)) / max(abs(float(b)), 1e-3) for a, b in zip(theirs, ours)]
    return all(d <= limit for d, limit in zip(worst, limits)), worst[1], limits[1]


def check(families, family, key, mode):
    given, spec = tensors.read(args.check), families[family][key]
    if family == "nets":
        result = net_check(spec, mode, given)
    elif family == "tables":
        result = table_check(spec, given)
    elif family == "ops":
        result = op_check(spec, given)
    else:
        sums = np.zeros(2)
        png_all(spec, sums)
        result = compare([given["sums"]], [sums], 1e-6)
    agrees, worst, tolerance = result
    print(json.dumps({"workload": args.name, "agrees": bool(agrees), "difference": worst, "tolerance": tolerance, "version": torch.__version__}))


# ---- All of them

def make_step(families, family, key, mode, variant):
    spec = families[family][key]
    if family == "nets":
        return net_step(spec, variant, mode)
    if family == "tables":
        return table_step(spec, variant)
    if family == "ops":
        return op_step(spec, variant)
    if variant != "eager" or key != "j_png":
        raise Unfit
    return lambda: png_all(spec)


def main():
    with open(os.path.join(here, "..", "workloads.json")) as f:
        families = json.load(f)
    torch.set_num_threads(args.threads)
    torch.manual_seed(families["seed"])
    key, _, mode = args.name.partition(".")
    family = next((f for f in ("nets", "tables", "ops", "files") if key in families[f]), None)
    if not family:
        raise SystemExit(f"no workload '{args.name}'")
    if args.check:
        check(families, family, key, mode)
        return
    base = tensors.largest_mb()
    for variant in args.variants.split(","):
        try:
            times = tensors.measure(make_step(families, family, key, mode, variant), args.seconds)
        except Unfit:
            continue
        print(json.dumps({"peer": "torch", "version": torch.__version__, "variant": variant, "workload": args.name, "threads": args.threads,
                          "median_ms": times[len(times) // 2] * 1e3, "min_ms": times[0] * 1e3, "n": len(times), "base_mb": round(base, 1),
                          "peak_mb": round(tensors.largest_mb(), 1)}), flush=True)


main()
