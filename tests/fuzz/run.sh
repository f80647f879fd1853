#!/bin/bash
# Coverage-guided fuzzing with the stable compiler: builds the targets and runs them one after the other.
#
#   tests/fuzz/run.sh pcd                      # until stopped, or until an input fails
#   RUNS=20000 tests/fuzz/run.sh               # every target, so many executions each
#   SECONDS_EACH=600 tests/fuzz/run.sh npy ply
#
# A failing input is written to target/fuzz/failed-TARGET-...; target/fuzz/debug/TARGET FILE runs it again.
set -euo pipefail
cd "$(dirname "$0")/../.."
targets=("$@")
[ "${#targets[@]}" -gt 0 ] || targets=(npy pcd ply tiff picture bank manifest config)
triple=$(rustc -vV | sed -n 's/^host: //p')
# What cargo-fuzz sets, without the sanitizers, which need nightly. With --target, build scripts stay as they are.
coverage="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
-Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 --cfg fuzzing"
RUSTFLAGS="$coverage" cargo build --manifest-path tests/fuzz/Cargo.toml --target "$triple" --target-dir target/fuzz
for target in "${targets[@]}"; do
  corpus="target/fuzz/corpus/$target"
  mkdir -p "$corpus"
  case "$target" in
    tiff) cp -n tests/golden/scan/*.tiff "$corpus/" ;;
    config) cp -n systemd/zal.toml "$corpus/" ;;
  esac
  echo "== $target"
  "target/fuzz/$triple/debug/$target" -artifact_prefix="target/fuzz/failed-$target-" -max_len=4096 -rss_limit_mb=2048 \
    -timeout=10 -runs="${RUNS:--1}" -max_total_time="${SECONDS_EACH:-0}" -print_final_stats=1 "$corpus" 2>&1 |
    grep -E "^(stat::|ERROR|SUMMARY|==|.*panicked|Done)"
done
