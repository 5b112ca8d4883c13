#!/usr/bin/env bash
# Measures one GPU from prebuilt programs: results first, then times, then the same shapes under PyTorch.
#
#   scripts/gpu-run.sh OUT [BINARIES] [MINUTES]
#
# OUT is the folder for tables, logs, versions and clocks; BINARIES the folder of `calibrate` and `evaluate`
# (target/release); MINUTES the time for the main table (4). No cargo and no network are needed, and about 9
# minutes in all. Nothing of the device's settings is changed.
set -u
out=${1:?usage: $0 OUT [BINARIES] [MINUTES]}
bin=${2:-target/release}
minutes=${3:-4}
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$out"
began=$SECONDS
say() { printf '%4d s  %s\n' $((SECONDS - began)) "$*" | tee -a "$out/log.txt"; }

# Of several cuBLASLt the one that PyTorch loads, so that both multiply with the same library.
python3 - > "$out/libraries.txt" 2>> "$out/log.txt" <<'PYTHON'
import glob, os, sys
try:
    import torch
    roots = [os.path.join(os.path.dirname(os.path.dirname(torch.__file__)), "nvidia")]
except ImportError:
    roots = []
roots += [p for p in sys.path if p] + ["/usr/local/cuda", "/usr/lib/x86_64-linux-gnu"]
for root in roots:
    found = sorted(glob.glob(os.path.join(root, "**", "libcublasLt.so*"), recursive=True))
    if found:
        print(os.path.dirname(found[-1]))
        break
PYTHON
folder=$(head -1 "$out/libraries.txt")
export LD_LIBRARY_PATH="${folder:+$folder:}${LD_LIBRARY_PATH:-}"
say "cuBLASLt from ${folder:-the system}"
{
    uname -srm
    "$bin/calibrate" --version
    nvidia-smi
    nvidia-smi -q -d CLOCK,POWER,PERFORMANCE,ECC,TEMPERATURE
    python3 -c 'import torch; print("torch", torch.__version__, "cuda", torch.version.cuda)'
} > "$out/versions.txt" 2>&1

say "results"
timeout 90 "$bin/calibrate" --check > "$out/check.txt" 2> "$out/check.log"
status=$?
tail -1 "$out/check.txt" | tee -a "$out/log.txt"
[ $status -eq 0 ] || { tail -3 "$out/check.log"; grep WRONG "$out/check.txt" | head -5; }

nvidia-smi --query-gpu=timestamp,clocks.sm,clocks.mem,temperature.gpu,power.draw --format=csv -lms 500 \
    > "$out/clocks.csv" 2>&1 &
clocks=$!
say "table: $minutes min"
timeout $((60 * minutes + 90)) "$bin/calibrate" --gpus 16 --out "$out/table.csv" --budget "${minutes}min" \
    > "$out/calibrate.txt" 2> "$out/calibrate.log"
say "calibrate ended with $?"
table=$out/table.csv

say "PyTorch on the same shapes"
timeout 90 python3 "$here/torch_peer.py" "$table" "$out/torch.json" > "$out/torch.txt" 2> "$out/torch.log"
say "torch ended with $?"

# A second process some minutes after the first began: the same ops, to see how far two runs agree.
say "again, 60 s"
head -c 0 "$table" && awk '/^#/ { next } /^op,/ || ++n % 12 == 0' "$table" > "$out/some.csv"
timeout 100 "$bin/calibrate" --out "$out/again.csv" --for "$out/some.csv" --budget 60s --passes 2 \
    > "$out/again.txt" 2> "$out/again.log"
say "again ended with $?"
kill "$clocks" 2>/dev/null

echo
echo "== results"; tail -1 "$out/check.txt"; grep -h WRONG "$out/check.txt" | cut -c1-160 | head -8
echo "== calibrate"; grep -vh 'has no' "$out/calibrate.log" | tail -5 | cut -c1-200; head -5 "$out/calibrate.txt"
echo "== PyTorch"; cat "$out/torch.txt"; tail -2 "$out/torch.log"
echo "== two runs"
python3 - "$table" "$out/again.csv" <<'PYTHON'
import csv, statistics, sys
def rows(path):
    with open(path, encoding="utf-8") as file:
        lines = [line for line in file if not line.startswith("#")]
    key = lambda row: tuple(row[c] for c in ("op", "kind", "dtype", "m", "k", "n", "batch", "rows", "cols"))
    return {key(row): row for row in csv.DictReader(lines)}
try:
    first, second = rows(sys.argv[1]), rows(sys.argv[2])
    ratios = [float(second[k]["seconds"]) / float(first[k]["seconds"]) for k in first if k in second]
    apart = sorted(abs(ratio - 1) for ratio in ratios)
    print(f"{len(ratios)} ops: median apart {statistics.median(apart):.2%}, p95 {apart[int(0.95 * len(apart))]:.2%}")
    peak = {}
    for row in first.values():
        t = float(row["seconds"])
        if row["op"] == "gemm":
            rate, unit = 2 * int(row["batch"]) * int(row["m"]) * int(row["k"]) * int(row["n"]) / t / 1e12, "TFLOP/s"
            name = f"gemm {row['dtype']}"
        else:
            each = {"gate_topk": 1, "residual": 3, "gated_activation": 3, "unpermute": 1 + int(row["k"] or 1)}.get(row["kind"], 2)
            size = {"bf16": 2, "f16": 2, "f32": 4}[row["dtype"]]
            rate, unit = each * size * int(row["rows"]) * int(row["cols"]) / t / 1e12, "TB/s"
            name = f"{row['kind']} {row['dtype']}"
        if rate > peak.get(name, (0,))[0]:
            shape = "×".join(row[c] for c in ("batch", "m", "k", "n", "rows", "cols") if row[c])
            peak[name] = (rate, unit, shape)
    for name, (rate, unit, shape) in sorted(peak.items()):
        print(f"{name:>24} best {rate:8.2f} {unit:8} at {shape}")
    flags = {}
    for row in first.values():
        for word in row["flags"].split():
            if "=" not in word:
                flags[word] = flags.get(word, 0) + 1
    print(f"{len(first)} rows; flags: {flags}")
except (OSError, KeyError, ValueError, IndexError, statistics.StatisticsError) as error:
    print("not compared:", error)
PYTHON
say "done"
