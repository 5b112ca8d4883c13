"""Products, a copy and fused attention as PyTorch runs them, beside a table that calibrate measured.

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
# How many shapes of attention.
ATTENTIONS = 6
# Bytes that operands are rotated through: three times the cache of an H200.
ROTATED = 180 << 20


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
    copies = min(8, 1 + ROTATED // (2 * k * n))
    a = torch.randn(m, k, device="cuda", dtype=torch.bfloat16)
    bs = [torch.randn(k, n, device="cuda", dtype=torch.bfloat16) for _ in range(copies)]
    c = torch.empty(m, n, device="cuda", dtype=torch.bfloat16)
    return seconds(lambda turn: torch.matmul(a, bs[turn], out=c), copies)


def attention(batch, heads, seq_q, seq_kv, head_dim):
    """By cuDNN, as calibrate has it; an error where PyTorch will not use it for this shape."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    def draw(rows):
        return torch.randn(batch, heads, rows, head_dim, device="cuda", dtype=torch.bfloat16)

    size = 2 * batch * heads * head_dim * (seq_q + 2 * seq_kv)
    copies = max(1, min(8, 1 + ROTATED // size))
    operands = [(draw(seq_q), draw(seq_kv), draw(seq_kv)) for _ in range(copies)]
    with torch.no_grad(), sdpa_kernel(SDPBackend.CUDNN_ATTENTION):
        run = torch.nn.functional.scaled_dot_product_attention
        return seconds(lambda turn: run(*operands[turn]), copies)


def copy(elements):
    source = torch.empty(elements, device="cuda", dtype=torch.bfloat16).normal_()
    target = torch.empty_like(source)
    return seconds(lambda _: target.copy_(source), 1)


def table(path):
    """The seconds of each single product and attention in bf16, and the largest copy: its elements and seconds."""
    with open(path, encoding="utf-8") as file:
        lines = [line for line in file if not line.startswith("#")]
    products, copies, attentions = {}, {}, {}
    for row in csv.DictReader(lines):
        if row["dtype"] != "bf16":
            continue
        count = {name: int(row.get(name) or 1) for name in ("batch", "heads", "m", "k", "n")}
        if row["op"] == "gemm" and count["batch"] == 1:
            products[count["m"], count["k"], count["n"]] = float(row["seconds"])
        if row["op"] == "attention":
            shape = count["batch"], count["heads"], count["m"], count["n"], count["k"]
            attentions[shape] = float(row["seconds"])
        if row["op"] == "kernel" and row["kind"] == "copy":
            copies[int(row["rows"]) * int(row["cols"])] = float(row["seconds"])
    return products, attentions, max(copies.items(), default=None)


def spread(shapes, count):
    """Of all shapes that take long enough some, from the shortest to the longest, evenly."""
    large = sorted((shape for shape, time in shapes.items() if time > LEAST_SECONDS), key=shapes.get)
    step = max(1, len(large) // count)
    return large[step // 2 :: step][:count]


def compare(name, shapes, run, flops):
    results, ratios = [], []
    for shape, ours in shapes.items():
        text = "×".join(map(str, shape))
        try:
            theirs = run(*shape)
        except RuntimeError as error:
            print(f"{text:>24}  torch cannot: {str(error).splitlines()[0][:60]}", flush=True)
            continue
        ratios.append(ours / theirs)
        line = f"{text:>24}  torch {theirs * 1e6:10.1f} µs {flops(*shape) / theirs / 1e12:6.0f} TFLOP/s"
        print(line + f"  gettime {ours * 1e6:10.1f} µs  ratio {ours / theirs:.3f}", flush=True)
        results.append({"shape": shape, "torch_seconds": theirs, "gettime_seconds": ours})
    if ratios:
        worst = max(ratios, key=lambda ratio: abs(ratio - 1))
        print(f"{name}: median ratio {statistics.median(ratios):.4f}, worst {worst:.4f}, {len(ratios)} shapes")
    return results


def main():
    products, attentions, largest_copy = table(sys.argv[1])
    # The device at work before the first time is taken.
    a = torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16)
    for _ in range(1000):
        torch.matmul(a, a)
    torch.cuda.synchronize()
    chosen = {shape: products[shape] for shape in spread(products, PRODUCTS)}
    of_products = compare("products", chosen, product, lambda m, k, n: 2 * m * k * n)
    theirs = ours = None
    if largest_copy:
        elements, ours = largest_copy
        theirs = copy(elements)
        rate = 4 * elements / theirs / 1e12
        print(f"copy of {2 * elements / 1e9:.2f} GB: torch {theirs * 1e6:.1f} µs {rate:.2f} TB/s", end="")
        print(f"  gettime {ours * 1e6:.1f} µs  ratio {ours / theirs:.3f}")
    chosen = {shape: attentions[shape] for shape in spread(attentions, ATTENTIONS)}
    of_attention = compare("attention", chosen, attention, lambda b, h, q, kv, d: 4 * b * h * q * kv * d)
    clocks = subprocess.run(
        ["nvidia-smi", "--query-gpu=clocks.sm,clocks.mem,temperature.gpu,power.draw", "--format=csv"],
        capture_output=True, text=True, check=False,
    ).stdout
    report = {
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        "device": torch.cuda.get_device_name(),
        "clocks": clocks,
        "products": of_products,
        "attention": of_attention,
        "copy": {"largest": largest_copy, "torch_seconds": theirs, "gettime_seconds": ours},
    }
    with open(sys.argv[2], "w", encoding="utf-8") as file:
        json.dump(report, file, indent=1)


if __name__ == "__main__":
    main()
