#!/bin/bash
# AUPRO (exact area, limit 0.3) and pixel AUROC of 100 maps of 800 x 800: `zal-export aupro` beside adeval, which
# approximates both, in turns on one pinned processor. Prints the minima and their ratio.
#
#   ZAL_SHARED=... tests/bench/aupro_vs_adeval.sh [WORK_FOLDER] [rounds]
#
# zal's time is that of the whole process, reading both files twice; adeval's is the computation alone, on arrays that
# are in memory. Processor time is printed beside wall time, for machines that are not idle. Needs python3.11 and PyPI;
# ZAL_PEERS may name a peers folder that is set up already, ZAL_EXPORT a zal-export that is built already.
set -euo pipefail
: "${ZAL_SHARED:?set ZAL_SHARED to the folder with peers/}"
root=$(cd "$(dirname "$0")/../.." && pwd)
work=${1:-${TMPDIR:-/tmp}/zal-aupro-bench}
rounds=${2:-3}
cpu=${CPU:-0}
mkdir -p "$work"
python=$work/venv/bin/python
if [ ! -f "$work/venv/.ok" ]; then
  python3.11 -m venv "$work/venv"
  "$python" -m pip install -q "numpy==2.4.6" "scipy==1.17.1" "opencv-python-headless==5.0.0.93"
  "$python" -m pip install -q --no-deps "adeval==1.1.0"
  touch "$work/venv/.ok"
fi
if [ ! -f "$work/gt.npy" ]; then
  echo "making 100 maps of 800 x 800" >&2
  PYTHONPATH=${ZAL_PEERS:-$ZAL_SHARED/peers}/bench "$python" - "$work" <<'PY'
import sys
import numpy as np
from gen_maps import maps
scores, masks = maps(800)
np.save(f"{sys.argv[1]}/maps.npy", scores)
np.save(f"{sys.argv[1]}/gt.npy", masks)
PY
fi
if [ -z "${ZAL_EXPORT:-}" ]; then
  (cd "$root" && cargo build --release -p zal-export)
  target=$(cd "$root" && cargo metadata --format-version 1 --no-deps |
    python3 -c 'import json, sys; print(json.load(sys.stdin)["target_directory"])')
  ZAL_EXPORT=$target/release/zal-export
fi
rm -f "$work/adeval.jsonl" "$work/zal.jsonl"
export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 RAYON_NUM_THREADS=1 ZAL_EXPORT
for round in $(seq "$rounds"); do
  echo "round $round of $rounds" >&2
  taskset -c "$cpu" "$python" "$root/tests/bench/aupro_adeval.py" "$work" 1 >>"$work/adeval.jsonl"
  taskset -c "$cpu" "$python" - "$work" >>"$work/zal.jsonl" <<'PY'
import json, os, resource, subprocess, sys, time
folder = sys.argv[1]
command = [os.environ["ZAL_EXPORT"], "aupro", "--maps", f"{folder}/maps.npy", "--gt", f"{folder}/gt.npy",
           "--rule", "exact", "--json"]
start = time.perf_counter()
values = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
wall, used = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps({"wall_s": wall, "cpu_s": used.ru_utime + used.ru_stime, "values": values,
                  "maxrss_mb": used.ru_maxrss // 1024}))
PY
done
"$python" - "$work" <<'PY'
import json, sys
rows = {who: [json.loads(line) for line in open(f"{sys.argv[1]}/{who}.jsonl")] for who in ("adeval", "zal")}
least = {who: {key: min(row[key] for row in rows[who]) for key in ("wall_s", "cpu_s")} for who in rows}
for who in rows:
    memory = max(row["maxrss_mb"] for row in rows[who])
    print(f'{who:7} wall {least[who]["wall_s"]:.3f} s, processor {least[who]["cpu_s"]:.3f} s, memory {memory} MB')
print("ratio   " + ", ".join(f'{key[:-2]} {least["adeval"][key] / least["zal"][key]:.1f}' for key in ("wall_s", "cpu_s")))
print("adeval ", json.dumps(rows["adeval"][0]["values"]))
print("zal    ", json.dumps({k: rows["zal"][0]["values"][k] for k in ("aupro", "pixel_auroc", "regions")}))
PY
