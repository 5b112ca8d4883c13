"""Products and a copy as PyTorch runs them, beside a table that calibrate measured: each in its best loop.

Usage: torch_peer.py TABLE.csv OUT.json. Prints one line a shape and the median ratio. Times are the least of
several medians, the device kept busy, operands rotated beyond the cache.
"""

import csv
import json
import statistics
import subprocess
import sys

import torch

# How many products are compared, and from which time on: launches do not show in these.
PRODUCTS, LEAST_SECONDS = 12, 2e-4


def seconds(run, copies):
    """The least of 5 medians of graph replays of about 10 ms each."""
    for turn in range(3):
        run(turn % copies)
    torch.cuda.synchronize()
    start, stop = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    start.record()
    run(0)
    stop.record()
    torch.cuda.synchronize()
    runs = max(copies, min(200, int(10 / max(start.elapsed_time(stop), 1e-3)) + 1))
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for turn in range(runs):
            run(turn % copies)
    medians = []
    for _ in range(5):
        times = []
        for _ in range(7):
            start.record()
            graph.replay()
            stop.record()
            torch.cuda.synchronize()
            times.append(start.elapsed_time(stop) * 1e-3 / runs)
        medians.append(statistics.median(times))
    return min(medians)


def product(m, k, n):
    copies = min(8, 1 + (180 << 20) // (2 * k * n))
    a = torch.randn(m, k, device="cuda", dtype=torch.bfloat16)
    bs = [torch.randn(k, n, device="cuda", dtype=torch.bfloat16) for _ in range(copies)]
    c = torch.empty(m, n, device="cuda", dtype=torch.bfloat16)
    return seconds(lambda turn: torch.matmul(a, bs[turn], out=c), copies)


def copy(elements):
    source = torch.empty(elements, device="cuda", dtype=torch.bfloat16).normal_()
    target = torch.empty_like(source)
    return seconds(lambda _: target.copy_(source), 1)


def table(path):
    """The seconds of each single product in bf16, and the largest copy: its elements and seconds."""
    with open(path, encoding="utf-8") as file:
        lines = [line for line in file if not line.startswith("#")]
    products, copies = {}, {}
    for row in csv.DictReader(lines):
        if row["dtype"] != "bf16":
            continue
        if row["op"] == "gemm" and row["batch"] in ("", "1"):
            products[int(row["m"]), int(row["k"]), int(row["n"])] = float(row["seconds"])
        if row["op"] == "kernel" and row["kind"] == "copy":
            copies[int(row["rows"]) * int(row["cols"])] = float(row["seconds"])
    return products, max(copies.items(), default=None)


def chosen(products):
    """Large products, from the shortest to the longest of them, evenly."""
    large = sorted((shape for shape, time in products.items() if time > LEAST_SECONDS), key=products.get)
    step = max(1, len(large) // PRODUCTS)
    return large[step // 2 :: step][:PRODUCTS]


def main():
    products, largest_copy = table(sys.argv[1])
    results, ratios = [], []
    # The device at work before the first time is taken.
    a = torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16)
    for _ in range(1000):
        torch.matmul(a, a)
    torch.cuda.synchronize()
    for shape in chosen(products):
        theirs, ours = product(*shape), products[shape]
        ratios.append(ours / theirs)
        tflops = 2 * shape[0] * shape[1] * shape[2] / theirs / 1e12
        line = f"{'×'.join(map(str, shape)):>22}  torch {theirs * 1e6:10.1f} µs {tflops:6.0f} TFLOP/s"
        print(line + f"  gettime {ours * 1e6:10.1f} µs  ratio {ours / theirs:.3f}", flush=True)
        results.append({"shape": shape, "torch_seconds": theirs, "gettime_seconds": ours})
    if ratios:
        worst = max(ratios, key=lambda ratio: abs(ratio - 1))
        print(f"products: median ratio {statistics.median(ratios):.4f}, worst {worst:.4f}, {len(ratios)} shapes")
    theirs = ours = None
    if largest_copy:
        elements, ours = largest_copy
        theirs = copy(elements)
        rate = 4 * elements / theirs / 1e12
        print(f"copy of {2 * elements / 1e9:.2f} GB: torch {theirs * 1e6:.1f} µs {rate:.2f} TB/s", end="")
        print(f"  gettime {ours * 1e6:.1f} µs  ratio {ours / theirs:.3f}")
    clocks = subprocess.run(
        ["nvidia-smi", "--query-gpu=clocks.sm,clocks.mem,temperature.gpu,power.draw", "--format=csv"],
        capture_output=True, text=True, check=False,
    ).stdout
    report = {
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "device": torch.cuda.get_device_name(),
        "clocks": clocks,
        "products": results,
        "copy": {"largest": largest_copy, "torch_seconds": theirs, "gettime_seconds": ours},
    }
    with open(sys.argv[2], "w", encoding="utf-8") as file:
        json.dump(report, file, indent=1)


if __name__ == "__main__":
    main()
