#!/bin/bash
# The bank's search beside faiss.IndexFlatL2, on the same real descriptors, one pinned thread:
#   ZAL_SHARED=... tests/bench/bank_vs_faiss.sh [WORK_FOLDER]
# Needs python3.11 and the package clients. Scans, environment and descriptors are made once and
# kept in WORK_FOLDER; ZAL_PEERS may name a peers folder whose environment is set up already.
set -e
: "${ZAL_SHARED:?set ZAL_SHARED to the folder with peers/ and data/}"
root=$(cd "$(dirname "$0")/../.." && pwd)
work=${1:-${TMPDIR:-/tmp}/zal-bank-bench}
mkdir -p "$work/features"
here=$root/tests/bench
if [ -z "$ZAL_PEERS" ]; then
  ZAL_PEERS=$work/peers
  [ -d "$ZAL_PEERS" ] || cp -r "$ZAL_SHARED/peers" "$ZAL_PEERS"
  "$ZAL_PEERS/setup_lite.sh"
fi
peer_python=$ZAL_PEERS/venv-lite/bin/python
python=$work/venv/bin/python
if [ ! -f "$work/features/shape.json" ]; then
  [ -d "$work/scans" ] ||
    "$peer_python" "$ZAL_PEERS/bench/gen_data.py" --out "$work/scans" --train 14 --val 1 --test 2 --seed 5
  # onnxruntime beside the peers' packages, without touching their environment.
  if [ ! -f "$work/venv/.ok" ]; then
    python3.11 -m venv "$work/venv"
    "$python" -m pip install -q onnxruntime==1.26.0 || "$python" -m pip install -q onnxruntime
    "$peer_python" -c 'import site; print(site.getsitepackages()[0])' \
      >"$("$python" -c 'import site; print(site.getsitepackages()[0])')/peers.pth"
    touch "$work/venv/.ok"
  fi
  "$python" "$here/bank_features.py" "$work/scans" \
    "$ZAL_SHARED/data/weights/resnet50v2_stages123.onnx" "$work/features"
fi
cd "$root"
export ZAL_BANK_FEATURES=$work/features RAYON_NUM_THREADS=1 OMP_NUM_THREADS=1
cargo bench --bench bank --no-run
# Alternating, so that both meet the same machine; the minimum of all rounds counts.
for round in 1 2 3; do
  taskset -c 0 "$peer_python" "$here/bank_faiss.py" "$work/features" >"$work/faiss-$round.json"
  taskset -c 0 cargo bench --bench bank -- nearest/real >"$work/zal-$round.txt"
  target=$(cargo metadata --format-version 1 --no-deps | python3 -c 'import json, sys; print(json.load(sys.stdin)["target_directory"])')
  python3 - "$target/criterion/nearest" >"$work/zal-$round.json" <<'PY'
import glob, json, os, sys
result = {}
for path in glob.glob(sys.argv[1] + "/real_*/new/sample.json"):
    sample = json.load(open(path))
    name = path.split(os.sep)[-3].removeprefix("real_")
    result[name] = min(t / n for t, n in zip(sample["times"], sample["iters"])) / 1e6
print(json.dumps(result))
PY
done
python3 - "$work" <<'PY'
import json, sys
rounds = lambda who: [json.load(open(f"{sys.argv[1]}/{who}-{r}.json")) for r in (1, 2, 3)]
faiss, zal = rounds("faiss"), rounds("zal")
print(f"{'784 queries, 1 thread':24} {'faiss ms':>9} {'zal ms':>9} {'ratio':>7}")
for name in faiss[0]:
    f, z = min(r[name] for r in faiss), min(r[name] for r in zal)
    print(f"{name:24} {f:9.1f} {z:9.1f} {f / z:7.1f}")
PY
