#!/bin/bash
# A scan against N reference scans beside faiss.IndexFlatL2, on the same real descriptors, one pinned thread:
#   ZAL_SHARED=... tests/bench/references_vs_faiss.sh [WORK_FOLDER]
# WORK_FOLDER is that of bank_vs_faiss.sh, which makes environment and descriptors: run it first, or let this do it.
# ZAL_BENCH_PROFILE names another profile than cargo's own for benchmarks.
set -e
: "${ZAL_SHARED:?set ZAL_SHARED to the folder with peers/ and data/}"
root=$(cd "$(dirname "$0")/../.." && pwd)
work=${1:-${TMPDIR:-/tmp}/zal-bank-bench}
here=$root/tests/bench
[ -f "$work/features/shape.json" ] || "$here/bank_vs_faiss.sh" "$work"
peer_python=${ZAL_PEERS:-$work/peers}/venv-lite/bin/python
profile=${ZAL_BENCH_PROFILE:-bench}
cd "$root"
export ZAL_BANK_FEATURES=$work/features RAYON_NUM_THREADS=1 OMP_NUM_THREADS=1
cargo bench --profile "$profile" --bench references --no-run
# Alternating, so that both meet the same machine; the minimum of all rounds counts.
for round in 1 2 3; do
  taskset -c 0 "$peer_python" "$here/references_faiss.py" "$work/features" >"$work/references-faiss-$round.json"
  taskset -c 0 cargo bench --profile "$profile" --bench references -- real >"$work/references-zal-$round.txt"
  target=$(cargo metadata --format-version 1 --no-deps | python3 -c 'import json, sys; print(json.load(sys.stdin)["target_directory"])')
  python3 - "$target/criterion/references" >"$work/references-zal-$round.json" <<'PY'
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
rounds = lambda who: [json.load(open(f"{sys.argv[1]}/references-{who}-{r}.json")) for r in (1, 2, 3)]
faiss, zal = rounds("faiss"), rounds("zal")
print(f"{'430 patches, 1 thread':24} {'faiss ms':>9} {'zal ms':>9} {'ratio':>7}")
for name in sorted(zal[0]):
    z = min(r[name] for r in zal)
    f = min(r[name] for r in faiss) if name in faiss[0] else None
    print(f"{name:24} {f:9.1f} {z:9.1f} {f / z:7.1f}" if f else f"{name:24} {'':9} {z:9.1f}")
PY
