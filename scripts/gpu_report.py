"""What one run of gpu-run.sh brought: the README.md of its folder, made of the tables and logs in it.

Usage: gpu_report.py OUT. Points that cannot be told, because a part of the run is missing, say so.
"""

import csv
import json
import os
import statistics
import sys

KEY = ("op", "kind", "dtype", "m", "k", "n", "batch", "heads", "rows", "cols", "bytes")
SIZES = {"bf16": 2, "f16": 2, "f32": 4, "tf32": 4, "f8e4m3": 1}


def rows(path):
    """The rows of a table by what they are of; an empty batch is 1."""
    try:
        with open(path, encoding="utf-8") as file:
            lines = [line for line in file if not line.startswith("#")]
    except OSError:
        return {}
    found = {}
    for row in csv.DictReader(lines):
        if not row.get("batch") and row["op"] == "gemm":
            row["batch"] = "1"
        found[tuple(row.get(cell) or "" for cell in KEY)] = row
    return found


def header(path):
    """The lines of a table's header, as they are."""
    try:
        with open(path, encoding="utf-8") as file:
            return [line[1:].strip() for line in file if line.startswith("#")]
    except OSError:
        return []


def text(path):
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except OSError:
        return ""


def seconds(row):
    return float(row["seconds"])


def apart(first, second):
    """How far two tables are apart on the ops that both have: median, 95th percentile and number, or nothing."""
    ratios = [seconds(second[key]) / seconds(first[key]) for key in first if key in second]
    if not ratios:
        return None
    off = sorted(abs(ratio - 1) for ratio in ratios)
    return statistics.median(off), off[int(0.95 * (len(off) - 1))], len(off), statistics.median(ratios)


def told(result, what):
    if result is None:
        return f"* {what}: not measured."
    middle, high, count, ratio = result
    return f"* {what}: apart {middle:.2%} in the median, {high:.2%} in 95 of 100, over {count} ops (median ratio {ratio:.3f})."


def peaks(table):
    """Of each kind the highest rate in the table, with its shape."""
    best = {}
    for row in table.values():
        count = {name: int(row.get(name) or 1) for name in ("m", "k", "n", "batch", "heads", "rows", "cols")}
        size = SIZES.get(row["dtype"], 0)
        shape = "×".join(row[cell] for cell in ("batch", "heads", "m", "k", "n", "rows", "cols") if row.get(cell))
        if row["op"] in ("gemm", "attention"):
            flops = 2 if row["op"] == "gemm" else 4
            for name in ("m", "k", "n", "batch") + (("heads",) if row["op"] == "attention" else ()):
                flops *= count[name]
            rate, unit, name = flops / seconds(row) / 1e12, "TFLOP/s", f"{row['op']} {row['dtype']}"
        elif row["op"] == "kernel":
            top = count["k"] if row["kind"] == "unpermute" else 1
            each = {"gate_topk": 1, "residual": 3, "gated_activation": 3, "unpermute": 1 + top}.get(row["kind"], 2)
            rate = each * size * count["rows"] * count["cols"] / seconds(row) / 1e12
            unit, name = "TB/s", f"{row['kind']} {row['dtype']}"
        else:
            continue
        if rate > best.get(name, (0,))[0]:
            best[name] = (rate, unit, shape)
    return best


def flags(table):
    found = {}
    for row in table.values():
        for word in (row.get("flags") or "").split():
            if "=" not in word:
                found[word] = found.get(word, 0) + 1
    return ", ".join(f"{word} {count}" for word, count in sorted(found.items())) or "none"


def of_torch(report):
    """The comparison with PyTorch, a line a shape."""
    lines = []
    for name in ("products", "attention"):
        points = report.get(name, [])
        if not points:
            lines.append(f"* {name}: not compared.")
            continue
        ratios = [point["gettime_seconds"] / point["torch_seconds"] for point in points]
        lines += [f"* {name}: median ratio {statistics.median(ratios):.4f} over {len(ratios)} shapes.", ""]
        lines += ["  | shape | torch, µs | gettime, µs | ratio |", "  | --- | --- | --- | --- |"]
        for point, ratio in zip(points, ratios):
            shape = "×".join(map(str, point["shape"]))
            ours, theirs = point["gettime_seconds"] * 1e6, point["torch_seconds"] * 1e6
            lines.append(f"  | {shape} | {theirs:.1f} | {ours:.1f} | {ratio:.3f} |")
        lines.append("")
    copy = report.get("copy", {})
    if copy.get("torch_seconds"):
        elements, ours = copy["largest"]
        rate = 4 * elements / ours / 1e12
        lines.append(f"* copy of {2 * elements / 1e9:.2f} GB: {rate:.3f} TB/s, ratio {ours / copy['torch_seconds']:.4f}.")
    else:
        lines.append("* copy: not compared.")
    return lines


def main():
    out = sys.argv[1]
    at = lambda name: os.path.join(out, name)
    table = rows(at("table.csv")) or rows(at("table.csv.partial"))
    try:
        report = json.loads(text(at("torch.json")) or "{}")
    except ValueError:
        report = {}
    device = next((line for line in header(at("table.csv")) if line.startswith("name")), "name = unknown")
    check = (text(at("check.txt")).strip().splitlines() or ["not run"])[-1]
    overhead = [line for line in text(at("calibrate.txt")).splitlines() if line.startswith("time ")]
    print("#", device.split("=")[-1].strip().strip('"'))
    print("\nMade by scripts/gpu-run.sh; clocks, limits and modes as found. The table's header:\n")
    print("\n".join("    " + line for line in header(at("table.csv"))))
    if report:
        print(f"\nPyTorch {report['torch']}, CUDA {report['cuda']}, cuDNN {report.get('cudnn')}.")
    print(f"\n## What came out\n\n* results: {check}.\n* {len(table)} rows; flags: {flags(table)}.")
    print(f"* wall time: {overhead[0].split(None, 1)[1]}." if overhead else "* wall time: not told.")
    print(told(apart(table, rows(at("again.csv"))), "a second process, minutes later"))
    public = rows(at("public.csv"))
    for name in ("weights-cold", "hot"):
        what = f"a public table of the same GPU (github.com/ai-dynamo/aiconfigurator), --cache {name}"
        print(told(apart(public, rows(at(f"public-{name}.csv"))), what))
    print("\n## Beside PyTorch, in the same run\n")
    print("\n".join(of_torch(report)))
    print("\n## Highest rates\n\n| op | rate | shape |\n| --- | --- | --- |")
    for name, (rate, unit, shape) in sorted(peaks(table).items()):
        print(f"| {name} | {rate:.2f} {unit} | {shape} |")


if __name__ == "__main__":
    main()
