"""docs/parity.md: what of PyTorch's op_db was compared, what not and why."""
import collections
import os

import torch

HEAD = """# Parity with PyTorch's operators

Written by tools/golden/opdb.py; run it again when operators change. It takes PyTorch's own samples of its operators (`op_db` of
torch.testing._internal.common_methods_invocations, torch {version}), in f64 with gradients, and a few each in i64, bool, f32, i32 and u8 for the rules of
dtypes, and compares soma with PyTorch on each (tests/test_golden.c).

**{cases} cases of {covered} entries of op_db (operators and their variants), by {ops} of soma's operators.** At most {most} cases an entry, so that none dominates.
{files}

"""


def write_differences(out, table):
    out.append("## Differences on purpose\n")
    out += [f"- {line}" for line in table.DIFFERENCES]
    out.append("")


def write_covered(out, tallies):
    reasons = collections.Counter()
    for t in tallies.values():
        reasons.update(t.skipped)
    out += ["## Samples that were not taken\n", f"{sum(reasons.values())} samples, by reason:\n", "| samples | reason |", "|---|---|"]
    out += [f"| {n} | {reason} |" for reason, n in reasons.most_common()]
    out += ["", "## Entries that were compared\n", "| op_db | soma | cases | not taken |", "|---|---|---|---|"]
    for name, t in tallies.items():
        if t.taken:
            why = "; ".join(f"{n} {reason}" for reason, n in t.skipped.most_common())
            out.append(f"| {name} | {t.op} | {t.taken} | {why} |")
    out.append("")
    bare = [f"- {name} ({t.op}): " + ("; ".join(f"{n} {reason}" for reason, n in t.skipped.most_common()) or "it has no samples") for name, t in tallies.items() if not t.taken]
    if bare:
        out += ["## Entries of which no sample could be taken\n"] + bare + [""]


def write_without(out, without, table):
    out += ["## Entries that were not compared\n"]
    groups = collections.defaultdict(list)
    for name in without:
        groups[table.why_not(name)].append(name)
    for why, names in sorted(groups.items(), key=lambda g: -len(g[1])):
        out += [f"{why[0].upper() + why[1:]} ({len(names)}): " + ", ".join(names) + ".", ""]


def torch_names(tallies, ops):
    """soma's name: PyTorch's, for the manual."""
    names = {}
    for entry, t in tallies.items():
        names.setdefault(t.op, []).append(entry.split(".")[0] if entry.split(".")[0] not in ("nn", "linalg", "special") else entry)
    found = {}
    for op in ops:
        for place, prefix in ((torch, "torch."), (torch.nn.functional, "torch.nn.functional."), (torch.linalg, "torch.linalg."), (torch.special, "torch.special."),
                              (torch.Tensor, "torch.Tensor.")):
            plain = op[len("linalg_"):] if op.startswith("linalg_") and place is torch.linalg else op
            if hasattr(place, plain):
                found[op] = prefix + plain
                break
        else:
            for entry in names.get(op, []):
                for prefix in ("nn.functional.", "linalg.", "special.", ""):
                    if entry.startswith(prefix) and not entry.startswith("__"):
                        found.setdefault(op, "torch." + entry)
    return found


def write_names(path, found):
    with open(path, "w") as f:
        f.write("/* PyTorch's names of soma's operators. Written by tools/golden/opdb.py. */\n")
        f.write("static const char *const torch_names[][2] = {\n")
        f.writelines(f'    {{"{op}", "{name}"}},\n' for op, name in sorted(found.items()))
        f.write("};\n")


def write_parity(tallies, without, ops, most, table):
    top = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
    golden = os.path.join(top, "tests", "golden", "ops", "opdb.txt.gz")
    taken = [t for t in tallies.values() if t.taken]
    out = [HEAD.format(version=torch.__version__.split("+")[0], cases=sum(t.taken for t in taken), covered=len(taken), ops=len({t.op for t in taken}), most=most,
                       files=f"They take {os.path.getsize(golden)} bytes, compressed.")]
    write_differences(out, table)
    write_covered(out, tallies)
    write_without(out, without, table)
    with open(os.path.join(top, "docs", "parity.md"), "w") as f:
        f.write("\n".join(out).rstrip() + "\n")
    write_names(os.path.join(top, "cli", "torch_names.h"), torch_names(tallies, [n for n, op in ops.items() if not op["internal"]]))
