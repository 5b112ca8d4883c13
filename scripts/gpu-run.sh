#!/usr/bin/env bash
# Measures one GPU from prebuilt programs: results first, then times, then the same shapes under PyTorch.
#
#   scripts/gpu-run.sh OUT [BINARIES] [SECONDS] [PUBLIC]
#
# OUT is the folder for tables, logs, versions, clocks and the README.md made of them; BINARIES the folder of
# `calibrate` and `evaluate`, and of the GPU's benches as `gpu-bench` where that is there (target/release); SECONDS the
# time for the main table (240); PUBLIC a table of the same GPU to be compared with. No cargo and no network are needed,
# and under 10 minutes in all. Nothing of the device's settings is changed.
set -u
out=${1:?usage: $0 OUT [BINARIES] [SECONDS] [PUBLIC]}
bin=${2:-target/release}
budget=${3:-240}
public=${4:-}
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$out/lib"
began=$SECONDS
say() { printf '%4d s  %s\n' $((SECONDS - began)) "$*" | tee -a "$out/log.txt"; }

# Of several cuBLASLt and cuDNN those that PyTorch loads, so that both compute with the same libraries; the first under
# the name that is asked for first.
python3 - "$out/lib" > "$out/libraries.txt" 2>> "$out/log.txt" <<'PYTHON'
import glob, os, sys
try:
    import torch
    roots = [os.path.join(os.path.dirname(os.path.dirname(torch.__file__)), "nvidia")]
except ImportError:
    roots = []
roots += [os.path.join(path, "nvidia") for path in sys.path if path] + ["/usr/local/cuda", "/usr/lib/x86_64-linux-gnu"]
for name in ("libcublasLt.so", "libcudnn.so"):
    for root in roots:
        found = sorted(glob.glob(os.path.join(root, "**", name + ".*"), recursive=True))
        if found:
            print(found[-1])
            link = os.path.join(sys.argv[1], "libcublasLt.so")
            if not os.path.lexists(link):
                os.symlink(found[-1], link)
            break
PYTHON
folders=$(while read -r library; do dirname "$library"; done < "$out/libraries.txt" | paste -sd: -)
links=$(cd "$out/lib" && pwd)
export LD_LIBRARY_PATH="$links${folders:+:$folders}${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
say "libraries: $(paste -sd' ' "$out/libraries.txt")"
{
    uname -srm
    "$bin/calibrate" --version
    nvidia-smi
    nvidia-smi -q -d CLOCK,POWER,PERFORMANCE,ECC,TEMPERATURE
    python3 -c 'import torch; print("torch", torch.__version__, "cuda", torch.version.cuda)'
} > "$out/versions.txt" 2>&1

say "results"
timeout 100 "$bin/calibrate" --check --allow-shared > "$out/check.txt" 2> "$out/check.log"
status=$?
tail -1 "$out/check.txt" | tee -a "$out/log.txt"
[ $status -eq 0 ] || { tail -3 "$out/check.log"; grep WRONG "$out/check.txt" | head -5; }
# What gives wrong results in one family must not keep the others from being measured, nor somebody else on the
# device: the rows say so.
options=(--allow-shared)
if grep -q '^WRONG  attention' "$out/check.txt"; then
    options+=(--ops gemm --ops kernel)
    say "without attention, whose results are wrong"
fi

nvidia-smi --query-gpu=timestamp,clocks.sm,clocks.mem,temperature.gpu,power.draw --format=csv -lms 500 \
    > "$out/clocks.csv" 2>&1 &
clocks=$!
say "table: $budget s"
timeout -s INT -k 20 $((budget + 60)) "$bin/calibrate" --gpus 16 --out "$out/table.csv" --budget "$budget" "${options[@]}" \
    > "$out/calibrate.txt" 2> "$out/calibrate.log"
say "calibrate ended with $?"
table=$out/table.csv

say "PyTorch on the same shapes"
timeout 90 python3 "$here/torch_peer.py" "$table" "$out/torch.json" > "$out/torch.txt" 2> "$out/torch.log"
say "torch ended with $?"

# A second process some minutes after the first began: the same ops, to see how far two runs agree.
say "again"
if [ -s "$table" ]; then
    awk '/^#/ { next } /^op,/ || ++n % 8 == 0' "$table" > "$out/some.csv"
    timeout $((budget / 5 + 30)) "$bin/calibrate" --out "$out/again.csv" --for "$out/some.csv" --only \
        --budget $((budget / 5 + 1)) --passes 2 "${options[@]}" \
        > "$out/again.txt" 2> "$out/again.log"
    say "again ended with $?"
fi

# A hundred shapes that others have measured, with the weights out of the cache and in it.
if [ -s "$public" ] && [ $((SECONDS - began)) -lt 450 ]; then
    say "public shapes"
    lines=$(grep -vc '^#' "$public")
    awk -v step=$((lines / 100 + 1)) '/^#/ { next } /^op,/ || n++ % step == 0' "$public" > "$out/public.csv"
    for cache in weights-cold hot; do
        timeout $((budget / 7 + 30)) "$bin/calibrate" --out "$out/public-$cache.csv" --for "$out/public.csv" --only \
            --budget $((budget / 7 + 1)) --passes 1 --allow-shared --cache "$cache" \
            > "$out/public-$cache.txt" 2> "$out/public-$cache.log"
        say "public shapes, $cache, ended with $?"
    done
fi
if [ -x "$bin/gpu-bench" ] && [ $((SECONDS - began)) -lt 520 ]; then
    say "benches"
    timeout 60 "$bin/gpu-bench" --bench > "$out/bench.txt" 2> "$out/bench.log"
    say "benches ended with $?"
fi
kill "$clocks" 2>/dev/null
rm -r "$links"

python3 "$here/gpu_report.py" "$out" > "$out/README.md" 2>> "$out/log.txt" || say "no README.md: see log.txt"
echo
cat "$out/README.md"
grep -h WRONG "$out/check.txt" | cut -c1-160 | head -8
grep -vh 'has no' "$out/calibrate.log" | tail -5 | cut -c1-200
say "done"
