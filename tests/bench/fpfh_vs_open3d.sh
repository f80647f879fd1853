#!/bin/bash
# Normals (30 nearest) + FPFH (100 nearest) on the 49,480-point reference cloud: zal beside
# Open3D, both pinned to one processor, in turns; prints the minima and their ratio.
#
#   ZAL_SHARED=../shared tests/bench/fpfh_vs_open3d.sh [rounds]
#
# The peers folder is copied to a scratch folder and set up by its own script (python3.11
# and PyPI); name one that is set up already in PEERS_DIR to spare that.
set -euo pipefail
cd "$(dirname "$0")/../.."
shared=$(realpath "${ZAL_SHARED:-../shared}")
rounds=${1:-3}
cpu=${CPU:-0}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
if [ -z "${PEERS_DIR:-}" ]; then
  PEERS_DIR=$scratch/peers
  cp -r "$shared/peers" "$PEERS_DIR"
  chmod -R u+w "$PEERS_DIR"
  (cd "$PEERS_DIR" && ./setup_lite.sh >&2)
fi
# A given PEERS_DIR is not written to: scripts and cloud are copied.
mkdir -p "$scratch/bench" "$scratch/refs/clouds"
cp "$PEERS_DIR"/bench/{common,o3d_fpfh}.py "$scratch/bench"
cp "$shared/vectors/fpfh/spud_bump_224.npy" "$scratch/refs/clouds"

echo "building the benchmark" >&2
bench=$(cargo bench --workspace --bench fpfh --no-run 2>&1 | grep -o '(target/release/deps/fpfh-[0-9a-f]*)' | tr -d '()')

export ZAL_SHARED="$shared" CRITERION_HOME="$scratch/criterion"
for round in $(seq "$rounds"); do
  echo "round $round of $rounds" >&2
  taskset -c "$cpu" "$PEERS_DIR/venv-lite/bin/python" "$scratch/bench/o3d_fpfh.py" \
    spud_bump_224 h 30 100 3 - >> "$scratch/open3d.jsonl"
  for name in organized unorganized; do
    taskset -c "$cpu" "$bench" --bench "/$name\$" --warm-up-time 0.5 --measurement-time 2 > /dev/null 2>&1
    cp "$scratch/criterion"/fpfh_*_points/"$name"/new/sample.json "$scratch/$name.$round.json"
  done
done
"$PEERS_DIR/venv-lite/bin/python" - "$scratch" <<'PY'
import glob, json, sys
scratch = sys.argv[1]
rows = [json.loads(line) for line in open(f"{scratch}/open3d.jsonl") if line.startswith("{")]
peer = min(r["normals"]["wall_min_ms"] + r["fpfh"]["wall_min_ms"] for r in rows)
print(f'{rows[0]["lib"]}, {rows[0]["points"]} points, one processor: {peer:.1f} ms')
for name in ("organized", "unorganized"):
    samples = [json.load(open(path)) for path in glob.glob(f"{scratch}/{name}.*.json")]
    ours = min(t / n for s in samples for t, n in zip(s["times"], s["iters"])) / 1e6
    print(f"zal, {name}: {ours:.1f} ms, {peer / ours:.1f} times faster")
PY
