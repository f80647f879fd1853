#!/bin/bash
# Runs both cluster files as plain processes on this machine and compares the merged shards with one run.
#
#   ZAL_EXPORT=target/debug/zal-export export/clusters/try.sh DATA WORK [arguments of eval ...]
#
# The shell lines of the Kubernetes file are taken out of it and run with its variables set; paths in them are
# pointed at DATA and WORK. What Slurm and Kubernetes do themselves (queues, volumes) is not tried.
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
data="$(realpath "$1")" work="$(realpath -m "$2")"
shift 2
export ZAL_EXPORT="$(realpath "${ZAL_EXPORT:-$(command -v zal-export)}")"
mkdir -p "$work"
results=(run.json cells.csv summary.csv tables.csv tables.md confounds.csv)

"$ZAL_EXPORT" eval --data "$data" --out "$work/one" "$@"

for index in 1 2 3; do
  SLURM_ARRAY_TASK_ID=$index SLURM_ARRAY_TASK_COUNT=3 SLURM_CPUS_PER_TASK=2 DATA="$data" OUT="$work/slurm" \
    ARGS="$*" bash "$here/eval.slurm"
done

script="$(sed -n '/^            - |$/,/^          resources:/p' "$here/eval.kubernetes.yaml" | sed '1d;$d')"
script="${script//exec zal-export/exec \"$ZAL_EXPORT\"}"
script="${script//--rgb \/models\/rgb.onnx/}"
script="${script//\/data/$data}"
script="${script//\/results/$work}"
script="${script//--jobs 8/--jobs 2 $*}"
for index in 0 1 2; do
  JOB_COMPLETION_INDEX=$index SHARDS=3 sh -euc "$script"
done

for way in slurm eval; do
  "$ZAL_EXPORT" eval --merge "$work/$way"/shard-{1,2,3} --out "$work/$way/whole"
  for name in "${results[@]}"; do cmp "$work/one/$name" "$work/$way/whole/$name"; done
  echo "$way: the merged shards are one run, byte for byte"
done
