#!/bin/bash
# One training step beside PyTorch on the same shapes, in turns on the same cores; prints minima and ratio.
#   export/dev/training_step_vs_torch.sh [ROUNDS]      (TORCH_PYTHON names a Python with torch; else one is installed)
set -euo pipefail
cd "$(dirname "$0")/../.."
rounds=${1:-3}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
if [ -z "${TORCH_PYTHON:-}" ]; then
  python3 -m venv "$scratch/venv"
  "$scratch/venv/bin/pip" install -q torch numpy
  TORCH_PYTHON=$scratch/venv/bin/python
fi
bench=$(cargo bench -p zal-export --bench training_step --no-run 2>&1 | grep -o '([^()]*training_step-[0-9a-f]*)' | tr -d '()')
for _ in $(seq "$rounds"); do
  "$TORCH_PYTHON" export/dev/training_step_torch.py >>"$scratch/torch"
  "$bench" --bench >>"$scratch/zal"
done
python3 - "$scratch" <<'PY'
import json, sys
rows = lambda name: [json.loads(line) for line in open(f"{sys.argv[1]}/{name}") if line.startswith("{")]
torch, zal = rows("torch"), rows("zal")
peer = min(r["min_ms"] for r in torch)
print(f'PyTorch {torch[0]["torch"]}, {torch[0]["threads"]} threads: {peer:.0f} ms a step')
for name, key in (("fused", "fused_min_ms"), ("burn flex", "burn_flex_min_ms")):
    ours = min(r[key] for r in zal)
    print(f"zal, {name}: {ours:.0f} ms, {peer / ours:.2f} times PyTorch's speed")
PY
